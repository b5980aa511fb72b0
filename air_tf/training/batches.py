"""Batches for training."""

import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from air_tf.data.picture_windows import WindowSampler


def training_batches(
    images: tf.Tensor | np.ndarray, *, batch_size: int, seed: int, first_step: int
) -> tf.data.Dataset:
    """Endless shuffled batches; a batch depends only on the seed and the step.

    Every epoch has its own permutation and consists of whole batches: the images
    that are left over are not used in that epoch. A run that resumes at `first_step`
    gets the same batches as an uninterrupted one.

    Args:
      images: [N, H, W, C] in memory. The dtype is kept; the training step casts it.
      batch_size: B, at most N.
      seed: of the permutations.
      first_step: number of batches to skip.

    Returns:
      Dataset of [B, H, W, C].
    """
    # Converted outside the dataset's functions, whose graph would hold a copy.
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
    # There is nothing to tune, and closing the iterator would wait up to a minute for
    # the autotuner's thread.
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


def window_batches(
    sampler: WindowSampler, *, batch_size: int, seed: int, first_step: int
) -> tf.data.Dataset:
    """Endless batches of windows at random places of pictures.

    A batch depends only on the seed and the step, as in `training_batches`.

    Args:
      sampler: cuts the windows.
      batch_size: B.
      seed: of the places.
      first_step: number of batches to skip.

    Returns:
      Dataset of [B, h, w, 1] uint8.
    """

    def batches() -> Iterator[np.ndarray]:
        for step in itertools.count(first_step):
            yield sampler.windows([seed, step], batch_size)

    spec = tf.TensorSpec([batch_size, *sampler.shape, 1], tf.uint8)
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_generator(batches, output_signature=spec)
        .prefetch(2)
        .with_options(options)
    )
