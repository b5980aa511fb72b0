"""Batches for training."""

import numpy as np
import tensorflow as tf


def training_batches(
    images: tf.Tensor | np.ndarray, *, batch_size: int, seed: int, first_step: int
) -> tf.data.Dataset:
    """Endless batches in an order that only (seed, step) decides.

    Every epoch is a permutation of its own; a rest smaller than a batch is
    left out of that epoch. Since the order is a function of the step, a run
    that resumes at `first_step` sees what an uninterrupted one would have.

    Args:
      images: [N, H, W, C] in memory; its dtype is kept, the training step casts.
      batch_size: B, at most N.
      seed: of the permutations.
      first_step: batches to leave out.

    Returns:
      Dataset of [B, H, W, C].
    """
    # Outside the graph, or it would hold a copy of the images.
    source = tf.convert_to_tensor(images)
    num = source.shape[0]
    per_epoch = num // batch_size

    def epoch_indices(epoch):
        keys = tf.random.stateless_uniform(
            [num], tf.stack([tf.constant(seed, tf.int64), epoch])
        )
        order = tf.argsort(keys)[: per_epoch * batch_size]
        order = tf.reshape(order, [per_epoch, batch_size])
        return tf.data.Dataset.from_tensor_slices(order)

    first_epoch, skip = divmod(first_step, per_epoch)
    # There is nothing to tune, and the end of the iterator waits for the tuner's next
    # look: up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        tf.data.Dataset.counter(first_epoch)
        .flat_map(epoch_indices)
        .skip(skip)
        .map(lambda rows: tf.gather(source, rows))
        .prefetch(2)
        .with_options(options)
    )
