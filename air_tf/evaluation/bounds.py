"""The importance-weighted bound of log p(x)."""

import math

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from air_tf.images import batches
from air_tf.model.air import AIR
from air_tf.model.pixels import to_float
from air_tf.model.tracing import any_number, trace_once
from air_tf.objectives.iwae import log_weights
from air_tf.progress import with_bar


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

    Weights are accumulated one sample at a time, so memory does not grow with the
    number of samples.

    Args:
      air: the model.
      images: [N, H, W, C], float in [0, 1] or uint8.
      num_samples: K, samples of q for each image.
      max_objects: T; that of the model's config if omitted.
      batch_size: number of images in a batch.
      seed: seed of the samples.
      fitted_count: whether to use p(n) as fitted to the training images, instead of
        the p(n) of training.

    Returns:
      Nats per image, with the constant of the likelihood.
    """
    steps = air.config.num_steps(max_objects)
    total = 0.0
    others = (steps, tf.constant(num_samples), fitted_count)
    first_seed = tf.constant([seed, 0])
    trace_once(_log_sum_of_weights, air, any_number(images), first_seed, *others)
    all_batches = batches(images, batch_size)
    for part, batch in with_bar(all_batches, len(images), "bound"):
        log_sum = _log_sum_of_weights(
            air, to_float(batch), tf.constant([seed, part.start]), *others
        )
        total += float(tf.reduce_sum(log_sum)) - len(batch) * math.log(num_samples)
    return total / len(images)


@tf.function(reduce_retracing=True, autograph=False)
def _log_sum_of_weights(air, images, seed, steps, num_samples, fitted_count):
    """Log of the sum of the weights of all samples, in nats: [B]."""
    p = air.generative.densities(steps, fitted_count=fitted_count)

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
