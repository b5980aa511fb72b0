"""Numbers that compare what was found with what is there, in numpy."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score


def count_confusion(true: np.ndarray, inferred: np.ndarray, most: int) -> np.ndarray:
    """How often each true count (row) was inferred as each count (column).

    Args:
      true: [N] whole numbers.
      inferred: [N] whole numbers of at most `most`.
      most: the largest count that can be inferred.

    Returns:
      [max(true) + 1, most + 1].
    """
    confusion = np.zeros((true.max() + 1, most + 1), np.int64)
    np.add.at(confusion, (true, inferred), 1)
    return confusion


def calibration(
    probs: np.ndarray, right: np.ndarray, bins: int = 15
) -> tuple[float, list[dict[str, float]]]:
    """Whether what is said with probability p is right in a share p of cases.

    Args:
      probs: [N], of the answers given.
      right: [N], whether they were right.
      bins: of equal width, over [0, 1].

    Returns:
      The expected calibration error (Guo et al. 2017, eq. 3); and of every bin
      with answers their "share", mean "probability" and "accuracy".
    """
    bin_of = np.minimum((probs * bins).astype(int), bins - 1)
    rows = [
        {
            "share": float(inside.mean()),
            "probability": float(probs[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for inside in (bin_of == b for b in range(bins))
        if inside.any()
    ]
    error = sum(r["share"] * abs(r["probability"] - r["accuracy"]) for r in rows)
    return float(error), rows


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of [N, 4] with every one of [M, 4].

    Boxes are (ymin, xmin, ymax, xmax). Shape [N, M]; 0 where both are empty.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.maximum(high - low, 0.0), axis=-1)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=-1)
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=-1)
    union = area_a[:, None] + area_b[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def mean_iou(true: list[np.ndarray], found: list[np.ndarray]) -> float | None:
    """IoU of every true box with its match, an unmatched box counting 0.

    Boxes of an image are matched one to one for the largest sum (Kuhn 1955).

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
    true: list[np.ndarray],
    found: list[np.ndarray],
    confidence: list[np.ndarray],
    min_ious: list[float],
) -> np.ndarray | None:
    """Areas under the precision-recall curves, precision made monotone.

    Detections are taken by falling confidence over all images; one is right if
    the true box it overlaps most is not taken yet and the IoU is high enough
    (PASCAL VOC 2010, Everingham et al., section 4.2).

    Args:
      true: for each image, [n, 4].
      found: for each image, [m, 4].
      confidence: for each image, [m].
      min_ious: the least IoU of a right detection, [K].

    Returns:
      Average precision at each of `min_ious`, [K]; None if there are no true boxes.
    """
    num_true = sum(len(boxes) for boxes in true)
    if not num_true:
        return None
    scores, right = [], []
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
            right.append(hit)
    if not scores:
        return np.zeros(len(min_ious))
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.stack(right, axis=1)[:, order]  # [K, number of detections]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (precision * hits).sum(axis=1) / num_true


def foreground_ari(true: np.ndarray, found: np.ndarray) -> float | None:
    """Adjusted Rand index (Hubert and Arabie 1985) of pixels that show an object.

    Args:
      true: [H, W], 0 where there is none, else the number of the object.
      found: [H, W], the number of the object that was found there.

    Returns:
      1 for the same grouping, about 0 for one by chance; None for fewer than two
      objects, of which there is only one grouping.
    """
    foreground = true > 0
    if true.max() < 2:
        return None
    return float(adjusted_rand_score(true[foreground], found[foreground]))
