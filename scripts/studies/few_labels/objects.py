"""What AIR finds in scenes, for networks that go on from there."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from air_tf.model import spatial
from air_tf.model.air import AIR, to_float

_BATCH_SIZE = 250


class FoundObjects(NamedTuple):
    """Absent objects are 0 everywhere."""

    z_what: np.ndarray  # [N, T, D]
    z_where: np.ndarray  # [N, T, 3]
    presence: np.ndarray  # [N, T]
    glimpses: np.ndarray  # [N, T, h, w, C] uint8, what the image shows there


def find_objects(air: AIR, images: np.ndarray) -> FoundObjects:
    """Objects of [N, H, W, C], by posterior means and the most probable count."""
    height, width = air.config.glimpse_size
    parts = []
    for start in range(0, len(images), _BATCH_SIZE):
        batch = to_float(images[start : start + _BATCH_SIZE])
        scenes = air.infer(batch, batch_size=_BATCH_SIZE)
        steps = scenes.presence.shape[1]
        glimpses = spatial.extract_glimpses(
            tf.repeat(batch, steps, axis=0),
            tf.reshape(scenes.z_where, [-1, 3]),
            (height, width),
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
