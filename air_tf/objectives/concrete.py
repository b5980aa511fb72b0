"""Presence as a relaxed Bernoulli variable, through which a gradient can go.

z_pres_t is drawn from a binary Concrete distribution (Maddison et al. 2017, section
2 and appendix B; Jang et al. 2017), objects fade in by it, and the likelihood is
that of the faded canvas: the gradient is biased, less as the temperature falls.
What needs no sample has none: the KL of the count and the weights of the objects'
KLs are those of `enumeration`. Evaluation counts whole objects, as always.
"""

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.bound import Objective, log_likelihood
from air_tf.objectives.enumeration import enumeration
from air_tf.structs import AIROutput, Densities

_START, _END = 1.0, 0.1


def falling_temperature(progress: tf.Tensor) -> tf.Tensor:
    """From 1 to 0.1, geometrically, as training progresses from 0 to 1."""
    return _START * (_END / _START) ** progress


def concrete(
    output: AIROutput,
    images: tf.Tensor,
    p: Densities,
    *,
    uniform: tf.Tensor,
    temperature: tf.Tensor | float,
) -> Objective:
    """The bound with a relaxed sample of presence.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
      uniform: [B, T], independent random numbers in (0, 1).
      temperature: above 0.
    """
    logits = output.inference.presence_logits
    relaxed = distributions.relaxed_presence(logits, uniform, temperature)
    fades = tf.math.cumprod(relaxed, axis=1)  # [B, T]
    canvas = tf.einsum("bthwc,bt->bhwc", output.object_image, fades)
    relaxed_likelihood = log_likelihood(canvas, images, p.likelihood_scale)
    exact = enumeration(output, images, p)
    elbo = exact.elbo - exact.log_likelihood + relaxed_likelihood
    return exact._replace(loss=-elbo, elbo=elbo, log_likelihood=relaxed_likelihood)
