"""The ELBO with the count summed out exactly.

z_pres is a unary code, so a latent scene of T steps has only T + 1 outcomes.
Take all T steps as if every object were present, with z_where and z_what
reparameterised (Kingma and Welling 2014, section 2.4); then

    ELBO = sum over n of q(n) [log p(x | z_1 .. z_n) + log p(n) - log q(n)
                               - sum over t <= n of (KL_where_t + KL_what_t)]

is Eslami et al. 2016, eq. 2, with its expectation over n done by hand: no
score function, no baseline, no variance from the discrete part.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.structs import AIROutput, Densities

# What the bound is the sum of, the bound itself first: fields of `Objective`.
TERMS = ("elbo", "log_likelihood", "kl_num_objects", "kl_where", "kl_what")


class Objective(NamedTuple):
    """A loss and the terms of the bound, per image and in nats."""

    loss: tf.Tensor  # [B], what training minimises
    elbo: tf.Tensor  # [B]
    log_likelihood: tf.Tensor  # [B], E_q log p(x | z), constants included
    kl_num_objects: tf.Tensor  # [B], KL(q(n) || p(n))
    kl_where: tf.Tensor  # [B], of the objects that are present
    kl_what: tf.Tensor  # [B], likewise
    count_probs: tf.Tensor  # [B, T + 1], q(n)


def log_normal(residual: tf.Tensor, scale: float) -> tf.Tensor:
    """Log density of N(0, scale^2) at every pixel, summed: [B, P] to [B]."""
    constant = residual.shape[1] * math.log(scale * math.sqrt(2.0 * math.pi))
    return -0.5 * tf.reduce_sum(tf.square(residual), axis=1) / scale**2 - constant


def prefix_log_likelihoods(
    object_image: tf.Tensor, images: tf.Tensor, likelihood_scale: float
) -> tf.Tensor:
    """log p(x | z_1 .. z_n) for every n.

    Args:
      object_image: [B, T, H, W, C].
      images: [B, H, W, C].
      likelihood_scale: sigma.

    Returns:
      [B, T + 1], the full log densities.
    """
    size = math.prod(images.shape[1:])
    residual = tf.reshape(images, [-1, size])
    log_likelihoods = [log_normal(residual, likelihood_scale)]
    for one in tf.unstack(object_image, axis=1):
        residual -= tf.reshape(one, [-1, size])
        log_likelihoods.append(log_normal(residual, likelihood_scale))
    return tf.stack(log_likelihoods, axis=1)


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
        count_probs=probs,
    )
