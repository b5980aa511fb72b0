"""Evaluates a model on held-out images."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.config import BACKGROUNDS, checks
from air_tf.errors import InputError
from air_tf.evaluation import figures, metrics
from air_tf.evaluation.evaluation import Evaluation
from air_tf.images import batches
from air_tf.inference.steps import errors_by_step
from air_tf.model.air import AIR
from air_tf.model.likelihood import log_normal
from air_tf.model.pixels import to_float
from air_tf.model.tracing import any_number, trace_once
from air_tf.objectives.bound import TERMS
from air_tf.objectives.enumeration import enumeration
from air_tf.progress import with_bar
from air_tf.structs import ImageSet, Scenes

# Of a pixel that counts as covered by an object.
_MIN_MASK = 0.5
_ERRORS = ("reconstruction_error", "empty_canvas_error")


def evaluate(
    air: AIR,
    images: ImageSet,
    *,
    max_objects: int | None = None,
    proposals: int | None = None,
    batch_size: int = 250,
    seed: int = 0,
    fitted_count: bool = False,
    by_step: bool = False,
    show_progress: bool = False,
) -> Evaluation:
    """Measures counts, boxes, reconstructions and the bound.

    Args:
      air: the model.
      images: held-out images; counts, boxes and segmentation are optional.
      max_objects: T; that of the model's config if omitted.
      proposals: K, see `AIR.infer`; that of the model's config if omitted.
      batch_size: number of images in a batch.
      seed: seed of the samples of q.
      fitted_count: whether the bound uses p(n) as fitted to the training images,
        instead of the p(n) of training.
      by_step: whether to measure `reconstruction_error_by_step`, which decodes the
        objects a second time.
      show_progress: whether to show a bar, see `air_tf.progress`.

    Returns:
      The figures that need only the model and the images, see `Evaluation`.

    Raises:
      InputError: for images of another shape, or values out of range.
    """
    steps = air.config.num_steps(max_objects)
    _require_size_of_masks(images.segmentation, air.config.image_shape)
    totals = dict.fromkeys((*TERMS, *_ERRORS), 0.0)
    step_totals = np.zeros(steps + 1)
    num = len(images.images)
    parts: list[Scenes] = []
    sampled_counts: list[np.ndarray] = []
    aris: list[float | None] = []
    covered, shares = 0.0, np.zeros(2)
    number = any_number(images.images)
    trace_once(_sampled_bound, air, number, tf.constant([seed, 0]), steps, fitted_count)
    all_batches = batches(images.images, batch_size)
    if show_progress:
        all_batches = with_bar(all_batches, num, "evaluation")
    for part, batch in all_batches:
        batch = to_float(batch)
        scenes = air.infer(
            batch, max_objects=steps, proposals=proposals, batch_size=batch_size
        )
        terms, counts = _sampled_bound(
            air, batch, tf.constant([seed, part.start]), steps, fitted_count
        )
        terms["reconstruction_error"] = np.square(batch - scenes.canvas).mean((1, 2, 3))
        terms["empty_canvas_error"] = np.square(batch - scenes.ground).mean((1, 2, 3))
        for name in totals:
            totals[name] += float(np.sum(terms[name]))
        if by_step:
            step_totals += errors_by_step(air, batch, scenes).sum(0, dtype=np.float64)
        inside = scenes.mask.max(axis=1) > _MIN_MASK
        covered += float(np.mean(inside, axis=(1, 2)).sum())
        shares += metrics.ground_share(batch.numpy(), scenes.ground, inside)
        if images.segmentation is not None:
            shown = air.generative.composition.segmentation(scenes.mask).numpy()
            aris += map(metrics.foreground_ari, images.segmentation[part], shown)
        # The canvases of all images may not fit in memory.
        large = ("canvas", "mask", "ground", "z_what")
        parts.append(scenes._replace(**dict.fromkeys(large, np.zeros(0))))
        sampled_counts.append(counts)
    scenes = tf.nest.map_structure(lambda *fields: np.concatenate(fields), *parts)
    means: dict[str, Any] = {name: total / num for name, total in totals.items()}
    background = checks.choice_name(air.config.background, BACKGROUNDS)
    drawn = background != "black" and shares[1] > 0.0
    return Evaluation(
        num_images=num,
        max_objects=steps,
        **means,
        likelihood_scale=float(air.generative.likelihood_scale),
        likelihood_constant=_likelihood_constant(air),
        count_prior="fitted" if fitted_count else "training",
        background=background,
        object_coverage=covered / num,
        ground_share=float(shares[0] / shares[1]) if drawn else None,
        reconstruction_error_by_step=(step_totals / num).tolist() if by_step else None,
        **figures.count_figures(images.counts, scenes, np.concatenate(sampled_counts)),
        generated_count_distance=figures.generated_count_distance(
            images.counts,
            air.generative.count_prior(steps, fitted=True).probs_parameter().numpy(),
        ),
        **figures.box_figures(images, scenes),
        foreground_ari=figures.mean(aris),
    )


def _require_size_of_masks(
    segmentation: np.ndarray | None, image_shape: tuple[int, int, int]
) -> None:
    """Raises InputError for true masks of another size than the canvas."""
    if segmentation is not None and segmentation.shape[1:] != image_shape[:2]:
        raise InputError(
            f"has shape {segmentation.shape}; expected {image_shape[:2]} after the "
            "batch axis",
            field="segmentation",
        )


def _likelihood_constant(air: AIR) -> float:
    no_error = tf.zeros([1, math.prod(air.config.image_shape)])
    return float(log_normal(no_error, air.generative.likelihood_scale)[0])


@tf.function(reduce_retracing=True, autograph=False)
def _sampled_bound(air, images, seed, steps, fitted_count):
    """The terms of the bound, [B] each, and counts sampled from q(n), [B]."""
    output = air(images, sample=True, seed=seed, max_objects=steps)
    objective = enumeration(
        output, images, air.generative.densities(steps, fitted_count=fitted_count)
    )
    terms = {name: getattr(objective, name) for name in TERMS}
    return terms, tf.cast(tf.reduce_sum(output.inference.z_pres, axis=1), tf.int64)
