"""The evidence lower bound: its terms, and functions that objectives share."""

from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.structs import AIROutput, Densities, Inference

# The fields of `BoundEstimate` that are logged: the bound, and its terms.
TERMS = ("elbo", "log_likelihood", "kl_num_objects", "kl_where", "kl_what", "kl_ground")


class BoundEstimate(NamedTuple):
    """A loss, and the terms of the bound or samples of them, in nats.

    The loss is given for each image; the other fields for each sample, with S = B, or
    S = B K for an objective with K particles per image.
    """

    loss: tf.Tensor  # [B], minimised by training
    elbo: tf.Tensor  # [S]
    log_likelihood: tf.Tensor  # [S], E_q log p(x | z), with its constant
    kl_num_objects: tf.Tensor  # [S], KL(q(n) || p(n))
    kl_where: tf.Tensor  # [S], KL of z_where, summed over present objects
    kl_what: tf.Tensor  # [S], KL of z_what, summed over present objects
    mean_count: tf.Tensor  # [S], E_q n
    kl_ground: tf.Tensor | float = 0.0  # [S], KL of the ground's code


def log_density_ratios(inference: Inference, p: Densities) -> tf.Tensor:
    """log p(z_t) / q(z_t), where z_t is (z_where_t, z_what_t): [B, T] nats."""
    q = distributions.posterior(inference)
    return (
        p.where_prior.log_prob(inference.z_where)
        - q.where.log_prob(inference.z_where)
        + p.what_prior.log_prob(inference.z_what)
        - q.what.log_prob(inference.z_what)
    )


def ground_kl(output: AIROutput, p: Densities) -> tf.Tensor:
    """KL of the ground's code, [B] nats; 0 for a ground without one."""
    q = distributions.diagonal_normal(output.q_ground_params)
    return q.kl_divergence(p.ground_prior)


def ground_log_ratio(output: AIROutput, p: Densities) -> tf.Tensor:
    """log p(z_ground) / q(z_ground), [B] nats; 0 for a ground without a code."""
    q = distributions.diagonal_normal(output.q_ground_params)
    return p.ground_prior.log_prob(output.z_ground) - q.log_prob(output.z_ground)
