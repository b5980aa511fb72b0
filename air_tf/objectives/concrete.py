"""Presence as a relaxed Bernoulli variable, which is differentiable.

z_pres_t is sampled from a binary Concrete distribution (Maddison et al. 2017, section
2 and appendix B; Jang et al. 2017). The likelihood is that of a canvas on which each
object is scaled by its relaxed presence. The gradient is biased; the bias falls with
the temperature. Only the likelihood uses the relaxed sample: the KL of the count and
the KLs of the objects are exact, as in `enumeration`. Evaluation does not relax
presence.
"""

import tensorflow as tf

from air_tf.model import distributions, replicas
from air_tf.model.likelihood import log_likelihood
from air_tf.objectives.bound import BoundEstimate
from air_tf.objectives.enumeration import enumeration
from air_tf.objectives.objective import Estimate, Objective
from air_tf.structs import AIROutput, Densities


def falling_temperature(
    initial: float, final: float, progress: tf.Tensor | float
) -> tf.Tensor | float:
    """Geometric interpolation from `initial` (progress 0) to `final` (progress 1)."""
    return initial * (final / initial) ** progress


def concrete(
    output: AIROutput,
    images: tf.Tensor,
    p: Densities,
    *,
    uniform: tf.Tensor,
    temperature: tf.Tensor | float,
) -> BoundEstimate:
    """The bound with a relaxed sample of presence.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
      uniform: [B, T], independent uniform random numbers in (0, 1).
      temperature: above 0.
    """
    logits = output.inference.presence_logits
    relaxed = distributions.relaxed_presence(logits, uniform, temperature)
    z_pres = tf.math.cumprod(relaxed, axis=1)  # [B, T]
    canvas = p.composition.compose(output.ground, output.object_image, z_pres)
    relaxed_likelihood = log_likelihood(canvas, images, p.likelihood_scale)
    exact = enumeration(output, images, p)
    elbo = exact.elbo - exact.log_likelihood + relaxed_likelihood
    return exact._replace(loss=-elbo, elbo=elbo, log_likelihood=relaxed_likelihood)


class Estimator(Objective):
    """The bound with relaxed presence; the temperature falls during training."""

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        del plain
        seeds = tf.random.split(seed, 2)
        p = air.generative.densities()
        output = self._all_steps(air, images, seeds[0])
        uniform = replicas.uniform(
            tf.shape(output.inference.presence_logits),
            seeds[1],
            minval=1e-6,  # excludes 0, whose logarithm is infinite
            maxval=1.0 - 1e-6,
        )
        bound = concrete(
            output,
            images,
            p,
            uniform=uniform,
            temperature=falling_temperature(
                self.settings.initial_temperature,
                self.settings.final_temperature,
                progress,
            ),
        )
        return Estimate(bound, output)
