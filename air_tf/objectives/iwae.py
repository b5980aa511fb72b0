"""The importance-weighted bound, with the count summed out exactly.

With z_1 .. z_T sampled from q, all T steps taken as if every object were present,

    w = w_0 + .. + w_T,
    w_n = p(n) p(x | z_1 .. z_n) prod over t <= n of p(z_t) / q(z_t)

has the mean p(x): for each n, q(z_1 .. z_n) is a proposal for the first n objects,
and the later objects do not enter w_n. Therefore E[log (1/K) sum over k of w_k] <=
log p(x) (Burda et al. 2016, eq. 8). The bound is tighter for larger K. It does not
depend on q(n), because the sum over n is exact.

The bound therefore gives no gradient for q(n). As an objective, a cross-entropy loss
trains q(n) on the posterior of the count at these samples, w_n / w, as in the wake
phase of reweighted wake-sleep (Bornschein and Bengio 2015, section 2.2). Unlike there,
in recurrent inference this loss also trains the networks of earlier objects, because
later q(z_pres_t) depend on their samples.
"""

import math

import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.likelihood import prefix_log_likelihoods
from air_tf.objectives.bound import BoundEstimate, ground_log_ratio, log_density_ratios
from air_tf.objectives.enumeration import enumeration
from air_tf.objectives.objective import Estimate, MultiSampleObjective
from air_tf.structs import AIROutput, Densities


def log_weights(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """log w_n for every count, with one sample per image, in nats: [B, T + 1].

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
    """
    ratio = log_density_ratios(output.inference, p)
    ratios = tf.concat([tf.zeros_like(ratio[:, :1]), tf.cumsum(ratio, axis=1)], axis=1)
    log_likelihoods = prefix_log_likelihoods(output, images, p)  # [B, T + 1]
    log_count = tf.math.log_softmax(p.count_prior.logits)  # [T + 1]
    ground = ground_log_ratio(output, p)[:, tf.newaxis]
    return log_count + log_likelihoods + ratios + ground


def iwae(
    output: AIROutput, images: tf.Tensor, p: Densities, *, num_particles: int
) -> BoundEstimate:
    """The bound of K samples, with the cross-entropy loss of q(n).

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B K, H, W, C], each repeated K times in consecutive rows.
      p: the generative model, from `Generative.densities`.
      num_particles: K.

    Returns:
      The loss is the negative bound plus the cross-entropy; the other fields are
      those of `enumeration` for each sample.
    """

    def by_image(x):
        return tf.reshape(x, [-1, num_particles * x.shape[1]])

    log_weight = by_image(log_weights(output, images, p))  # [B, K (T + 1)]
    bound = tf.reduce_logsumexp(log_weight, axis=1) - math.log(num_particles)
    normalised = tf.stop_gradient(tf.nn.softmax(log_weight, axis=1))
    log_q = by_image(distributions.log_count_probs(output.inference.presence_logits))
    count_loss = -tf.reduce_sum(normalised * log_q, axis=1)
    return enumeration(output, images, p)._replace(loss=count_loss - bound)


class Estimator(MultiSampleObjective):
    """The importance-weighted bound of `num_particles` samples."""

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        del progress, plain
        images = self.repeated(images)
        output = self._all_steps(air, images, seed)
        p = air.generative.densities()
        bound = iwae(output, images, p, num_particles=self.samples_per_image)
        return Estimate(bound, output)
