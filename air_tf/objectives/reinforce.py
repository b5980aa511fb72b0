"""The score-function estimator (REINFORCE) for presence.

    d/dphi E_q(z) [f] = E_q(z) [df/dphi + sum over t of (R_t - b_t) d log q_t/dphi]

where q_t is the probability of the sampled z_pres_t, R_t the terms of the bound that
z_pres_t influences, and b_t a baseline value that does not depend on z_pres_t
(Williams 1992, section 4; Eslami et al. 2016, section 2.3). z_where and z_what are
reparameterised. Here b_t = 0; in `nvil` it is learned.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.likelihood import log_likelihood
from air_tf.objectives.bound import BoundEstimate, ground_kl
from air_tf.objectives.objective import Estimate, Objective
from air_tf.structs import AIROutput, Densities


class Sampled(NamedTuple):
    """The terms of the bound at a sample of all latents, including the count."""

    log_likelihood: tf.Tensor  # [B]
    log_count_prior: tf.Tensor  # [B], log p(n)
    decided: tf.Tensor  # [B, T], 1 for attend steps taken: those that sample z_pres_t
    log_decision: tf.Tensor  # [B, T], log q of the sampled z_pres_t; 0 elsewhere
    kl_where: tf.Tensor  # [B, T], 0 where no object is present
    kl_what: tf.Tensor  # [B, T], 0 where no object is present
    z_pres: tf.Tensor  # [B, T]
    kl_ground: tf.Tensor | float = 0.0  # [B]


def sampled(output: AIROutput, images: tf.Tensor, p: Densities) -> Sampled:
    """The terms of the bound at the samples in `output`.

    Args:
      output: of `AIR.call(images, sample=True)`, with any `loop`.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
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
        kl_ground=ground_kl(output, p),
        z_pres=z_pres,
    )


def learning_signal(terms: Sampled) -> tf.Tensor:
    """R_t in nats, [B, T], without a gradient.

    Leaves out the terms that are fixed before attend step t (Mnih and Gregor 2014,
    section 2.3.3).
    """
    costs = terms.log_decision + terms.kl_where + terms.kl_what
    ahead = tf.cumsum(costs, axis=1, reverse=True)
    whole = (terms.log_likelihood + terms.log_count_prior)[:, tf.newaxis]
    return tf.stop_gradient(whole - ahead)


def score_function(terms: Sampled, signal: tf.Tensor) -> BoundEstimate:
    """A loss whose gradient is that of the estimator.

    Args:
      terms: of the bound, from `sampled`.
      signal: R_t - b_t, [B, T]. It gets no gradient.
    """
    kl_where = tf.reduce_sum(terms.kl_where, axis=1)
    kl_what = tf.reduce_sum(terms.kl_what, axis=1)
    pathwise = terms.log_likelihood - kl_where - kl_what - terms.kl_ground
    score_term = tf.reduce_sum(tf.stop_gradient(signal) * terms.log_decision, axis=1)
    kl_num_objects = tf.reduce_sum(terms.log_decision, axis=1) - terms.log_count_prior
    return BoundEstimate(
        loss=-(pathwise + score_term),
        elbo=pathwise - kl_num_objects,
        log_likelihood=terms.log_likelihood,
        kl_num_objects=kl_num_objects,
        kl_where=kl_where,
        kl_what=kl_what,
        mean_count=tf.reduce_sum(terms.z_pres, axis=1),
        kl_ground=terms.kl_ground,
    )


def reinforce(output: AIROutput, images: tf.Tensor, p: Densities) -> BoundEstimate:
    """The score-function estimator without a baseline; arguments as for `sampled`."""
    terms = sampled(output, images, p)
    return score_function(terms, learning_signal(terms))


class Estimator(Objective):
    """The score-function estimator without a baseline."""

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        del progress, plain
        output = self._until_absent(air, images, seed)
        return Estimate(reinforce(output, images, air.generative.densities()), output)
