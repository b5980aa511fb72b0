"""Where windows lie in a picture, and which of them an object belongs to."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Axis(NamedTuple):
    """Windows along one side of a picture.

    Attributes:
      starts: first pixel of each window, [N].
      cells: first and last border of the cell of each window, [N, 2]: the cells meet in
        the middle of the overlaps, and cover the side.
    """

    starts: np.ndarray
    cells: np.ndarray


class Grid(NamedTuple):
    """Windows of one size that cover a picture.

    Attributes:
      shape: (h, w) of the windows.
      rows, columns: where they lie.
    """

    shape: tuple[int, int]
    rows: Axis
    columns: Axis

    @property
    def num_windows(self) -> int:
        return len(self.rows.starts) * len(self.columns.starts)

    def places(self) -> Iterator[tuple[int, int]]:
        """Indices of row and column of all windows, row by row."""
        yield from np.ndindex(len(self.rows.starts), len(self.columns.starts))


def make_grid(
    picture_shape: tuple[int, int], shape: tuple[int, int], *, overlap: float
) -> Grid:
    """Lays windows over a picture, evenly spaced, the outer ones at its borders.

    Args:
      picture_shape: (H, W), at least that of the windows.
      shape: (h, w) of the windows.
      overlap: of neighbours, in pixels, at least; less than a window. Objects that are
        not larger lie whole in the window in whose cell they have their centre.
    """
    axes = (
        _axis(length, side, overlap)
        for length, side in zip(picture_shape, shape, strict=True)
    )
    return Grid(shape, *axes)


def _axis(length: int, side: int, overlap: float) -> Axis:
    free = length - side
    number = 1 + int(np.ceil(free / max(side - overlap, 1.0)))
    starts = np.round(np.linspace(0, free, number)).astype(int)
    inner = (starts[1:] + starts[:-1] + side) / 2.0
    borders = np.concatenate([[0.0], inner, [float(length)]])
    return Axis(starts, np.stack([borders[:-1], borders[1:]], axis=1))
