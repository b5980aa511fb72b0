"""Errors of writing to folders, which Python and TensorFlow report differently."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from air_tf.errors import OutputError

TEMPORARY = "the folder of temporary files"


@contextlib.contextmanager
def writing(folder: str | os.PathLike) -> Iterator[None]:
    """Raises OutputError for a full disk or a missing permission.

    Args:
      folder: its path, or `TEMPORARY`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
    except (tf.errors.PermissionDeniedError, tf.errors.ResourceExhaustedError) as error:
        reason = error.message
    else:
        return
    reason = " ".join(reason.split())
    raise OutputError(f"{folder}: can't be written to ({reason})")
