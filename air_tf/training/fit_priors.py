"""Fits to the training images what is not learned: priors, and the usual error."""

import numpy as np
import tensorflow as tf

from air_tf.images import batches
from air_tf.model import distributions
from air_tf.model.air import AIR
from air_tf.model.pixels import to_float
from air_tf.model.tracing import any_number, trace_once


def fit_priors(
    air: AIR, images: np.ndarray, *, min_scale: float, batch_size: int = 250
) -> None:
    """Fits p(n), p(z_where), p(z_ground) and the usual error, and stores them.

    The fit maximises the bound in closed form (Hoffman and Johnson 2016, section 2:
    the aggregate posterior). p(n) is the mean of q(n) over the images; p(z_ground) has
    the mean and variance of q(z_ground) over the images, and p(z_where) those of
    q(z_where) over all objects, weighted by q(n >= t). If no object is inferred,
    p(z_where) does not change.

    The usual error is that above which inference examines an explanation, see
    `air_tf.model.proposals`.

    Args:
      air: the model.
      images: [N, H, W, C], of the training split.
      min_scale: lower bound of the standard deviations, which would be 0 if all
        objects were in the same place.
      batch_size: number of images in a batch.
    """
    totals: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    trace_once(_sums, air, any_number(images))
    for _, batch in batches(images, batch_size):
        *sums, error = [np.float64(one) for one in _sums(air, to_float(batch))]
        totals = [*map(np.add, totals, sums)] if totals else sums
        errors.append(error)
    count, present, loc, square, code, code_square = totals
    before = air.generative.where_prior(fitted=True)
    where = [before.mean(), before.stddev()]
    if present > 0:
        where = _normal(loc / present, square / present, min_scale)
    number = len(images)
    ground = _normal(code / number, code_square / number, min_scale)
    air.generative.set_fitted_priors(count / number, where, ground)
    if air.proposals is not None:
        air.proposals.set_usual_error(np.concatenate(errors))


def _normal(
    mean: np.ndarray, mean_square: np.ndarray, min_scale: float
) -> list[np.ndarray]:
    """Mean and standard deviation."""
    deviation = np.sqrt(np.maximum(mean_square - mean**2, 0.0))
    return [mean, np.maximum(deviation, min_scale)]


@tf.function(reduce_retracing=True, autograph=False)
def _sums(air: AIR, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Sums over images: of q(n), presence, z_where and its square, the ground's code
    and its square; and the errors."""
    output = air(images)
    inference = output.inference
    errors = tf.zeros([0])
    if air.proposals is not None:
        p = air.generative.densities()
        errors = air.proposals.errors(output.canvas, images, p)
    probs = tf.exp(distributions.log_count_probs(inference.presence_logits))
    at_least = tf.cumsum(probs, axis=1, reverse=True)[:, 1:, tf.newaxis]
    loc, scale = inference.q_where_params
    ground = output.q_ground_params
    return (
        tf.reduce_sum(probs, axis=0),  # [T + 1]
        tf.reduce_sum(at_least),
        tf.reduce_sum(at_least * loc, axis=[0, 1]),  # [3]
        tf.reduce_sum(at_least * (loc**2 + scale**2), axis=[0, 1]),  # [3]
        tf.reduce_sum(ground.loc, axis=0),  # [G]
        tf.reduce_sum(ground.loc**2 + ground.scale**2, axis=0),  # [G]
        errors,  # [B]
    )
