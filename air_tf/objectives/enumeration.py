"""The ELBO with the count summed out exactly.

z_pres is a unary code, so it has only T + 1 values for T attend steps. All T steps
are taken as if every object were present, with z_where and z_what reparameterised
(Kingma and Welling 2014, section 2.4). Then

    ELBO = sum over n of q(n) [log p(x | z_1 .. z_n) + log p(n) - log q(n)
                               - sum over t <= n of (KL_where_t + KL_what_t)]
           - KL_ground

is Eslami et al. 2016, eq. 2, with the expectation over n computed exactly: its
gradient needs no score-function term and no baseline, and the discrete latent adds no
variance.
"""

import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.likelihood import prefix_log_likelihoods
from air_tf.objectives.blank_steps import without_blanks
from air_tf.objectives.bound import BoundEstimate, ground_kl
from air_tf.objectives.count_posterior import (
    count_loss,
    object_loss,
    without_count_gradient,
)
from air_tf.objectives.objective import Estimate, Objective
from air_tf.structs import AIROutput, Densities

# That train q(n), see `air_tf.objectives.count_posterior`.
_LOSSES = {"cross_entropy": count_loss, "objects": object_loss}


def enumeration(output: AIROutput, images: tf.Tensor, p: Densities) -> BoundEstimate:
    """The bound with the count summed out.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
    """
    q = distributions.posterior(output.inference)
    probs = q.count.probs_parameter()  # [B, T + 1]
    at_least = tf.cumsum(probs, axis=1, reverse=True)[:, 1:]  # [B, T], q(n >= t)
    log_likelihoods = prefix_log_likelihoods(output, images, p)

    log_likelihood = tf.reduce_sum(probs * log_likelihoods, axis=1)
    kl_num_objects = q.count.kl_divergence(p.count_prior)
    kl_where = tf.reduce_sum(at_least * q.where.kl_divergence(p.where_prior), axis=1)
    kl_what = tf.reduce_sum(at_least * q.what.kl_divergence(p.what_prior), axis=1)
    kl_ground = ground_kl(output, p)
    elbo = log_likelihood - kl_num_objects - kl_where - kl_what - kl_ground
    return BoundEstimate(
        loss=-elbo,
        elbo=elbo,
        log_likelihood=log_likelihood,
        kl_num_objects=kl_num_objects,
        kl_where=kl_where,
        kl_what=kl_what,
        mean_count=tf.reduce_sum(at_least, axis=1),
        kl_ground=kl_ground,
    )


class Estimator(Objective):
    """The exact bound, with two optional methods that are not in the paper.

    - `count_update="cross_entropy"` or `"objects"`: a cross-entropy loss trains q(n) on
      the posterior of the count, or every attend step on whether its object pays,
      instead of the gradient of the bound (`air_tf.objectives.count_posterior`).
    - `move_blank_steps`: the bound is computed with blank attend steps moved to the
      end, and an auxiliary loss trains q to infer this order
      (`air_tf.objectives.blank_steps`).

    Logs "blanks", the share of images with a blank step.
    """

    FIGURES = ("blanks",)

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        del progress
        p = air.generative.densities()
        output = self._all_steps(air, images, seed)
        if plain:
            return Estimate(enumeration(output, images, p), output)
        explained, auxiliary, blanks = output, 0.0, 0.0
        if self.settings.move_blank_steps:
            moved = without_blanks(explained, images, p)
            explained, auxiliary = moved.output, moved.auxiliary_loss
            blanks = tf.reduce_sum(moved.blank, axis=1)
        if self.settings.count_update in _LOSSES:
            loss = _LOSSES[self.settings.count_update](explained, images, p)
            auxiliary += self.settings.count_loss_weight * loss
            explained = without_count_gradient(explained)
        return Estimate(
            bound=enumeration(explained, images, p),
            output=output,
            auxiliary_loss=auxiliary,
            figures={"blanks": blanks},
        )
