"""Bounds of log p(x) on held-out images that need many samples."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from air_tf.model.air import AIR, to_float
from air_tf.objectives.iwae import log_weights


def iwae_bound(
    air: AIR,
    images: np.ndarray,
    *,
    num_samples: int,
    max_objects: int | None = None,
    batch_size: int = 250,
    seed: int = 0,
    fitted_count: bool = False,
) -> float:
    """The importance-weighted bound (Burda et al. 2016), mean over images.

    Memory does not grow with the number of samples: weights are summed as they come.

    Args:
      air: the model.
      images: [N, H, W, C].
      num_samples: K, samples of q for each image.
      max_objects: T; that of the model's config if omitted.
      batch_size: images at a time.
      seed: of the samples.
      fitted_count: p(n) as fitted, instead of that of training.

    Returns:
      Nats per image, all constants kept.
    """
    steps = max_objects or air.config.max_objects
    total = 0.0
    for start in range(0, len(images), batch_size):
        batch = to_float(images[start : start + batch_size])
        log_sum = _log_sum_of_weights(
            air,
            batch,
            tf.constant([seed, start]),
            steps,
            tf.constant(num_samples),
            fitted_count,
        )
        total += float(tf.reduce_sum(log_sum)) - len(batch) * math.log(num_samples)
    return total / len(images)


@tf.function(reduce_retracing=True, autograph=False)
def _log_sum_of_weights(air, images, seed, steps, num_samples, fitted_count):
    """log of the sum over samples of their weights: [B]."""
    p = air.densities(steps, fitted_count=fitted_count)

    def body(sample, log_sum):
        own_seed = tf.random.experimental.stateless_fold_in(seed, sample)
        output = air(images, sample=True, seed=own_seed, max_objects=steps)
        log_weight = tf.reduce_logsumexp(log_weights(output, images, p), axis=1)
        return sample + 1, tfp.math.log_add_exp(log_sum, log_weight)

    start = tf.fill([tf.shape(images)[0]], -float("inf"))
    _, log_sum = tf.while_loop(
        lambda sample, _: sample < num_samples, body, (tf.constant(0), start)
    )
    return log_sum
