"""VIMCO (Mnih and Rezende 2016): several samples, each the others' baseline.

The bound of K samples, E[log 1/K sum over k of w_k] with w = p(x, z) / q(z), z all
latents. The count is a score function's; what it is blamed for is how much better
the bound is than it would be had this sample been as good as the others on (their
geometric) average: eq. 8 to 10. z_where and z_what are reparameterised.
"""

import math

import tensorflow as tf

from air_tf.objectives.bound import Objective, log_density_ratios
from air_tf.objectives.reinforce import sampled, score_function
from air_tf.structs import AIROutput, Densities


def vimco(
    output: AIROutput, images: tf.Tensor, p: Densities, *, num_particles: int
) -> Objective:
    """The bound of K samples.

    Args:
      output: of `AIR.call(images, sample=True)`, with or without `stop_early`.
      images: [B K, H, W, C], each K times in a row.
      p: the generative model, as `AIR.densities` gives it.
      num_particles: K, at least 2.
    """
    terms = sampled(output, images, p)
    log_ratio = log_density_ratios(output.inference, p)
    log_decisions = tf.reduce_sum(terms.log_decision, axis=1)
    log_weight = (
        terms.log_likelihood
        + terms.log_count_prior
        - log_decisions
        + tf.reduce_sum(terms.z_pres * log_ratio, axis=1)
    )
    log_weight = tf.reshape(log_weight, [-1, num_particles])
    log_decisions = tf.reshape(log_decisions, [-1, num_particles])
    bound = tf.reduce_logsumexp(log_weight, axis=1) - math.log(num_particles)
    signal = tf.stop_gradient(bound[:, tf.newaxis] - bound_without_each(log_weight))
    blame = tf.reduce_sum(signal * log_decisions, axis=1)
    return score_function(terms, tf.zeros_like(terms.z_pres))._replace(
        loss=-(bound + blame)
    )


def bound_without_each(log_weight: tf.Tensor) -> tf.Tensor:
    """The bound with each weight replaced by the geometric mean of the others.

    Args:
      log_weight: [B, K].

    Returns:
      [B, K].
    """
    num = log_weight.shape[1]
    total = tf.reduce_sum(log_weight, axis=1, keepdims=True)
    others = (total - log_weight) / (num - 1)
    replaced = tf.eye(num, dtype=tf.bool)  # [K, K]: row k has its own replaced
    rows = tf.where(replaced, others[:, tf.newaxis], log_weight[:, tf.newaxis])
    # `others` lies along the diagonal: element (k, k) is that of k.
    return tf.reduce_logsumexp(rows, axis=2) - math.log(num)
