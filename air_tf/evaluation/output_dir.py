"""Folders for what programs write, without replacing anything silently."""

import os
import pathlib
from collections.abc import Iterable

from air_tf.errors import InputError


def make_output_dir(
    path: str | os.PathLike, names: Iterable[str] = (), *, overwrite: bool = False
) -> pathlib.Path:
    """Makes the folder, if it is not there.

    Args:
      path: of the folder.
      names: files that are to be written into it.
      overwrite: whether they may be there already.

    Raises:
      InputError: if one of them is and may not be, or the folder can't be made.
    """
    folder = pathlib.Path(path)
    for name in names:
        if (folder / name).exists() and not overwrite:
            raise InputError(
                f"{folder / name} exists; expected another --output_dir, or --overwrite"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output_dir {folder} can't be made ({error.strerror})"
        ) from None
    return folder
