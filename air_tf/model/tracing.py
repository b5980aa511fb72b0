"""Calls of what is traced, in batches."""

from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.images import batches
from air_tf.model.pixels import to_float


def any_number(images: Any) -> tf.TensorSpec:
    """What stands for float32 images of any number, of the shape of [N, H, W, C]."""
    return tf.TensorSpec([None, *images.shape[1:]], tf.float32)


def trace_once(function: Any, *arguments: Any, **settings: Any) -> None:
    """Traces a `tf.function`, unless it is traced for such arguments already.

    Calls then trace nothing. TensorFlow warns of functions whose calls often do, which
    it takes for a mistake; of several models, it counts the calls together.

    Args:
      function: what is going to be called.
      *arguments: its arguments, some of them as `any_number` gives them.
      **settings: its named arguments.
    """
    if not tf.config.functions_run_eagerly():
        function.get_concrete_function(*arguments, **settings)


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
    trace_once(function, any_number(images), **settings)
    parts = [
        function(to_float(batch), **settings)
        for _, batch in batches(images, batch_size)
    ]
    return tf.nest.map_structure(
        lambda *arrays: np.concatenate([a.numpy() for a in arrays]), *parts
    )
