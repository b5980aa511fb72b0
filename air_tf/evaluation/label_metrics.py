"""Metrics of label images: objects found in whole pictures, against the truth.

A label image is [H, W] integers: 0 is the ground, any other number one object. Numbers
need not be consecutive. Objects are in the order of their numbers.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from air_tf.evaluation.metrics import box_iou


@dataclasses.dataclass(frozen=True)
class Detections:
    """How many objects there are, were found, and are found ones that are true.

    These add up over pictures, so that a picture with more objects counts more.
    """

    true: int = 0
    found: int = 0
    matched: int = 0

    def __add__(self, other: "Detections") -> "Detections":
        return Detections(
            self.true + other.true,
            self.found + other.found,
            self.matched + other.matched,
        )

    @property
    def precision(self) -> float | None:
        """Share of the found objects that are true; None if none was found."""
        return self.matched / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of the true objects that were found; None if there are none."""
        return self.matched / self.true if self.true else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None if there are no objects, neither true nor found.

        It is the Dice coefficient of the two sets of objects.
        """
        total = self.true + self.found
        return 2.0 * self.matched / total if total else None


class CountErrors(NamedTuple):
    """Errors of counts over pictures."""

    mean_absolute: float  # objects a picture
    relative: float | None  # sum of absolute errors / sum of true counts
    bias: float  # mean of found - true
    exact: float  # share of pictures whose count is right


def count_errors(true: np.ndarray, found: np.ndarray) -> CountErrors:
    """Errors of counts.

    Args:
      true: [N] integers, N at least 1.
      found: [N] integers.

    Returns:
      The errors; the relative one is None if no picture has an object.
    """
    errors = np.asarray(found, np.int64) - np.asarray(true, np.int64)
    total = int(np.sum(true))
    return CountErrors(
        mean_absolute=float(np.abs(errors).mean()),
        relative=float(np.abs(errors).sum() / total) if total else None,
        bias=float(errors.mean()),
        exact=float((errors == 0).mean()),
    )


def label_boxes(labels: np.ndarray) -> np.ndarray:
    """Boxes of the objects of a label image, in pixels and half-open.

    Args:
      labels: [H, W] integers.

    Returns:
      [n, 4], (ymin, xmin, ymax, xmax).
    """
    y, x = np.nonzero(labels)
    numbers, index = np.unique(labels[y, x], return_inverse=True)
    boxes = np.empty((len(numbers), 4), np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    boxes[:, 2:] = 0
    for column, at in ((0, y), (1, x)):
        np.minimum.at(boxes[:, column], index, at)
        np.maximum.at(boxes[:, column + 2], index, at + 1)
    return boxes


def mask_iou(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Intersection over union of the masks of every pair of objects.

    Args:
      true: [H, W] integers, of n objects.
      found: [H, W] integers, of m objects.

    Returns:
      [n, m].
    """
    num_true, a = _consecutive(true)
    num_found, b = _consecutive(found)
    codes = a * (num_found + 1) + b
    pixels = np.bincount(codes.ravel(), minlength=(num_true + 1) * (num_found + 1))
    pixels = pixels.reshape(num_true + 1, num_found + 1)
    area_a, area_b = pixels.sum(axis=1)[1:], pixels.sum(axis=0)[1:]
    both = pixels[1:, 1:]
    return both / (area_a[:, None] + area_b[None] - both)


def match(iou: np.ndarray, min_iou: float = 0.5) -> np.ndarray:
    """Matches true and found objects one to one: as many as possible.

    Of the matchings with most pairs, the one with the largest sum of IoUs.

    Args:
      iou: [n, m].
      min_iou: the smallest IoU of a pair, above 0.

    Returns:
      [n], the number of the found object that is matched, or -1.
    """
    matched = np.full(iou.shape[0], -1)
    if iou.size:
        # The sum of all IoUs weighs less than one pair.
        value = (iou >= min_iou) + iou / (2.0 * min(iou.shape))
        rows, columns = linear_sum_assignment(value, maximize=True)
        good = iou[rows, columns] >= min_iou
        matched[rows[good]] = columns[good]
    return matched


def touching_neighbours(labels: np.ndarray, *, dilation: int = 1) -> np.ndarray:
    """The number of other objects that each object touches.

    Two objects touch if their masks have a pixel in common after dilation by a square:
    with the default, if at most one pixel of ground lies between them.

    Args:
      labels: [H, W] integers.
      dilation: by how many pixels each mask grows, to each side.

    Returns:
      [n] integers.
    """
    num, index = _consecutive(labels)
    height, width = index.shape
    # Dilated masks meet if two pixels are at most this far apart along both axes.
    reach = 2 * dilation
    padded = np.pad(index, reach)
    pairs = [np.empty(0, np.int64)]
    for down in range(reach + 1):
        for right in range(-reach if down else 1, reach + 1):
            top, left = reach + down, reach + right
            other = padded[top : top + height, left : left + width]
            meet = (index > 0) & (other > 0) & (index != other)
            low = np.minimum(index[meet], other[meet])
            high = np.maximum(index[meet], other[meet])
            pairs.append(np.unique(low * (num + 1) + high))
    objects = np.divmod(np.unique(np.concatenate(pairs)), num + 1)
    return np.bincount(np.concatenate(objects), minlength=num + 1)[1:]


class PictureScore(NamedTuple):
    """What was found in one picture, or in several: all of it adds up."""

    boxes: Detections
    masks: Detections
    # [K + 1, 3] integers: true objects, and how many of them were found by box and by
    # mask; in row k those with k touching neighbours, in the last one with K or more.
    by_neighbours: np.ndarray

    def plus(self, other: "PictureScore") -> "PictureScore":
        """The score of both."""
        return PictureScore(
            self.boxes + other.boxes,
            self.masks + other.masks,
            self.by_neighbours + other.by_neighbours,
        )


def match_boxes(
    true: np.ndarray, found: np.ndarray, *, min_iou: float = 0.5
) -> Detections:
    """Compares the boxes of a label image with the true ones, see `score_labels`."""
    iou = box_iou(label_boxes(true), label_boxes(found))
    return _detections(match(iou, min_iou) >= 0, iou)


def score_labels(
    true: np.ndarray,
    found: np.ndarray,
    *,
    min_iou: float = 0.5,
    most_neighbours: int = 3,
) -> PictureScore:
    """Compares a label image with the truth.

    Args:
      true: [H, W] integers.
      found: [H, W] integers.
      min_iou: the smallest IoU of a true and a found object that are the same.
      most_neighbours: K, see `PictureScore`.
    """
    neighbours = np.minimum(touching_neighbours(true), most_neighbours)
    groups = [np.bincount(neighbours, minlength=most_neighbours + 1)]
    totals = []
    for iou in (box_iou(label_boxes(true), label_boxes(found)), mask_iou(true, found)):
        hit = match(iou, min_iou) >= 0
        totals.append(_detections(hit, iou))
        groups.append(np.bincount(neighbours[hit], minlength=most_neighbours + 1))
    boxes, masks = totals
    return PictureScore(boxes, masks, np.stack(groups, axis=1))


def _detections(hit: np.ndarray, iou: np.ndarray) -> Detections:
    true, found = iou.shape
    return Detections(true=true, found=found, matched=int(hit.sum()))


def _consecutive(labels: np.ndarray) -> tuple[int, np.ndarray]:
    """The number of objects n, and [H, W] int64 with the numbers 0 to n."""
    numbers, index = np.unique(labels, return_inverse=True)
    index = index.reshape(labels.shape)
    if 0 not in numbers:  # objects everywhere
        return len(numbers), index + 1
    return len(numbers) - 1, index
