"""q(n) learns the posterior of the count.

Samples of all T steps tell how well every count would explain the image: with

    E_n = log p(x | z_1 .. z_n) + log p(n) - sum over t <= n of (KL_where_t + KL_what_t)

the bound is the sum over n of q(n) (E_n - log q(n)), and the q(n) that maximises it
at these samples is softmax(E_n). The gradient of the bound moves q(n) there by steps
that vanish with q(n) itself: a count that was given up while the decoder could not
draw yet is not found again (everything counted 0), nor is one that a blank step made
(one object counted 2). So q(n) learns the softmax by its cross-entropy instead, whose
gradient is the difference of the two: the wake phase of reweighted wake-sleep
(Bornschein and Bengio 2015, section 2.2), for the one latent that is enumerated.
"""

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.bound import prefix_log_likelihoods
from air_tf.structs import AIROutput, Densities


def count_bounds(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """E_n in nats, [B, T + 1].

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
    """
    q = distributions.posterior(output.inference)
    kl = q.where.kl_divergence(p.where_prior) + q.what.kl_divergence(p.what_prior)
    kl = tf.pad(tf.cumsum(kl, axis=1), [[0, 0], [1, 0]])  # [B, T + 1]
    log_likelihoods = prefix_log_likelihoods(
        output.object_image, images, p.likelihood_scale
    )
    return log_likelihoods + tf.math.log_softmax(p.count_prior.logits) - kl


def count_lesson(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """Cross-entropy of q(n) to softmax(E_n), in nats: [B].

    Gradients reach q(n) alone, and in the recurrent form the samples that later steps
    remember. Arguments as of `count_bounds`.
    """
    posterior = tf.nn.softmax(tf.stop_gradient(count_bounds(output, images, p)))
    log_probs = distributions.log_count_probs(output.inference.presence_logits)
    return -tf.reduce_sum(posterior * log_probs, axis=1)


def without_count_gradient(output: AIROutput) -> AIROutput:
    """The same, with q(n) a constant to whoever differentiates."""
    logits = tf.stop_gradient(output.inference.presence_logits)
    return output._replace(inference=output.inference._replace(presence_logits=logits))
