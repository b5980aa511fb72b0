"""Filters of pictures, in numpy alone: devices have no scipy.

Beyond the border, pictures go on as they are there.
"""

import numpy as np

# Of a Gaussian, in standard deviations.
_REACH = 3.0


def blurred(picture: np.ndarray, scale: float) -> np.ndarray:
    """Convolution with a Gaussian, cut off at three standard deviations.

    Args:
      picture: [H, W] float32.
      scale: standard deviation, in pixels.
    """
    reach = blur_reach(scale)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / scale) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        wide = _extended(picture, axis, reach, reach)
        length = picture.shape[axis]
        picture = np.zeros_like(picture)
        for i, weight in enumerate(weights):
            picture += weight * _part(wide, axis, i, length)
    return picture


def blur_reach(scale: float) -> int:
    """Distance from which a pixel of `blurred` is affected."""
    return int(_REACH * scale + 0.5)


def largest(picture: np.ndarray, side: int) -> np.ndarray:
    """The largest value in a square around each pixel.

    Args:
      picture: [H, W].
      side: of the square; the pixel is at `side // 2`.
    """
    for axis in (0, 1):
        length = picture.shape[axis]
        found = _extended(picture, axis, side // 2, side - side // 2 - 1)
        # Of `size` pixels from each on; doubled until the rest is less than that.
        size = 1
        while 2 * size <= side:
            found = _of_two(found, axis, size)
            size *= 2
        if size < side:
            found = _of_two(found, axis, side - size)
        picture = _part(found, axis, 0, length)
    return picture


def smallest(picture: np.ndarray, side: int) -> np.ndarray:
    """The smallest value in a square around each pixel, as `largest`."""
    if picture.dtype.kind == "u":
        most = np.iinfo(picture.dtype).max
        return most - largest(most - picture, side)
    return -largest(-picture, side)


def smallest_in_cross(picture: np.ndarray) -> np.ndarray:
    """The smallest of a pixel and its four neighbours, [H, W] to [H, W]."""
    found = picture
    for axis in (0, 1):
        wide, length = _extended(picture, axis, 1, 1), picture.shape[axis]
        for start in (0, 2):
            found = np.minimum(found, _part(wide, axis, start, length))
    return found


def _of_two(found: np.ndarray, axis: int, distance: int) -> np.ndarray:
    length = found.shape[axis] - distance
    return np.maximum(
        _part(found, axis, 0, length), _part(found, axis, distance, length)
    )


def _part(picture: np.ndarray, axis: int, start: int, length: int) -> np.ndarray:
    rows = slice(start, start + length)
    return picture[rows] if axis == 0 else picture[:, rows]


def _extended(picture: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    widths = [(0, 0), (0, 0)]
    widths[axis] = (before, after)
    return np.pad(picture, widths, "edge")
