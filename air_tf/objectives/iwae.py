"""Importance weights of q, with the count summed out exactly.

With z_1 .. z_T drawn from q, all T steps taken as if every object were present,

    w = w_0 + .. + w_T,
    w_n = p(n) p(x | z_1 .. z_n) prod over t <= n of p(z_t) / q(z_t)

has mean p(x), since q of the first n objects is a proposal for them whatever
follows. So E[log (1/K) sum over k of w_k] <= log p(x) (Burda et al. 2016, eq. 8),
tighter with every sample, and q(n) is not needed: the sum over n is exact.

As an objective, the bound therefore says nothing to q(n). The weights do: w_n over
their sum is the posterior of the count at these samples, and q(n) learns it, as in
the wake phase of reweighted wake-sleep (Bornschein and Bengio 2015, section 2.2).
Unlike there, what it learns in the recurrent form also reaches the networks behind the
earlier objects, on whose samples the later q(z_pres_t) depends.
"""

import math

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.bound import (
    Objective,
    log_density_ratios,
    prefix_log_likelihoods,
)
from air_tf.objectives.enumeration import enumeration
from air_tf.structs import AIROutput, Densities


def log_weights(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """log w_n of one sample for each image and count, in nats: [B, T + 1].

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
    """
    ratio = log_density_ratios(output.inference, p)
    ratios = tf.concat([tf.zeros_like(ratio[:, :1]), tf.cumsum(ratio, axis=1)], axis=1)
    log_likelihoods = prefix_log_likelihoods(
        output.object_image, images, p.likelihood_scale
    )  # [B, T + 1]
    log_count = tf.math.log_softmax(p.count_prior.logits)  # [T + 1]
    return log_count + log_likelihoods + ratios


def iwae(
    output: AIROutput, images: tf.Tensor, p: Densities, *, num_particles: int
) -> Objective:
    """The bound of K samples, and q(n) drawn towards the weights of the counts.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B K, H, W, C], each K times in a row.
      p: the generative model, as `AIR.densities` gives it.
      num_particles: K.
    """

    def by_image(x):
        return tf.reshape(x, [-1, num_particles * x.shape[1]])

    log_weight = by_image(log_weights(output, images, p))  # [B, K (T + 1)]
    bound = tf.reduce_logsumexp(log_weight, axis=1) - math.log(num_particles)
    shares = tf.stop_gradient(tf.nn.softmax(log_weight, axis=1))
    log_q = by_image(distributions.log_count_probs(output.inference.presence_logits))
    lesson = -tf.reduce_sum(shares * log_q, axis=1)
    return enumeration(output, images, p)._replace(loss=lesson - bound)
