"""The likelihood: log p(x | z) of images, given what is drawn, and bounds of counts."""

import math

import tensorflow as tf

from air_tf.model import distributions
from air_tf.structs import AIROutput, Densities


def log_normal(residual: tf.Tensor, scale: tf.Tensor | float) -> tf.Tensor:
    """Log density of N(0, scale^2), summed over pixels: [B, P] to [B] nats."""
    root = math.sqrt(2.0 * math.pi)
    log = (
        math.log(scale * root)
        if isinstance(scale, float)
        else tf.math.log(scale * root)
    )
    constant = residual.shape[1] * log
    return -0.5 * tf.reduce_sum(tf.square(residual), axis=1) / scale**2 - constant


def log_normal_constant(size: int, scale: tf.Tensor | float) -> tf.Tensor:
    """What `log_normal` adds to the squared errors of `size` pixels: [] nats."""
    return -size * (tf.math.log(scale) + 0.5 * math.log(2.0 * math.pi))


def log_likelihood(
    canvas: tf.Tensor, images: tf.Tensor, likelihood_scale: tf.Tensor | float
) -> tf.Tensor:
    """log p(x | z) of canvases [B, H, W, C], with its constant: [B] nats."""
    size = math.prod(images.shape[1:])
    return log_normal(tf.reshape(images - canvas, [-1, size]), likelihood_scale)


def prefix_log_likelihoods(
    output: AIROutput, images: tf.Tensor, p: Densities
) -> tf.Tensor:
    """log p(x | z_1 .. z_n) for n = 0 .. T.

    Args:
      output: of `AIR.call`.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.

    Returns:
      [B, T + 1] nats, with the constant of the density.
    """
    size = math.prod(images.shape[1:])
    residuals = p.composition.residuals(images, output.ground, output.object_image)
    return tf.stack(
        [
            log_normal(tf.reshape(residual, [-1, size]), p.likelihood_scale)
            for residual in residuals
        ],
        axis=1,
    )


def count_bounds(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """E_n in nats, [B, T + 1].

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
    """
    q = distributions.posterior(output.inference)
    kl = q.where.kl_divergence(p.where_prior) + q.what.kl_divergence(p.what_prior)
    kl = tf.pad(tf.cumsum(kl, axis=1), [[0, 0], [1, 0]])  # [B, T + 1]
    log_likelihoods = prefix_log_likelihoods(output, images, p)
    return log_likelihoods + tf.math.log_softmax(p.count_prior.logits) - kl
