"""Messages of named arrays between two processes, over pipes and without pickle."""

import io
from typing import IO

import numpy as np

# Larger messages come from something else than this module.
MAX_BYTES = 2**30
_LENGTH_BYTES = 8


def send(stream: IO[bytes], message: dict[str, np.ndarray]) -> None:
    """Writes a message.

    Raises:
      OSError: if nobody reads the pipe.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **message)  # type: ignore[arg-type]
    content = buffer.getbuffer()
    stream.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, np.ndarray] | None:
    """Reads a message; None if the other process has closed the pipe.

    Raises:
      ValueError: for what is not a message.
    """
    head = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(head, "little")
    if len(head) < _LENGTH_BYTES:
        return None
    if length > MAX_BYTES:
        raise ValueError(f"a message of {length} bytes")
    content = stream.read(length)
    if len(content) < length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
