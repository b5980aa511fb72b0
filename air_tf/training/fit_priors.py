"""Priors that scenes are generated from: what inference says of the training images."""

import numpy as np
import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.air import AIR, to_float

# Where all objects are in one place.
_MIN_DEVIATION = 1e-3


def fit_priors(air: AIR, images: np.ndarray, *, batch_size: int = 250) -> None:
    """Fits p(n) and p(z_where) and stores them with the model.

    In closed form: of all p(n), the mean of q(n) over the images has the largest
    bound, and of all Normals p(z_where), the one with the mean and variance of
    their posteriors (Hoffman and Johnson 2016, section 2: the aggregate
    posterior). Inference stays as it is; without an object, so does p(z_where).

    Args:
      air: the model.
      images: [N, H, W, C], those of training.
      batch_size: images at a time.
    """
    totals = None
    for start in range(0, len(images), batch_size):
        sums = _sums(air, to_float(images[start : start + batch_size]))
        sums = [np.float64(one) for one in sums]
        totals = sums if totals is None else [*map(np.add, totals, sums)]
    count, present, loc, square = totals
    before = air.where_prior(fitted=True)
    where = [before.mean(), before.stddev()]
    if present > 0:
        mean = loc / present
        deviation = np.sqrt(np.maximum(square / present - mean**2, 0.0))
        where = [mean, np.maximum(deviation, _MIN_DEVIATION)]
    air.set_fitted_priors(count / len(images), where)


@tf.function(reduce_retracing=True, autograph=False)
def _sums(air: AIR, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Sums over images of q(n), of presence, and of z_where and its square."""
    inference = air(images).inference
    probs = tf.exp(distributions.log_count_probs(inference.presence_logits))
    at_least = tf.cumsum(probs, axis=1, reverse=True)[:, 1:, tf.newaxis]
    loc, scale = inference.q_where_params
    return (
        tf.reduce_sum(probs, axis=0),  # [T + 1]
        tf.reduce_sum(at_least),
        tf.reduce_sum(at_least * loc, axis=[0, 1]),  # [3]
        tf.reduce_sum(at_least * (loc**2 + scale**2), axis=[0, 1]),  # [3]
    )
