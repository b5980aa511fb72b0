"""From a picture's intensities to the 8-bit values that windows are cut from.

One function for training, prediction, servers' clients and devices. Imports no
TensorFlow.
"""

import numpy as np

from air_tf.config.pictures import DARK, PictureConfig
from air_tf.data.filters import (
    blur_reach,
    blurred,
    largest,
    smallest,
    smallest_in_cross,
)
from air_tf.data.picture_files import shares
from air_tf.errors import InputError

# Binned pixels that are stretched at once.
_STRIP = 2**20
# Standard deviations of blurs, in binned pixels.
_NOISE, _FINE = 1.0, 0.7
# And of sharpening over the smallest size, of extremes over that of the neighbourhood.
_COARSE = 1.0 / 3.0
_BLUR = 0.25
# Erosions over the size of the largest object.
_EROSIONS = 1.0 / 6.0
# Where the smooth step begins and ends.
_STEP = (0.15, 0.85)


def prepare(pixels: np.ndarray, settings: PictureConfig, *, what: str) -> np.ndarray:
    """Makes objects of a picture equally bright, on a dark ground.

    With x the mean intensity of a square of `binning` pixels, and (low, high) the
    `levels`,

    - z is (x - low) / (high - low), from 0 to 1; 1 minus that for dark objects;
    - u = log(1 + z / knee) / log(1 + 1 / knee);
    - v is u, sharpened: the difference between a little and a more blurred u is added;
    - b and t are the smallest and largest u in the neighbourhood of the size of the
      largest object, blurred;
    - y = (v - b) / max(t - b, floor), and a smooth step from 0 to 1 follows. The floor
      keeps the ground dark where there is no object.

    Args:
      pixels: [H, W], as `read_pixels` gives them.
      settings: with all that is measured.
      what: name of the picture for messages.

    Returns:
      [ceil(H / binning), ceil(W / binning)] uint8, 255 times the result.

    Raises:
      InputError: for a picture smaller than the largest object.
    """
    height, width = pixels.shape
    largest_size = settings.sizes[1]
    if min(height, width) < largest_size:
        raise InputError(
            f"{what}: has {width}x{height} pixels; expected sides of at least "
            f"{largest_size:g}, the largest `object_size`"
        )
    binning = settings.binning
    total = -(-height // binning)
    reach = _reach(settings)
    # A strip at a time, since float32 takes several times the memory of the file.
    rows = max(_STRIP // -(-width // binning), 4 * reach)
    strips = []
    for top in range(0, total, rows):
        first, last = max(top - reach, 0), min(top + rows + reach, total)
        strip = shares(pixels[first * binning : last * binning])
        strip = _stretched(binned(strip, binning), settings)
        strip = strip[top - first :][: min(rows, total - top)]
        strips.append(np.round(255.0 * strip).astype(np.uint8))
    return np.concatenate(strips)


def domed(prepared: np.ndarray, settings: PictureConfig) -> np.ndarray:
    """What windows are cut from: objects become domes, with saddles where they touch.

    The mean of a prepared picture and its erosions by 1, 2, ... pixels, in turn with a
    cross and a square: a soft distance from the ground.

    Args:
      prepared: [h, w] uint8, as from `prepare`.
      settings: sizes of objects.

    Returns:
      [h, w] uint8.
    """
    number = round(_EROSIONS * settings.binned_sizes[1])
    total, eroded = prepared.astype(np.uint16), prepared
    for i in range(number):
        eroded = smallest(eroded, 3) if i % 2 else smallest_in_cross(eroded)
        total += eroded
    return np.round(total / np.float32(number + 1)).astype(np.uint8)


def _reach(settings: PictureConfig) -> int:
    """How far a pixel has an effect, in binned pixels."""
    side = _neighbourhood(settings)
    wide = blur_reach(_NOISE) + side // 2 + 1 + blur_reach(side * _BLUR)
    return max(wide, blur_reach(_coarse(settings)))


def _coarse(settings: PictureConfig) -> float:
    return max(_COARSE * settings.binned_sizes[0], 2 * _FINE)


def _neighbourhood(settings: PictureConfig) -> int:
    return round(settings.binned_sizes[1])


def _stretched(x: np.ndarray, settings: PictureConfig) -> np.ndarray:
    """The computation of `prepare`, [h, w] float32 to [h, w] in [0, 1]."""
    assert settings.levels is not None, "measured before it is used"
    low, high = settings.levels
    z = np.clip((x - low) / (high - low), 0.0, 1.0).astype(np.float32)
    if settings.polarity == DARK:
        z = 1.0 - z
    u = np.log1p(z / settings.knee) / np.float32(np.log1p(1.0 / settings.knee))
    side = _neighbourhood(settings)
    smooth = blurred(u, _NOISE)
    b = blurred(smallest(smooth, side), side * _BLUR)
    t = blurred(largest(smooth, side), side * _BLUR)
    fine = blurred(u, _FINE)
    coarse = blurred(u, _coarse(settings))
    v = fine + settings.sharpening * (fine - coarse)
    y = (v - b) / np.maximum(t - b, settings.contrast_floor)
    s = np.clip((y - _STEP[0]) / (_STEP[1] - _STEP[0]), 0.0, 1.0)
    return s * s * (3.0 - 2.0 * s)


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
