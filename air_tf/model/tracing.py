"""Calls of what is traced, in batches."""

import contextlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.images import batches
from air_tf.model.pixels import to_float

# Batches, each of which takes memory.
_MOST_AT_ONCE = 2


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
    is smaller than the others. Where every operation uses one core, see
    `one_core_an_operation`, batches go through it side by side; what they give does not
    depend on that.

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

    def call(batch: np.ndarray) -> Any:
        found = function(to_float(batch), **settings)
        return tf.nest.map_structure(lambda tensor: tensor.numpy(), found)

    parts = _side_by_side(call, (batch for _, batch in batches(images, batch_size)))
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def one_core_an_operation() -> None:
    """Lets every operation of this process use one core.

    Of pictures, the operations are so small that cores which share one lose time. If
    TensorFlow has computed something already, all stays as it is.
    """
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _side_by_side(call: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """What `call` gives for all parts, in their order."""
    threading = tf.config.threading
    number = 1
    if threading.get_intra_op_parallelism_threads() == 1:
        cores = threading.get_inter_op_parallelism_threads() or os.cpu_count() or 1
        number = min(cores, _MOST_AT_ONCE)
    if number == 1:
        return [call(part) for part in parts]
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(call, parts))
