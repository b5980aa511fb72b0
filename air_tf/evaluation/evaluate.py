"""What a model is worth on held-out images."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.evaluation import metrics
from air_tf.model.air import AIR, to_float
from air_tf.objectives.bound import TERMS, log_normal
from air_tf.objectives.enumeration import enumeration
from air_tf.structs import ImageSet, Scenes

# As COCO (Lin et al. 2014) averages them.
_MIN_IOUS = [0.5 + 0.05 * i for i in range(10)]
_ERRORS = ("reconstruction_error", "empty_canvas_error")


def evaluate(
    air: AIR,
    images: ImageSet,
    *,
    max_objects: int | None = None,
    batch_size: int = 250,
    seed: int = 0,
    fitted_count: bool = False,
) -> dict[str, Any]:
    """Counts, places and bounds on images that training did not see.

    Args:
      air: the model.
      images: counts and boxes may be missing.
      max_objects: T; that of the model's config if omitted.
      batch_size: images at a time.
      seed: of the samples of q that the bound is estimated with, one an image.
      fitted_count: the bound of p(n) as fitted to the training images, instead of
        that of training.

    Returns:
      A dictionary that JSON can hold. Bounds are nats per image, all constants
      kept; what needs counts or boxes is None where they are not known:

      num_images; count_accuracy (most probable count, posterior means),
      count_accuracy_sampled, count_confusion and count_confusion_sampled
      ([true][inferred]), mean_abs_count_error, expected_calibration_error and
      reliability of q(n), see `metrics.calibration`, num_objects_histogram (inferred),
      mean_num_objects;
      elbo, log_likelihood, kl_num_objects, kl_where, kl_what;
      reconstruction_error and empty_canvas_error (squared, mean over pixels);
      mean_iou, ap_50, ap_50_95 (its mean over IoU 0.5, 0.55, .. 0.95);
      foreground_ari, by the object that is drawn brightest, mean over images of two
      or more;
      count_prior ("training" or "fitted", of the bounds), generated_count_distance
      (total variation between the counts of generated scenes, p(n) as fitted, and
      the true ones); likelihood_scale (sigma), likelihood_constant (what the bounds
      contain of it, log p(x | z) of an image without an error), max_objects
      (T).
    """
    steps = max_objects or air.config.max_objects
    totals = dict.fromkeys((*TERMS, *_ERRORS), 0.0)
    num = len(images.images)
    parts, sampled_counts, aris = [], [], []
    for start in range(0, num, batch_size):
        batch = to_float(images.images[start : start + batch_size])
        scenes = air.infer(batch, max_objects=steps, batch_size=batch_size)
        terms, counts = _sampled_bound(
            air, batch, tf.constant([seed, start]), steps, fitted_count
        )
        terms["reconstruction_error"] = np.square(batch - scenes.canvas).mean((1, 2, 3))
        terms["empty_canvas_error"] = np.square(batch).mean((1, 2, 3))
        for name in totals:
            totals[name] += float(np.sum(terms[name]))
        if images.segmentation is not None:
            true = images.segmentation[start : start + batch_size]
            shown = _shown_objects(air, scenes)
            aris += map(metrics.foreground_ari, true, shown)
        # Canvases of all images together may not fit in memory.
        parts.append(scenes._replace(canvas=np.zeros(0), z_what=np.zeros(0)))
        sampled_counts.append(counts)
    scenes = tf.nest.map_structure(lambda *fields: np.concatenate(fields), *parts)
    return {
        "num_images": num,
        **_counts(images.counts, scenes, np.concatenate(sampled_counts)),
        **{name: total / num for name, total in totals.items()},
        **_boxes(images, scenes),
        "foreground_ari": _mean([ari for ari in aris if ari is not None]),
        "count_prior": "fitted" if fitted_count else "training",
        "generated_count_distance": _generated_distance(air, images.counts, steps),
        "likelihood_scale": air.config.likelihood_scale,
        "likelihood_constant": _likelihood_constant(air),
        "max_objects": steps,
    }


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _likelihood_constant(air: AIR) -> float:
    flawless = tf.zeros([1, math.prod(air.config.image_shape)])
    return float(log_normal(flawless, air.config.likelihood_scale)[0])


def _shown_objects(air: AIR, scenes: Scenes) -> np.ndarray:
    """[B, H, W]: k where object k - 1 is drawn brightest, 0 outside all windows."""
    drawn = air.draw_objects(tf.constant(scenes.z_where), tf.constant(scenes.z_what))
    drawn = tf.einsum("bthwc,bt->bthw", drawn, scenes.presence).numpy()
    return np.where(drawn.max(axis=1) > 0.0, 1 + drawn.argmax(axis=1), 0)


@tf.function(reduce_retracing=True, autograph=False)
def _sampled_bound(air, images, seed, steps, fitted_count):
    """Terms of the bound, each [B], and counts [B] of one sample of q."""
    output = air(images, sample=True, seed=seed, max_objects=steps)
    objective = enumeration(
        output, images, air.densities(steps, fitted_count=fitted_count)
    )
    terms = {name: getattr(objective, name) for name in TERMS}
    return terms, tf.cast(tf.reduce_sum(output.inference.z_pres, axis=1), tf.int64)


def _counts(true, scenes: Scenes, sampled) -> dict[str, Any]:
    inferred, most = scenes.num_objects, scenes.presence_probs.shape[1]
    result = {
        "count_accuracy": None,
        "count_accuracy_sampled": None,
        "count_confusion": None,
        "count_confusion_sampled": None,
        "mean_abs_count_error": None,
        "expected_calibration_error": None,
        "reliability": None,
        "num_objects_histogram": np.bincount(inferred, minlength=most + 1).tolist(),
        "mean_num_objects": float(inferred.mean()),
    }
    if true is None:
        return result
    error, reliability = metrics.calibration(
        scenes.num_objects_probs.max(axis=1), true == inferred
    )
    return result | {
        "expected_calibration_error": error,
        "reliability": reliability,
        "count_accuracy": float((true == inferred).mean()),
        "count_accuracy_sampled": float((true == sampled).mean()),
        "count_confusion": metrics.count_confusion(true, inferred, most).tolist(),
        "count_confusion_sampled": metrics.count_confusion(
            true, sampled, most
        ).tolist(),
        "mean_abs_count_error": float(np.abs(true - inferred).mean()),
    }


def _generated_distance(air: AIR, true, steps: int) -> float | None:
    if true is None:
        return None
    generated = air.count_prior(steps, fitted=True).probs_parameter().numpy()
    found = np.bincount(true, minlength=len(generated)) / len(true)
    generated = np.pad(generated, (0, len(found) - len(generated)))
    return float(0.5 * np.abs(generated - found).sum())


def _boxes(images: ImageSet, scenes: Scenes) -> dict[str, Any]:
    if images.boxes is None or images.counts is None:
        return {"mean_iou": None, "ap_50": None, "ap_50_95": None}
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
