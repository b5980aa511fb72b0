"""Evaluates a model of 3D scenes on held-out images."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.config.tabletop import Tabletop
from air_tf.evaluation import figures, metrics
from air_tf.evaluation.evaluation import Evaluation
from air_tf.evaluation.metrics3d import match
from air_tf.images import batches
from air_tf.model.air3d import AIR3D
from air_tf.model.likelihood import log_normal_constant
from air_tf.model.pixels import to_float
from air_tf.objectives.bound import TERMS
from air_tf.objectives.kind_enumeration import plain_bound
from air_tf.progress import with_bar
from air_tf.structs import ImageSet, Objects3D, Scenes3D

_ERRORS = ("reconstruction_error", "empty_canvas_error")
_MIN_MASK = 0.5


def evaluate3d(
    air: AIR3D,
    images: ImageSet,
    *,
    max_objects: int | None = None,
    batch_size: int = 125,
    seed: int = 0,
    fitted_count: bool = False,
    show_progress: bool = False,
) -> Evaluation:
    """Measures counts, kinds, positions, yaws, masks, reconstructions and the bound.

    Args:
      air: the model.
      images: held-out images; what is known of their objects is optional.
      max_objects: T; that of the model's config if omitted.
      batch_size: number of images in a batch.
      seed: seed of the samples of q.
      fitted_count: whether the bound uses p(n) as fitted to the training images,
        instead of the p(n) of training.
      show_progress: whether to show a bar, see `air_tf.progress`.

    Returns:
      The figures that need only the model and the images, see `Evaluation`. Without
      objects, the canvas is the empty table.

    Raises:
      InputError: for images of another shape, or values out of range; if the
        renderer can't be started.
    """
    steps = air.config.num_steps(max_objects)
    # Before the first trace, which must not start it.
    air.renderer  # noqa: B018
    totals = dict.fromkeys((*TERMS, *_ERRORS), 0.0)
    parts: list[Scenes3D] = []
    sampled_counts: list[np.ndarray] = []
    aris: list[float | None] = []
    all_batches = batches(images.images, batch_size)
    if show_progress:
        all_batches = with_bar(all_batches, len(images.images), "evaluation")
    for part, batch in all_batches:
        scenes = air.infer(batch, max_objects=steps, batch_size=batch_size)
        batch = to_float(batch)
        terms, counts = _sampled_bound(
            air, batch, tf.constant([seed, part.start]), steps, fitted_count
        )
        canvas = air.draw(scenes, batch_size)
        terms["reconstruction_error"] = np.square(batch - canvas).mean((1, 2, 3))
        empty = air.ground.value
        terms["empty_canvas_error"] = np.square(batch - empty).mean((1, 2, 3))
        for name in totals:
            totals[name] += float(np.sum(terms[name]))
        if images.segmentation is not None:
            aris += map(
                metrics.foreground_ari, images.segmentation[part], _shown(scenes)
            )
        # The masks of all images may not fit in memory.
        parts.append(scenes._replace(mask=np.zeros(0)))
        sampled_counts.append(counts)
    scenes = tf.nest.map_structure(lambda *fields: np.concatenate(fields), *parts)
    num = len(images.images)
    means: dict[str, Any] = {name: total / num for name, total in totals.items()}
    size = math.prod(air.config.image_shape)
    sigma = air.config.likelihood_scale
    fitted = air.count_prior(steps, fitted=True).probs_parameter().numpy()
    return Evaluation(
        num_images=num,
        max_objects=steps,
        **means,
        likelihood_scale=sigma,
        likelihood_constant=float(log_normal_constant(size, sigma)),
        count_prior="fitted" if fitted_count else "training",
        **figures.count_figures(images.counts, scenes, np.concatenate(sampled_counts)),
        generated_count_distance=figures.generated_count_distance(
            images.counts, fitted
        ),
        **figures.box_figures(images, scenes),
        foreground_ari=figures.mean(aris),
        **object_figures(air.config.tabletop, images, scenes),
    )


@tf.function(reduce_retracing=True, autograph=False)
def _sampled_bound(air, images, seed, steps, fitted_count):
    """The terms of the bound, [B] each, and counts sampled from q(n), [B]."""
    bound, found = plain_bound(
        air, images, seed=seed, max_objects=steps, fitted_count=fitted_count
    )
    terms = {name: getattr(bound, name) for name in TERMS}
    return terms, tf.cast(tf.reduce_sum(found.z_pres, axis=1), tf.int64)


def _shown(scenes: Scenes3D) -> np.ndarray:
    """[B, H, W]: k + 1 where the mask of object k is largest, 0 where none is."""
    covered = scenes.mask.max(axis=1) > _MIN_MASK
    return np.where(covered, 1 + scenes.mask.argmax(axis=1), 0)


def object_figures(
    tabletop: Tabletop, images: ImageSet, scenes: Scenes3D | Objects3D
) -> dict[str, Any]:
    """The figures of kinds, positions and yaws, see `Evaluation`.

    Args:
      tabletop: the scene.
      images: held-out images.
      scenes: what was inferred in them.

    Returns:
      The figures by their names; none if the objects or their places are not known.
    """
    if images.positions is None or images.labels is None:
        return {}
    found = match(images, scenes, tabletop)
    if not found.num_true:
        return {}
    width = 2 * tabletop.reach
    right = found.is_right
    yaw_error = {}
    for index, kind in enumerate(tabletop.kinds):
        chosen = right & (found.kind == index)
        if kind.symmetry and chosen.any():
            yaw_error[kind.name] = float(np.median(found.angle[chosen]))
    some = len(found.distance) > 0
    return {
        "kind_accuracy": float(right.sum() / found.num_true),
        "position_error": float(np.median(found.distance) / width) if some else None,
        "position_error_mean": float(np.mean(found.distance) / width) if some else None,
        "yaw_error": yaw_error,
    }
