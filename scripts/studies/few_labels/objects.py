"""What AIR finds in scenes, as the input of other networks."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from air_tf.images import batches
from air_tf.model.air import AIR
from air_tf.model.pixels import to_float

_BATCH_SIZE = 250


class FoundObjects(NamedTuple):
    """Objects of N scenes; absent objects are 0 everywhere."""

    z_what: np.ndarray  # [N, T, D]
    z_where: np.ndarray  # [N, T, 3]
    presence: np.ndarray  # [N, T]
    glimpses: np.ndarray  # [N, T, h, w, C] uint8, read from the image


def find_objects(air: AIR, images: np.ndarray) -> FoundObjects:
    """Objects of [N, H, W, C], by posterior means and the most probable count."""
    height, width = air.config.glimpse_size
    parts = []
    for _, pixels in batches(images, _BATCH_SIZE):
        batch = to_float(pixels)
        scenes = air.infer(batch, batch_size=_BATCH_SIZE)
        steps = scenes.presence.shape[1]
        glimpses = air.attend.read_glimpses(
            tf.repeat(batch, steps, axis=0), tf.reshape(scenes.z_where, [-1, 3])
        ).numpy()
        glimpses = glimpses.reshape(-1, steps, height, width, images.shape[3])
        glimpses *= scenes.presence[..., None, None, None]
        parts.append(
            FoundObjects(
                z_what=scenes.z_what,
                z_where=scenes.z_where,
                presence=scenes.presence,
                glimpses=np.round(255 * glimpses).astype(np.uint8),
            )
        )
    return FoundObjects(*map(np.concatenate, zip(*parts, strict=True)))
