"""Atomic writes, JSON files and output folders."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from air_tf.errors import InputError, OutputError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Writes a file atomically: an interrupted write leaves the old file.

    Args:
      path: of the file.

    Yields:
      A temporary path to write to. It is moved to `path` if the block succeeds, and
      deleted otherwise.

    Raises:
      OutputError: if writing fails, for example on a full disk.
    """
    path = pathlib.Path(path)
    # The suffix must stay: Keras and matplotlib choose the format by it.
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


def remove(path: str | os.PathLike) -> None:
    """Deletes a file if it is there; raises OutputError if that fails."""
    try:
        pathlib.Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: can't be deleted ({error.strerror})") from error


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a JSON file; raises OutputError if that fails."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a JSON object; raises InputError if the file holds none."""
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} can't be read ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object")
    return value


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file; raises InputError if it can't be read."""
    digest = hashlib.sha256()
    with reading(path), open(path, "rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def as_read_from_json(value: Any) -> Any:
    """Converts a value to what JSON would return: tuples become lists."""
    return json.loads(json.dumps(value))


def make_output_dir(
    path: str | os.PathLike, names: Iterable[str] = (), *, overwrite: bool = False
) -> pathlib.Path:
    """Creates a folder for results if it does not exist.

    Args:
      path: of the folder.
      names: of files that will be written into it.
      overwrite: whether these files may exist.

    Returns:
      The folder.

    Raises:
      InputError: if one of the files exists without `overwrite`, or the folder can't
        be created.
    """
    folder = pathlib.Path(path)
    require_new_files(folder, names, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} can't be made ({error.strerror})", field="output_dir"
        ) from None
    return folder


def require_new_files(
    path: str | os.PathLike, names: Iterable[str], *, overwrite: bool = False
) -> None:
    """Checks a folder for results as `make_output_dir`, without making it.

    Raises:
      InputError: if one of the files exists without `overwrite`.
    """
    for name in names:
        file = pathlib.Path(path) / name
        with reading(path, field="output_dir"):
            exists = file.exists()
        if exists and not overwrite:
            raise InputError(
                f"{file} exists; expected another `output_dir`, or `overwrite`"
            )


def unique_names(
    paths: Iterable[str | os.PathLike], taken: Iterable[str] = ()
) -> list[str]:
    """File names without suffix, made unique: the second `a` becomes `a_2`.

    So does `A`, since some file systems take both for one.

    Args:
      paths: of the files.
      taken: names that none of them may get.
    """
    used, names = {name.casefold() for name in taken}, []
    for path in paths:
        stem = name = pathlib.Path(path).stem
        number = 2
        while name.casefold() in used:
            name = f"{stem}_{number}"
            number += 1
        used.add(name.casefold())
        names.append(name)
    return names


@contextlib.contextmanager
def reading(path: str | os.PathLike, *, field: str | None = None) -> Iterator[None]:
    """Turns an OSError while `path` is read into an InputError that names it."""
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())
        raise InputError(f"{path} can't be read ({reason})", field=field) from error


@contextlib.contextmanager
def reading_stored(path: str | os.PathLike) -> Iterator[None]:
    """Names the file whose content this version can't use, as an InputError.

    Args:
      path: of the file, which air_tf wrote.
    """
    try:
        yield
    except InputError as error:
        raise InputError(
            f"{path} was written by another version of air_tf, or changed since: "
            f"{error}"
        ) from None
