"""Bars that show how far work has come."""

from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Batch = TypeVar("Batch", bound=Sized)


def bar(total: int, what: str) -> tqdm:
    """A bar on stderr, if that is a terminal, for work of more than two seconds.

    Args:
      total: amount of work; `update` says how much has been done since.
      what: is done.
    """
    return tqdm(total=total, desc=what, delay=2.0, disable=None, leave=False)


def with_bar(
    parts: Iterable[tuple[slice, Batch]], total: int, what: str
) -> Iterator[tuple[slice, Batch]]:
    """Yields the same batches, and shows how many images are done.

    Args:
      parts: as `air_tf.images.batches` gives them.
      total: number of images.
      what: is done with them.
    """
    with bar(total, what) as shown:
        for part, batch in parts:
            yield part, batch
            shown.update(len(batch))
