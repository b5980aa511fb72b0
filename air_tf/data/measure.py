"""Measures what `PictureConfig` leaves open, in the pictures of a training."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from absl import logging
from scipy import ndimage

from air_tf.config.pictures import BRIGHT, DARK, PictureConfig
from air_tf.data.picture_files import shares
from air_tf.errors import InputError

# Enough to measure sizes and intensities, spread over all pictures.
MEASURED, _NUM_PIXELS = 30, 100_000
# Percentiles of intensities that become 0 and 1.
_LEVELS = (1.0, 99.95)
# Smaller components are noise, in pixels.
_MIN_AREA = 12
# Sizes of the objects that hold these shares of all objects' pixels. Beyond the second
# are clumps.
_SIZES = (0.05, 0.75)
# The longer side of an object over the diameter of a disc of its area.
_LONGER = 1.25
_SMALLEST_RANGE, _SMALLEST_SIZE, _BINS = 1.5, 4.0, 256


def measure(settings: PictureConfig, pictures: Iterable[np.ndarray]) -> PictureConfig:
    """Fills in what is None, and says what was found.

    Args:
      settings: of the user.
      pictures: [H, W] each, as `read_pixels` gives them; some of the training's.

    Returns:
      A copy of the settings in which nothing is None but perhaps `channel`.

    Raises:
      InputError: for pictures of one intensity, or in which no object can be told
        from the ground.
    """
    if None not in (settings.object_size, settings.polarity, settings.levels):
        return settings
    sample = [shares(picture) for picture in pictures]
    if not sample:
        raise InputError("no picture can be read")
    found: dict[str, Any] = {}
    levels = settings.levels
    if levels is None:
        levels = found["levels"] = _measure_levels(sample)
    scaled = [
        np.clip((picture - levels[0]) / (levels[1] - levels[0]), 0.0, 1.0)
        for picture in sample
    ]
    # Of each picture: they may differ in brightness.
    thresholds = [otsu(_spread(one)) for one in scaled]
    polarity = settings.polarity
    if polarity is None:
        # The ground is most of a picture.
        bright = float(
            np.mean(
                [
                    (one > threshold).mean()
                    for one, threshold in zip(scaled, thresholds, strict=True)
                ]
            )
        )
        polarity = found["polarity"] = BRIGHT if bright < 0.5 else DARK
        logging.info(
            "Objects are taken to be %s, since most pixels are not. Another "
            "`polarity` can be given.",
            "brighter than the ground" if polarity == BRIGHT else "darker than it",
        )
    if settings.object_size is None:
        is_object = [
            one > threshold if polarity == BRIGHT else one < threshold
            for one, threshold in zip(scaled, thresholds, strict=True)
        ]
        size = found["object_size"] = _measure_sizes(is_object)
        logging.info(
            "Objects seem to be %g to %g pixels large, by a threshold. If they are "
            "not, give `object_size`.",
            *size,
        )
    return dataclasses.replace(settings, **found)


def otsu(values: np.ndarray) -> float:
    """The threshold between two classes of values from 0 to 1 (Otsu 1979).

    It maximises the variance between the classes.
    """
    histogram, edges = np.histogram(values, bins=_BINS, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(histogram)
    above = below[-1] - below
    sums = np.cumsum(histogram * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sums / below - (sums[-1] - sums) / above
        variance = np.nan_to_num(below * above * difference**2)
    return float(edges[1 + np.argmax(variance)])


def _spread(picture: np.ndarray) -> np.ndarray:
    """Some pixels of a picture, evenly spread."""
    flat = picture.ravel()
    return flat[:: max(flat.size // _NUM_PIXELS, 1)]


def _measure_levels(pictures: Sequence[np.ndarray]) -> tuple[float, float]:
    pixels = np.concatenate([_spread(picture) for picture in pictures])
    low, high = (float(level) for level in np.percentile(pixels, _LEVELS))
    if low == high:  # objects are few and small
        low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise InputError(f"the pictures have one intensity, {low:g}; expected objects")
    return low, high


def _measure_sizes(is_object: Sequence[np.ndarray]) -> tuple[float, float]:
    """Equivalent diameters of connected pixels, which hold most of them."""
    areas = []
    for mask in is_object:
        labels, _ = ndimage.label(ndimage.binary_opening(mask))
        areas.append(np.bincount(labels.ravel())[1:])
    area = np.sort(np.concatenate(areas))
    area = area[area >= _MIN_AREA]
    if not area.size:
        raise InputError(
            "is missing, and no objects can be told from the ground by a threshold; "
            "expected their smallest and largest size in pixels",
            field="object_size",
        )
    diameter = 2.0 * np.sqrt(area / np.pi)
    # The larger ones count more: small ones may be noise, though there are many.
    share = np.cumsum(area) / area.sum()
    low, high = diameter[np.searchsorted(share, _SIZES)]
    smallest = max(np.floor(low / _LONGER), _SMALLEST_SIZE)
    largest = max(np.ceil(high * _LONGER), _SMALLEST_RANGE * smallest)
    return float(smallest), float(largest)
