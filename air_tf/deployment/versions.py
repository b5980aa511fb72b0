"""Versions of an exported model: BASE/1, BASE/2 and so on. Imports no TensorFlow."""

import os
import pathlib
import re

from air_tf.errors import InputError
from air_tf.files import reading
from air_tf.pretrained import is_pretrained

NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def find_version(path: str | os.PathLike) -> pathlib.Path:
    """The folder of an exported version.

    Args:
      path: BASE/VERSION, or BASE for its largest version.

    Raises:
      InputError: if there is none, or the folder can't be read.
    """
    if is_pretrained(path):
        raise _not_exported(path)
    path = pathlib.Path(path)
    with reading(path):
        if (path / "saved_model.pb").is_file():
            return path
        if not path.is_dir():
            raise InputError(f"{path}: no such folder; expected that of export.py")
        found = _numbers(path)
        if not found and (path / "config.json").is_file():
            raise _not_exported(path)
    if not found:
        raise InputError(f"{path} holds no version; expected the folder of export.py")
    return path / str(max(found))


def require_new_version(base: str | os.PathLike, version: int) -> None:
    """Checks the number of a version to write.

    Args:
      base: the folder of versions, which may not exist.
      version: the number.

    Raises:
      InputError: if it can't be a version, or is there.
    """
    if not NUMBER.fullmatch(str(version)):
        raise InputError(f"is {version}; expected 1 to {10**18 - 1}", field="version")
    with reading(base, field="export_dir"):
        found = _numbers(pathlib.Path(base)) if os.path.isdir(base) else []
    if version in found:
        raise InputError(
            f"{version} exists in {base}; expected a new one, such as {max(found) + 1}",
            field="version",
        )


def _numbers(base: pathlib.Path) -> list[int]:
    """Versions in a folder, complete or not: a server would choose among the same."""
    names = [child.name for child in base.iterdir()]
    return [int(name) for name in names if NUMBER.fullmatch(name)]


def _not_exported(path: str | os.PathLike) -> InputError:
    return InputError(
        f"{os.fspath(path)} is a run, not an export; export it first, with "
        f"scripts/export.py --model_dir={os.fspath(path)}"
    )
