"""Classical methods that find bright objects in a picture, with scikit-image.

Each takes a picture [H, W] with numbers in [0, 1], see `stretch`, and settings, and
returns a label image, [H, W] int32. `METHODS` holds the values of the settings that
are tried.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage import feature, filters, measure, segmentation


class Method(NamedTuple):
    """A classical method and the values of its settings that tuning may choose from.

    Values rise. An optimum at the end of a list is an edge, except where `natural`
    says that nothing lies beyond: a width of 0 is no smoothing.
    """

    find: Callable[..., np.ndarray]
    values: Mapping[str, Sequence[float]]
    start: Mapping[str, float]
    natural: Mapping[str, float]


def stretch(image: np.ndarray) -> np.ndarray:
    """Maps the 1st and the 99.8th percentile of a picture to 0 and 1.

    Args:
      image: [H, W], numbers of any scale.

    Returns:
      [H, W] float32 in [0, 1]; 0 everywhere for a picture of one intensity.
    """
    low, high = np.percentile(image, [1.0, 99.8])
    if high <= low:
        return np.zeros(image.shape, np.float32)
    stretched = (image.astype(np.float32) - low) / (high - low)
    return np.clip(stretched, 0.0, 1.0).astype(np.float32)


def otsu_components(
    image: np.ndarray, *, smooth: float, factor: float, min_area: float
) -> np.ndarray:
    """Connected components of what is brighter than Otsu's threshold (1979).

    Args:
      image: [H, W] in [0, 1].
      smooth: standard deviation of a Gaussian filter before it, in pixels.
      factor: of the threshold.
      min_area: of an object, in pixels.
    """
    return _large(measure.label(_above_otsu(image, smooth, factor)), min_area)


def otsu_watershed(
    image: np.ndarray,
    *,
    smooth: float,
    factor: float,
    min_area: float,
    distance_smooth: float,
    min_distance: float,
) -> np.ndarray:
    """The same foreground, split by a watershed of its distance transform.

    Args:
      image: [H, W] in [0, 1].
      smooth: see `otsu_components`.
      factor: see `otsu_components`.
      min_area: see `otsu_components`.
      distance_smooth: standard deviation of a Gaussian filter of the distances.
      min_distance: between two seeds, in pixels.
    """
    mask = _above_otsu(image, smooth, factor)
    return _large(_split(mask, distance_smooth, min_distance), min_area)


def local_watershed(
    image: np.ndarray,
    *,
    smooth: float,
    window: float,
    offset: float,
    floor: float,
    min_area: float,
    distance_smooth: float,
    min_distance: float,
) -> np.ndarray:
    """What is brighter than its surroundings, split as by `otsu_watershed`.

    Args:
      image: [H, W] in [0, 1].
      smooth: see `otsu_components`.
      window: side of the surroundings, whose mean is the threshold, in pixels.
      offset: how much brighter a pixel must be.
      floor: the smallest threshold, relative to Otsu's: large objects would have holes.
      min_area: see `otsu_components`.
      distance_smooth: see `otsu_watershed`.
      min_distance: see `otsu_watershed`.
    """
    smoothed = _smoothed(image, smooth)
    mean = ndimage.uniform_filter(smoothed, int(window), mode="reflect")
    mask = (smoothed > mean + offset) & (smoothed > floor * _otsu(smoothed))
    mask = ndimage.binary_fill_holes(mask)
    return _large(_split(mask, distance_smooth, min_distance), min_area)


def blob_log(
    image: np.ndarray,
    *,
    min_sigma: float,
    max_sigma: float,
    threshold: float,
    overlap: float,
) -> np.ndarray:
    """Discs at the maxima of the Laplacian of Gaussians over positions and scales.

    Args:
      image: [H, W] in [0, 1].
      min_sigma: the smallest scale, in pixels; a disc has the radius sqrt(2) sigma.
      max_sigma: the largest scale.
      threshold: the smallest response.
      overlap: of two discs that overlap by more than this share, the smaller is left
        out.
    """
    blobs = feature.blob_log(
        image,
        min_sigma=min_sigma,
        max_sigma=max(max_sigma, min_sigma),
        num_sigma=8,
        threshold=threshold,
        overlap=overlap,
    )
    labels = np.zeros(image.shape, np.int32)
    # Small discs last: they would vanish under large ones.
    order = np.argsort(-blobs[:, 2], kind="stable")
    for number, (y, x, sigma) in enumerate(blobs[order], 1):
        radius = math.sqrt(2.0) * sigma
        top, left = (max(int(np.ceil(c - radius)), 0) for c in (y, x))
        rows = np.arange(top, min(int(y + radius) + 1, image.shape[0]))
        columns = np.arange(left, min(int(x + radius) + 1, image.shape[1]))
        inside = np.square(rows - y)[:, None] + np.square(columns - x) <= radius**2
        part = labels[top : top + len(rows), left : left + len(columns)]
        part[inside] = number
    return labels


def _smoothed(image: np.ndarray, width: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, width) if width else image


def _otsu(image: np.ndarray) -> float:
    """Otsu's threshold; above everything in a picture of one intensity."""
    if image.min() == image.max():
        return float("inf")
    return float(filters.threshold_otsu(image))


