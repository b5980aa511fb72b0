"""Importance weights of q, with the count summed out exactly.

With z_1 .. z_T drawn from q, all T steps taken as if every object were present,

    w = sum over n of p(n) p(x | z_1 .. z_n) prod over t <= n of p(z_t) / q(z_t)

has mean p(x), since q of the first n objects is a proposal for them whatever
follows. So E[log (1/K) sum over k of w_k] <= log p(x) (Burda et al. 2016, eq. 8),
tighter with every sample, and q(n) is not needed: the sum over n is exact.
"""

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.enumeration import prefix_log_likelihoods
from air_tf.structs import AIROutput, Densities


def log_weights(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """log w of one sample for each image, in nats: [B].

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
    """
    inference = output.inference
    q = distributions.posterior(inference)
    z_where, z_what = inference.z_where, inference.z_what
    ratio = (
        p.where_prior.log_prob(z_where)
        - q.where.log_prob(z_where)
        + p.what_prior.log_prob(z_what)
        - q.what.log_prob(z_what)
    )  # [B, T]
    ratios = tf.concat([tf.zeros_like(ratio[:, :1]), tf.cumsum(ratio, axis=1)], axis=1)
    log_likelihoods = prefix_log_likelihoods(
        output.object_image, images, p.likelihood_scale
    )  # [B, T + 1]
    log_count = tf.math.log_softmax(p.count_prior.logits)  # [T + 1]
    return tf.reduce_logsumexp(log_count + log_likelihoods + ratios, axis=1)
