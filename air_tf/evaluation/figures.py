"""The figures of counts, boxes and masks, which all models have."""

from typing import Any

import numpy as np

from air_tf.evaluation import metrics
from air_tf.structs import ImageSet, Scenes, Scenes3D

# The thresholds that COCO averages over (Lin et al. 2014).
_MIN_IOUS = [0.5 + 0.05 * i for i in range(10)]


def mean(values: list[float | None]) -> float | None:
    """The mean of the values that are known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def count_figures(
    true: np.ndarray | None, scenes: Scenes | Scenes3D, sampled: np.ndarray
) -> dict[str, Any]:
    """Figures of `Evaluation` on counts.

    Args:
      true: [N], if they are known.
      scenes: as inferred.
      sampled: [N], samples of q(n).
    """
    inferred, most = scenes.num_objects, scenes.presence_probs.shape[1]
    figures = {
        "num_objects_histogram": np.bincount(inferred, minlength=most + 1).tolist(),
        "mean_num_objects": float(inferred.mean()),
    }
    if true is None:
        return figures
    correct = true == inferred
    error, bins = metrics.calibration(scenes.num_objects_probs.max(axis=1), correct)
    confusions = [metrics.count_confusion(true, n, most) for n in (inferred, sampled)]
    return figures | {
        "count_accuracy": float(correct.mean()),
        "count_accuracy_sampled": float((true == sampled).mean()),
        "count_confusion": confusions[0].tolist(),
        "count_confusion_sampled": confusions[1].tolist(),
        "mean_abs_count_error": float(np.abs(true - inferred).mean()),
        "expected_calibration_error": error,
        "reliability": bins,
    }


def generated_count_distance(
    true: np.ndarray | None, generated: np.ndarray
) -> float | None:
    """Total variation distance of the fitted p(n), [T + 1], and true counts, [N]."""
    if true is None:
        return None
    found = np.bincount(true, minlength=len(generated)) / len(true)
    generated = np.pad(generated, (0, len(found) - len(generated)))
    return float(0.5 * np.abs(generated - found).sum())


def box_figures(images: ImageSet, scenes: Scenes | Scenes3D) -> dict[str, Any]:
    """Figures of `Evaluation` on boxes; none if true boxes are not known."""
    if images.boxes is None or images.counts is None:
        return {}
    true = [b[:n] for b, n in zip(images.boxes, images.counts, strict=True)]
    n_found = scenes.num_objects
    found = [b[:n] for b, n in zip(scenes.boxes, n_found, strict=True)]
    confidence = [p[:n] for p, n in zip(scenes.presence_probs, n_found, strict=True)]
    precisions = metrics.average_precisions(true, found, confidence, _MIN_IOUS)
    return {
        "mean_iou": metrics.mean_iou(true, found),
        "ap_50": None if precisions is None else float(precisions[0]),
        "ap_50_95": None if precisions is None else float(precisions.mean()),
    }
