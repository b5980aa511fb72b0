"""Metrics of inferred counts, boxes and segmentations, in numpy."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, confusion_matrix


@dataclasses.dataclass(frozen=True)
class ReliabilityBin:
    """Predictions in one bin of a reliability diagram, grouped by their probability."""

    share: float  # of all predictions
    probability: float  # mean over the bin
    accuracy: float  # share of the bin's predictions that are correct


def count_confusion(
    true: np.ndarray, inferred: np.ndarray, max_objects: int
) -> np.ndarray:
    """Confusion matrix: number of images by true count (row), inferred count (column).

    Args:
      true: [N] integers.
      inferred: [N] integers of at most `max_objects`.
      max_objects: the largest count that can be inferred.

    Returns:
      [max(true) + 1, max_objects + 1].
    """
    largest = max(true.max(), max_objects)
    square = confusion_matrix(true, inferred, labels=np.arange(largest + 1))
    return square[: true.max() + 1, : max_objects + 1]


def calibration(
    probs: np.ndarray, correct: np.ndarray, num_bins: int = 15
) -> tuple[float, list[ReliabilityBin]]:
    """The expected calibration error (Guo et al. 2017, eq. 3).

    Not TFP's `expected_calibration_error`, which does not return the bins that the
    reliability diagram needs; scikit-learn's `calibration_curve` returns no shares.

    Args:
      probs: [N], probabilities of the predictions.
      correct: [N] bool, whether the predictions are correct.
      num_bins: number of bins of equal width over [0, 1].

    Returns:
      The error, and the bins that are not empty.
    """
    bin_of = np.minimum((probs * num_bins).astype(int), num_bins - 1)
    bins = [
        ReliabilityBin(
            share=float(inside.mean()),
            probability=float(probs[inside].mean()),
            accuracy=float(correct[inside].mean()),
        )
        for inside in (bin_of == b for b in range(num_bins))
        if inside.any()
    ]
    error = sum(b.share * abs(b.probability - b.accuracy) for b in bins)
    return float(error), bins


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes.

    Args:
      a: [N, 4], (ymin, xmin, ymax, xmax).
      b: [M, 4].

    Returns:
      IoU, [N, M]; 0 where both boxes are empty.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(high - low, 0.0), axis=-1)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=-1)
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=-1)
    union = area_a[:, None] + area_b[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def mean_iou(true: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float | None:
    """Mean IoU of true boxes and their matches; an unmatched true box counts as 0.

    The true and inferred boxes of an image are matched one to one, so that the sum of
    IoUs is largest (Kuhn 1955).

    Args:
      true: for each image, [n, 4].
      found: for each image, [m, 4].

    Returns:
      The mean over all true boxes; None if there are none.
    """
    total = num = 0
    for a, b in zip(true, found, strict=True):
        num += len(a)
        if len(a) and len(b):
            iou = box_iou(a, b)
            total += iou[linear_sum_assignment(iou, maximize=True)].sum()
    return float(total / num) if num else None


def average_precisions(
    true: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    confidence: Sequence[np.ndarray],
    min_ious: Sequence[float],
) -> np.ndarray | None:
    """Average precision: area under the precision-recall curve, made monotone.

    Detections of all images are sorted by falling confidence. A detection is correct
    if the true box with the largest IoU has no earlier detection and the IoU is large
    enough (PASCAL VOC 2010, Everingham et al., section 4.2).

    Args:
      true: for each image, [n, 4].
      found: for each image, [m, 4].
      confidence: for each image, [m].
      min_ious: [K], smallest IoUs of a correct detection.

    Returns:
      Average precision at each of `min_ious`, [K]; None if there are no true boxes.
    """
    num_true = sum(len(boxes) for boxes in true)
    if not num_true:
        return None
    scores: list[float] = []
    correct: list[np.ndarray] = []
    for a, b, c in zip(true, found, confidence, strict=True):
        iou = box_iou(a, b)
        taken = np.zeros([len(min_ious), len(a)], bool)
        for j in np.argsort(-c, kind="stable"):
            scores.append(c[j])
            hit = np.zeros(len(min_ious), bool)
            if len(a):
                best = iou[:, j].argmax()
                hit = ~taken[:, best] & (iou[best, j] >= min_ious)
                taken[:, best] |= hit
            correct.append(hit)
    if not scores:
        return np.zeros(len(min_ious))
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.stack(correct, axis=1)[:, order]  # [K, number of detections]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (precision * hits).sum(axis=1) / num_true


def foreground_ari(true: np.ndarray, found: np.ndarray) -> float | None:
    """Adjusted Rand index (Hubert and Arabie 1985) of the pixels of true objects.

    Args:
      true: [H, W], the number of the object at each pixel; 0 for background.
      found: [H, W], the number of the inferred object at each pixel.

    Returns:
      1 for the same segmentation, about 0 for a random one; None for images with fewer
      than two objects, where the index is not informative.
    """
    foreground = true > 0
    if true.max() < 2:
        return None
    return float(adjusted_rand_score(true[foreground], found[foreground]))


def ground_share(
    images: np.ndarray, ground: np.ndarray, covered: np.ndarray
) -> tuple[float, float]:
    """How much of the objects the ground draws: the two sums whose ratio it is.

    In each image, the reference is the mean ground outside the objects. The ratio is
    the slope of the line through 0 that gives the ground's difference from it, from the
    image's difference, over the pixels of objects: 0 if the ground behind them is like
    that beside them, 1 if it draws them.

    Args:
      images: [N, H, W, C], float in [0, 1].
      ground: [N, H, W, C], as inferred.
      covered: [N, H, W] bool, true where an object is seen.

    Returns:
      Numerator and denominator, which add up over sets of images.
    """
    inside = covered[..., np.newaxis]
    outside = np.maximum((~inside).sum(axis=(1, 2), keepdims=True), 1)
    reference = np.sum(ground * ~inside, axis=(1, 2), keepdims=True) / outside
    contrast, drawn = inside * (images - reference), ground - reference
    return float(np.sum(contrast * drawn)), float(np.sum(np.square(contrast)))
