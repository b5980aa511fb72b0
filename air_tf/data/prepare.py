"""From a picture's intensities to the 8-bit values that windows are cut from.

One function for training, prediction, servers' clients and devices. Imports no
TensorFlow.
"""

import numpy as np

from air_tf.config.pictures import DARK, PictureConfig
from air_tf.data.picture_files import shares
from air_tf.errors import InputError


def prepare(pixels: np.ndarray, settings: PictureConfig, *, what: str) -> np.ndarray:
    """Averages pixels, and maps intensities to 0 .. 255.

    With x the mean intensity of a square of `binning` pixels, and (low, high) the
    `levels`, z is (x - low) / (high - low), or 1 minus that for dark objects, from 0 to
    1; and the result 255 log(1 + z / knee) / log(1 + 1 / knee).

    Args:
      pixels: [H, W], as `read_pixels` gives them.
      settings: with all that is measured.
      what: name of the picture for messages.

    Returns:
      [ceil(H / binning), ceil(W / binning)] uint8.

    Raises:
      InputError: for a picture smaller than the largest object.
    """
    height, width = pixels.shape
    largest = settings.sizes[1]
    if min(height, width) < largest:
        raise InputError(
            f"{what}: has {width}x{height} pixels; expected sides of at least "
            f"{largest:g}, the largest `object_size`"
        )
    assert settings.levels is not None, "measured before it is used"
    low, high = settings.levels
    # A strip at a time, since float32 takes up to four times the memory of the file.
    binning, strips = settings.binning, []
    rows = binning * max(2**20 // (binning * width), 1)
    for top in range(0, height, rows):
        strip = binned(shares(pixels[top : top + rows]), binning)
        z = np.clip((strip - low) / (high - low), 0.0, 1.0)
        if settings.polarity == DARK:
            z = 1.0 - z
        z = np.log1p(z / settings.knee) / np.log1p(1.0 / settings.knee)
        strips.append(np.round(255.0 * z).astype(np.uint8))
    return np.concatenate(strips)


def binned(pixels: np.ndarray, binning: int) -> np.ndarray:
    """Means of squares; the last row and column of squares are filled up.

    Args:
      pixels: [H, W] float.
      binning: side of the squares.

    Returns:
      [ceil(H / binning), ceil(W / binning)], of the same type.
    """
    if binning == 1:
        return pixels
    height, width = pixels.shape
    pixels = np.pad(pixels, ((0, -height % binning), (0, -width % binning)), "edge")
    rows, columns = (size // binning for size in pixels.shape)
    return pixels.reshape(rows, binning, columns, binning).mean(axis=(1, 3))


def padded(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A picture with at least the size of a window: its median is added below and
    right, [h, w] uint8."""
    missing = [
        max(least - size, 0) for least, size in zip(shape, picture.shape, strict=True)
    ]
    if not any(missing):
        return picture
    ground = int(np.median(picture))
    return np.pad(picture, [(0, more) for more in missing], constant_values=ground)
