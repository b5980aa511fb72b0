"""Reconstructions and their errors after each attend step."""

import numpy as np
import tensorflow as tf

from air_tf.images import batches
from air_tf.model.air import AIR
from air_tf.structs import Scenes

# Small, because T + 1 canvases per image are kept in memory.
_BATCH_SIZE = 64


def canvases_by_step(air: AIR, scenes: Scenes) -> np.ndarray:
    """The canvas before the first attend step, and after each of them.

    Args:
      air: the model.
      scenes: of N images.

    Returns:
      [N, T + 1, H, W, C]. Absent objects are not drawn, so the last canvas is
      `scenes.canvas`.
    """
    generative = air.generative
    drawn = generative.draw_objects(scenes.z_where, scenes.z_what)
    ground, presence = tf.constant(scenes.ground), tf.constant(scenes.presence)
    return generative.composition.prefix_canvases(ground, drawn, presence).numpy()


def errors_by_step(air: AIR, images: np.ndarray, scenes: Scenes) -> np.ndarray:
    """Squared errors of `canvases_by_step`, mean over pixels.

    Args:
      air: the model.
      images: [N, H, W, C], float in [0, 1].
      scenes: result of `AIR.infer` for these images.

    Returns:
      [N, T + 1]; the last column is the error of the reconstruction.
    """
    errors = []
    for part, batch in batches(np.asarray(images), _BATCH_SIZE):
        subset = Scenes(*(field[part] for field in scenes))
        canvases = canvases_by_step(air, subset)
        errors.append(np.square(canvases - batch[:, np.newaxis]).mean(axis=(2, 3, 4)))
    return np.concatenate(errors)
