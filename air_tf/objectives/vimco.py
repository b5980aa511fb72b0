"""VIMCO (Mnih and Rezende 2016): each sample's baseline comes from the other samples.

The bound of K samples is E[log 1/K sum over k of w_k] with w = p(x, z) / q(z | x),
where z are all latents. The gradient for the count is a score-function term. The
learning signal of sample k is the bound minus the bound with w_k replaced by the
geometric mean of the other weights (eq. 8 to 10). z_where and z_what are
reparameterised.
"""

import math

import tensorflow as tf

from air_tf.objectives.bound import (
    BoundEstimate,
    ground_log_ratio,
    log_density_ratios,
)
from air_tf.objectives.objective import Estimate, MultiSampleObjective
from air_tf.objectives.reinforce import sampled, score_function
from air_tf.structs import AIROutput, Densities


def vimco(
    output: AIROutput, images: tf.Tensor, p: Densities, *, num_particles: int
) -> BoundEstimate:
    """The bound of K samples, with the score-function term of the count.

    Args:
      output: of `AIR.call(images, sample=True)`, with any `loop`.
      images: [B K, H, W, C], each repeated K times in consecutive rows.
      p: the generative model, from `Generative.densities`.
      num_particles: K, at least 2.

    Returns:
      The loss is that of the bound of K samples; the other fields are those of the
      single-sample bound for each sample.
    """
    terms = sampled(output, images, p)
    log_ratio = log_density_ratios(output.inference, p)
    log_decisions = tf.reduce_sum(terms.log_decision, axis=1)
    log_weight = (
        terms.log_likelihood
        + terms.log_count_prior
        - log_decisions
        + tf.reduce_sum(terms.z_pres * log_ratio, axis=1)
        + ground_log_ratio(output, p)
    )
    log_weight = tf.reshape(log_weight, [-1, num_particles])
    log_decisions = tf.reshape(log_decisions, [-1, num_particles])
    bound = tf.reduce_logsumexp(log_weight, axis=1) - math.log(num_particles)
    signal = tf.stop_gradient(bound[:, tf.newaxis] - bound_without_each(log_weight))
    score_term = tf.reduce_sum(signal * log_decisions, axis=1)
    return score_function(terms, tf.zeros_like(terms.z_pres))._replace(
        loss=-(bound + score_term)
    )


def bound_without_each(log_weight: tf.Tensor) -> tf.Tensor:
    """The bound with each weight replaced by the geometric mean of the others.

    Args:
      log_weight: [B, K], nats.

    Returns:
      [B, K], nats.
    """
    num = log_weight.shape[1]
    total = tf.reduce_sum(log_weight, axis=1, keepdims=True)
    others = (total - log_weight) / (num - 1)
    replaced = tf.eye(num, dtype=tf.bool)  # [K, K]: in row k, weight k is replaced
    rows = tf.where(replaced, others[:, tf.newaxis], log_weight[:, tf.newaxis])
    # Only the diagonal of the broadcast `others` is used, so either axis would do.
    return tf.reduce_logsumexp(rows, axis=2) - math.log(num)


class Estimator(MultiSampleObjective):
    """VIMCO with `num_particles` samples."""

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        del progress, plain
        images = self.repeated(images)
        output = self._until_absent(air, images, seed)
        p = air.generative.densities()
        bound = vimco(output, images, p, num_particles=self.samples_per_image)
        return Estimate(bound, output)
