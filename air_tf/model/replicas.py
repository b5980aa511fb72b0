"""Random numbers and sums of a batch that several replicas share.

Under a strategy of `tf.distribute`, every replica has an equal part of a batch, in the
order of their numbers. Here each draws the noise of the whole batch and takes its own
part, and sums go over all parts. So a training step computes what one device computes
of the whole batch, up to rounding. Elsewhere there is one replica, with all of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# A tensor, or a sequence of whole numbers and tensors.
Shape = Any


def uniform(
    shape: Shape, seed: tf.Tensor, minval: float = 0.0, maxval: float = 1.0
) -> tf.Tensor:
    """Uniform random numbers; depend only on `seed`, [2] int32, and the whole shape.

    Args:
      shape: of this replica's part. Its first axis is that of the batch.
      seed: the same on all replicas.
      minval: included.
      maxval: excluded.
    """

    def draw(whole: Shape) -> tf.Tensor:
        return tf.random.stateless_uniform(whole, seed, minval, maxval)

    return _part(draw, shape)


def normal(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal random numbers; arguments as for `uniform`."""
    return _part(lambda whole: tf.random.stateless_normal(whole, seed), shape)


def _part(draw: Callable[[Shape], tf.Tensor], shape: Shape) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(shape)
    number, part = context.num_replicas_in_sync, tf.convert_to_tensor(shape)
    whole = draw(tf.concat([number * part[:1], part[1:]], axis=0))
    parts = tf.reshape(whole, tf.concat([[number], part], axis=0))
    return tf.gather(parts, context.replica_id_in_sync_group)


def sums(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The sum over all replicas of each tensor. They get no gradient."""
    values = [tf.stop_gradient(value) for value in values]
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)
