"""Soft edges and a wide likelihood at the start of training on 3D scenes.

A pose that is far off gets a gradient only from an object that is drawn wide, and only
while a pixel may be wrong.
"""

import tensorflow as tf

from air_tf.config import AIR3DConfig
from air_tf.config.objectives import TabletopObjectiveConfig


def annealed(
    settings: TabletopObjectiveConfig, model: AIR3DConfig, progress: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The blur in pixels, and the standard deviation of a pixel.

    Args:
      settings: of the objective.
      model: whose values are reached.
      progress: share of the training steps that are done.
    """
    blur = _falling(settings.initial_blur, model.blur, progress, settings.blur_share)
    scale = _falling(
        settings.initial_likelihood_scale,
        model.likelihood_scale,
        progress,
        settings.scale_share,
    )
    return blur, scale


def _falling(first, last, progress, share):
    """From `first` to `last`, geometrically, over a share of the training."""
    done = tf.clip_by_value(progress / share, 0.0, 1.0)
    return first * tf.pow(last / first, done)
