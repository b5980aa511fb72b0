"""An explanation, step by step."""

import numpy as np
import tensorflow as tf

from air_tf.model.air import AIR, to_float
from air_tf.structs import Scenes

# What every step draws is kept.
_BATCH_SIZE = 64


def canvases_by_step(air: AIR, scenes: Scenes) -> np.ndarray:
    """The canvas before the first step, and after each: [N, T + 1, H, W, C].

    Absent objects add nothing, so the last one is `scenes.canvas`.
    """
    drawn = air.draw_objects(tf.constant(scenes.z_where), tf.constant(scenes.z_what))
    drawn *= tf.constant(scenes.presence)[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
    return tf.pad(tf.cumsum(drawn, axis=1), [[0, 0], [1, 0]] + [[0, 0]] * 3).numpy()


def errors_by_step(
    air: AIR, images: np.ndarray, max_objects: int | None = None
) -> list[float]:
    """Squared error before the first step, and after each; mean over all pixels.

    Args:
      air: the model.
      images: [N, H, W, C].
      max_objects: T; that of the model's config if omitted.

    Returns:
      T + 1 errors; the last is the reconstruction error.
    """
    totals = 0.0
    for start in range(0, len(images), _BATCH_SIZE):
        batch = to_float(images[start : start + _BATCH_SIZE])
        scenes = air.infer(batch, max_objects=max_objects, batch_size=_BATCH_SIZE)
        errors = np.square(canvases_by_step(air, scenes) - batch[:, np.newaxis])
        totals += errors.mean(axis=(2, 3, 4)).sum(axis=0)
    return (totals / len(images)).tolist()
