"""Files and folders that programs write: whole or not at all, never by surprise."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from air_tf.errors import InputError, OutputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A path to write to, moved to `path` on success: never half a file.

    Raises:
      OutputError: if writing fails, for example on a full disk.
    """
    path = pathlib.Path(path)
    # The suffixes stay: they tell Keras and matplotlib what to write.
    temporary = path.with_name(f".new-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        # HDF5 reports a full disk in several lines.
        reason = " ".join(str(error.strerror or error).split())
        raise OutputError(f"{path}: can't be written ({reason})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a JSON file; OutputError if that fails."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The object in a JSON file; InputError, naming the file, if there is none."""
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} can't be read ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object")
    return value


def as_read_from_json(value: Any) -> Any:
    """The value as it comes back from a JSON file: tuples are lists."""
    return json.loads(json.dumps(value))


def make_output_dir(
    path: str | os.PathLike, names: Iterable[str] = (), *, overwrite: bool = False
) -> pathlib.Path:
    """Makes a folder for results, if it does not exist.

    Args:
      path: of the folder.
      names: files that will be written into it.
      overwrite: whether these may exist already.

    Raises:
      InputError: if one of them exists and may not, or the folder can't be made.
    """
    folder = pathlib.Path(path)
    for name in names:
        if (folder / name).exists() and not overwrite:
            raise InputError(
                f"{folder / name} exists; expected another `output_dir`, or `overwrite`"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} can't be made ({error.strerror})", field="output_dir"
        ) from None
    return folder
