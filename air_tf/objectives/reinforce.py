"""The score function estimator: no gradient goes through presence, only blame.

    d/dphi E_q(z) [f] = E_q(z) [df/dphi + sum over t of (R_t - b_t) d log q_t/dphi]

with q_t the probability of what was decided at step t, whether there is one more
object, R_t the part of the bound that this decision bears on, and b_t anything that
the decision does not depend on (Williams 1992, section 4; Eslami et al. 2016,
section 2.3). z_where and z_what are reparameterised. Here b_t = 0; `nvil` learns it.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.bound import Objective, log_likelihood
from air_tf.structs import AIROutput, Densities


class Sampled(NamedTuple):
    """The bound at a sample of all latents, the count among them."""

    log_likelihood: tf.Tensor  # [B]
    log_count_prior: tf.Tensor  # [B], log p(n)
    decided: tf.Tensor  # [B, T], 1 where the step was taken
    log_decision: tf.Tensor  # [B, T], log q of what it decided; 0 elsewhere
    kl_where: tf.Tensor  # [B, T], 0 where there is no object
    kl_what: tf.Tensor  # [B, T], likewise
    z_pres: tf.Tensor  # [B, T]


def sampled(output: AIROutput, images: tf.Tensor, p: Densities) -> Sampled:
    """The terms of the bound at the samples in `output`.

    Args:
      output: of `AIR.call(images, sample=True)`, with or without `stop_early`.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
    """
    inference = output.inference
    q = distributions.posterior(inference)
    z_pres = inference.z_pres
    decided = tf.concat([tf.ones_like(z_pres[:, :1]), z_pres[:, :-1]], axis=1)
    count = tf.cast(tf.reduce_sum(z_pres, axis=1), tf.int32)
    return Sampled(
        log_likelihood=log_likelihood(output.canvas, images, p.likelihood_scale),
        log_count_prior=tf.gather(tf.math.log_softmax(p.count_prior.logits), count),
        decided=decided,
        log_decision=decided * q.presence.log_prob(z_pres),
        kl_where=z_pres * q.where.kl_divergence(p.where_prior),
        kl_what=z_pres * q.what.kl_divergence(p.what_prior),
        z_pres=z_pres,
    )


def learning_signal(terms: Sampled) -> tf.Tensor:
    """R_t, [B, T]: without what was settled before step t (Mnih and Gregor 2014,
    section 2.3.3), and without a gradient."""
    costs = terms.log_decision + terms.kl_where + terms.kl_what
    ahead = tf.cumsum(costs, axis=1, reverse=True)
    whole = (terms.log_likelihood + terms.log_count_prior)[:, tf.newaxis]
    return tf.stop_gradient(whole - ahead)


def score_function(terms: Sampled, signal: tf.Tensor) -> Objective:
    """A loss whose gradient is the estimator's, given R_t - b_t ([B, T])."""
    kl_where = tf.reduce_sum(terms.kl_where, axis=1)
    kl_what = tf.reduce_sum(terms.kl_what, axis=1)
    pathwise = terms.log_likelihood - kl_where - kl_what
    blame = tf.reduce_sum(tf.stop_gradient(signal) * terms.log_decision, axis=1)
    kl_num_objects = tf.reduce_sum(terms.log_decision, axis=1) - terms.log_count_prior
    return Objective(
        loss=-(pathwise + blame),
        elbo=pathwise - kl_num_objects,
        log_likelihood=terms.log_likelihood,
        kl_num_objects=kl_num_objects,
        kl_where=kl_where,
        kl_what=kl_what,
        mean_count=tf.reduce_sum(terms.z_pres, axis=1),
    )


def reinforce(output: AIROutput, images: tf.Tensor, p: Densities) -> Objective:
    """The score function estimator without a baseline; arguments of `sampled`."""
    terms = sampled(output, images, p)
    return score_function(terms, learning_signal(terms))
