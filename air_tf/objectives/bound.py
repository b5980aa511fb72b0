"""The evidence lower bound: its terms, and the likelihood that objectives share."""

import math
from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.structs import Densities, Inference

# What the bound is the sum of, the bound itself first: fields of `Objective`.
TERMS = ("elbo", "log_likelihood", "kl_num_objects", "kl_where", "kl_what")


class Objective(NamedTuple):
    """A loss and the terms of the bound (or samples of them), in nats.

    The loss is of each image; the rest is of each sample, S = B, or S = B K where
    there are K particles an image.
    """

    loss: tf.Tensor  # [B], what training minimises
    elbo: tf.Tensor  # [S]
    log_likelihood: tf.Tensor  # [S], E_q log p(x | z), constants included
    kl_num_objects: tf.Tensor  # [S], KL(q(n) || p(n))
    kl_where: tf.Tensor  # [S], of the objects that are present
    kl_what: tf.Tensor  # [S], likewise
    mean_count: tf.Tensor  # [S]


def log_normal(residual: tf.Tensor, scale: float) -> tf.Tensor:
    """Log density of N(0, scale^2) at every pixel, summed: [B, P] to [B]."""
    constant = residual.shape[1] * math.log(scale * math.sqrt(2.0 * math.pi))
    return -0.5 * tf.reduce_sum(tf.square(residual), axis=1) / scale**2 - constant


def log_likelihood(
    canvas: tf.Tensor, images: tf.Tensor, likelihood_scale: float
) -> tf.Tensor:
    """log p(x | z) of canvases [B, H, W, C]: the full log density, [B]."""
    size = math.prod(images.shape[1:])
    return log_normal(tf.reshape(images - canvas, [-1, size]), likelihood_scale)


def log_density_ratios(inference: Inference, p: Densities) -> tf.Tensor:
    """log p(z_t) / q(z_t) of z_where and z_what together: [B, T]."""
    q = distributions.posterior(inference)
    return (
        p.where_prior.log_prob(inference.z_where)
        - q.where.log_prob(inference.z_where)
        + p.what_prior.log_prob(inference.z_what)
        - q.what.log_prob(inference.z_what)
    )


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
