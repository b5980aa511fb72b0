"""Calls of what is traced, in batches."""

from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.images import batches
from air_tf.model.pixels import to_float


def in_batches(
    function: Any, images: np.ndarray, batch_size: int, **settings: int
) -> Any:
    """Calls a `tf.function` on images in batches.

    It is traced once, for any number of images: not a second time for a last batch that
    is smaller than the others.

    Args:
      function: takes [B, H, W, C] float32 in [0, 1] and `settings`, and returns a
        structure of tensors, [B, ...].
      images: [N, H, W, C], uint8 or float in [0, 1].
      batch_size: the largest B.
      settings: numbers that the trace depends on.

    Returns:
      The structure, of numpy arrays [N, ...].
    """
    if not tf.config.functions_run_eagerly():
        any_number = tf.TensorSpec([None, *images.shape[1:]], tf.float32)
        function.get_concrete_function(any_number, **settings)
    parts = [
        function(to_float(batch), **settings)
        for _, batch in batches(images, batch_size)
    ]
    return tf.nest.map_structure(
        lambda *arrays: np.concatenate([a.numpy() for a in arrays]), *parts
    )
