"""The ELBO with the count summed out exactly.

z_pres is a unary code, so a latent scene of T steps has only T + 1 outcomes.
Take all T steps as if every object were present, with z_where and z_what
reparameterised (Kingma and Welling 2014, section 2.4); then

    ELBO = sum over n of q(n) [log p(x | z_1 .. z_n) + log p(n) - log q(n)
                               - sum over t <= n of (KL_where_t + KL_what_t)]

is Eslami et al. 2016, eq. 2, with its expectation over n done by hand: no
score function, no baseline, no variance from the discrete part.
"""

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.bound import Objective, prefix_log_likelihoods
from air_tf.structs import AIROutput, Densities


def enumeration(output: AIROutput, images: tf.Tensor, p: Densities) -> Objective:
    """The exact marginalisation over the count.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
    """
    q = distributions.posterior(output.inference)
    probs = q.count.probs_parameter()  # [B, T + 1]
    at_least = tf.cumsum(probs, axis=1, reverse=True)[:, 1:]  # [B, T], q(n >= t)
    log_likelihoods = prefix_log_likelihoods(
        output.object_image, images, p.likelihood_scale
    )

    log_likelihood = tf.reduce_sum(probs * log_likelihoods, axis=1)
    kl_num_objects = q.count.kl_divergence(p.count_prior)
    kl_where = tf.reduce_sum(at_least * q.where.kl_divergence(p.where_prior), axis=1)
    kl_what = tf.reduce_sum(at_least * q.what.kl_divergence(p.what_prior), axis=1)
    elbo = log_likelihood - kl_num_objects - kl_where - kl_what
    return Objective(
        loss=-elbo,
        elbo=elbo,
        log_likelihood=log_likelihood,
        kl_num_objects=kl_num_objects,
        kl_where=kl_where,
        kl_what=kl_what,
        mean_count=tf.reduce_sum(at_least, axis=1),
    )