def _above_otsu(image: np.ndarray, smooth: float, factor: float) -> np.ndarray:
    smoothed = _smoothed(image, smooth)
    return ndimage.binary_fill_holes(smoothed > factor * _otsu(smoothed))


def _split(mask: np.ndarray, smooth: float, min_distance: float) -> np.ndarray:
    """A watershed of the distances to the ground, from their maxima."""
    distance = _smoothed(ndimage.distance_transform_edt(mask), smooth)
    components = measure.label(mask)
    peaks = feature.peak_local_max(
        distance,
        min_distance=int(min_distance),
        labels=components,
        exclude_border=False,
    )
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-distance, seeds, mask=mask)


def _large(labels: np.ndarray, min_area: float) -> np.ndarray:
    """Leaves out small objects; numbers are consecutive afterwards."""
    keep = np.bincount(labels.ravel()) >= max(min_area, 1)
    keep[0] = False
    numbers = np.cumsum(keep) * keep
    return numbers[labels].astype(np.int32)


_SMOOTH = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_FACTOR = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4)
_AREA = (0, 5, 10, 15, 20, 30, 40, 60, 90, 130)
_DISTANCE_SMOOTH = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_DISTANCE = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)
_FOREGROUND = {"smooth": _SMOOTH, "factor": _FACTOR, "min_area": _AREA}
_WATERSHED = {"distance_smooth": _DISTANCE_SMOOTH, "min_distance": _DISTANCE}
_START = {"smooth": 1.0, "factor": 1.0, "min_area": 20}
_START_WATERSHED = {"distance_smooth": 1.0, "min_distance": 5}
_NATURAL = {"smooth": 0.0, "min_area": 0, "distance_smooth": 0.0, "min_distance": 1}

METHODS = {
    "Otsu, components": Method(otsu_components, _FOREGROUND, _START, _NATURAL),
    "Otsu, watershed": Method(
        otsu_watershed,
        {**_FOREGROUND, **_WATERSHED},
        {**_START, **_START_WATERSHED},
        _NATURAL,
    ),
    "local, watershed": Method(
        local_watershed,
        {
            "smooth": _SMOOTH,
            "window": (11, 15, 21, 31, 41, 51, 71, 101, 151, 201),
            "offset": (-0.1, -0.05, -0.02, 0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2),
            "floor": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2),
            "min_area": _AREA,
            **_WATERSHED,
        },
        {
            "smooth": 1.0,
            "window": 41,
            "offset": 0.02,
            "floor": 0.0,
            "min_area": 20,
            **_START_WATERSHED,
        },
        {**_NATURAL, "floor": 0.0},
    ),
    "blob_log": Method(
        blob_log,
        {
            "min_sigma": (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7),
            "max_sigma": (4, 5, 6, 8, 10, 12, 15, 18),
            "threshold": (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25, 0.35),
            "overlap": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        },
        {"min_sigma": 3, "max_sigma": 10, "threshold": 0.12, "overlap": 0.5},
        {"overlap": 0.0},
    ),
}
