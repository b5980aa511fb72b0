"""Batches for training."""

import itertools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from air_tf.data.picture_windows import WindowSampler


def training_batches(
    images: tf.Tensor | np.ndarray,
    *,
    batch_size: int,
    seed: int,
    first_step: int,
    replicas: tf.distribute.InputContext | None = None,
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
      replicas: that share each batch, R of all workers. In place of a batch come the
        parts of this worker's replicas, one after the other.

    Returns:
      Dataset of [B / R, H, W, C].
    """
    workers, own, parts, part_size = _parts(replicas, batch_size)
    # Converted outside the dataset's functions, whose graph would hold a copy.
    source = tf.convert_to_tensor(images)
    num = source.shape[0]
    per_epoch = num // batch_size

    def epoch_indices(epoch):
        keys = tf.random.stateless_uniform(
            [num], tf.stack([tf.constant(seed, tf.int64), epoch])
        )
        order = tf.argsort(keys)[: per_epoch * batch_size]
        order = tf.reshape(order, [per_epoch, workers, parts, part_size])[:, own]
        order = tf.reshape(order, [per_epoch * parts, part_size])
        return tf.data.Dataset.from_tensor_slices(order)

    first_epoch, skip = divmod(first_step, per_epoch)
    return _prefetched(
        tf.data.Dataset.counter(first_epoch)
        .flat_map(epoch_indices)
        .skip(skip * parts)
        .map(lambda rows: tf.gather(source, rows))
    )


def window_batches(
    sampler: WindowSampler,
    *,
    batch_size: int,
    seed: int,
    first_step: int,
    replicas: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless batches of windows at random places of pictures.

    A batch depends only on the seed and the step, as in `training_batches`.

    Args:
      sampler: cuts the windows.
      batch_size: B.
      seed: of the places.
      first_step: number of batches to skip.
      replicas: see `training_batches`.

    Returns:
      Dataset of [B / R, h, w, 1] uint8.
    """
    workers, own, parts, part_size = _parts(replicas, batch_size)
    shape = (*sampler.shape, 1)

    def batches() -> Iterator[np.ndarray]:
        for step in itertools.count(first_step):
            # The places are those of the whole batch, whoever cuts a part of it.
            whole = sampler.windows([seed, step], batch_size)
            yield from whole.reshape(workers, parts, part_size, *shape)[own]

    spec = tf.TensorSpec([part_size, *shape], tf.uint8)
    return _prefetched(tf.data.Dataset.from_generator(batches, output_signature=spec))


def _parts(
    replicas: tf.distribute.InputContext | None, batch_size: int
) -> tuple[int, int, int, int]:
    """Workers, which of them this is, parts of each, and images of a part."""
    context = replicas or tf.distribute.InputContext()
    workers = context.num_input_pipelines
    return (
        workers,
        context.input_pipeline_id,
        context.num_replicas_in_sync // workers,
        context.get_per_replica_batch_size(batch_size),
    )


def _prefetched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    # There is nothing to tune, and closing the iterator would wait up to a minute for
    # the autotuner's thread.
    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        # Otherwise, replicas ask each other at every step whether batches are left.
        dataset.apply(
            tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        )
        .prefetch(2)
        .with_options(options)
    )
