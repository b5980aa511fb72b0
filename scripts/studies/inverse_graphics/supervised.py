"""The inference network of AIR3D, trained with labels instead of the renderer.

An attend step may find any object of the scene first. So in the order of the steps,
each one is given the nearest of the true objects that no earlier step was given, and
learns its kind, position, yaw and visible pixels; the steps after those of all objects
learn that there are no more.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.config import RunConfig
from air_tf.errors import InputError, TrainingDiverged
from air_tf.model import distributions
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.runs import make_model
from air_tf.structs import ImageSet, Inference3D
from air_tf.training.batches import training_batches
from air_tf.training.trainer import make_optimizer
from studies.inverse_graphics.config import InverseGraphicsConfig

_STEPS_PER_LOG = 250
# Added to the distance of an object that a step can't get.
_TAKEN = 1e6


class Labels(NamedTuple):
    """The true objects of scenes; N is the most objects in any scene."""

    counts: tf.Tensor  # [B] int32
    kinds: tf.Tensor  # [B, N, K], 1 for the kind of each object
    positions: tf.Tensor  # [B, N, 2], in units of the table's reach
    yaws: tf.Tensor  # [B, N], radians
    segmentation: tf.Tensor  # [B, H, W] uint8, as in `ImageSet`


def labels_of(images: ImageSet, air: AIR3D) -> Labels:
    """Labels as the network learns them.

    Raises:
      InputError: for images without them.
    """
    if any(field is None for field in images):
        raise InputError(
            "has images whose objects are not all known; expected a dataset with "
            "kinds, positions, yaws and segmentations",
            field="model_dir",
        )
    return Labels(
        counts=tf.constant(images.counts, tf.int32),
        kinds=tf.one_hot(images.labels, air.config.num_kinds),
        positions=tf.constant(images.positions / air.config.tabletop.reach, tf.float32),
        yaws=tf.constant(images.yaws, tf.float32),
        segmentation=tf.constant(images.segmentation),
    )


def assign(position: tf.Tensor, labels: Labels) -> tf.Tensor:
    """Gives each attend step the nearest true object that is left, in their order.

    Args:
      position: [B, T, 2], of the attend steps.
      labels: of the same scenes.

    Returns:
      [B, T, N], 1 where attend step t has the true object n, else 0.
    """
    apart = position[:, :, tf.newaxis] - labels.positions[:, tf.newaxis]
    distance = tf.reduce_sum(tf.square(apart), axis=-1)  # [B, T, N]
    number = distance.shape[2]
    left = tf.sequence_mask(labels.counts, number, tf.float32)  # [B, N]
    assigned = []
    for t in range(distance.shape[1]):
        costs = distance[:, t] + _TAKEN * (1.0 - left)
        # Where nothing is left, a step gets nothing.
        given = left * tf.one_hot(tf.argmin(costs, axis=1), number)
        left -= given
        assigned.append(given)
    return tf.stop_gradient(tf.stack(assigned, axis=1))


def supervised_loss(
    found: Inference3D,
    labels: Labels,
    folds: np.ndarray,
    turns: np.ndarray,
    settings: InverseGraphicsConfig,
) -> tf.Tensor:
    """The sum of cross-entropies and squared errors: [B].

    Args:
      found: of all T attend steps, deterministic.
      labels: of the same scenes.
      folds: see `AIR3D.folds`.
      turns: likewise.
      settings: weights of the terms.
    """
    steps = found.z_pres.shape[1]
    given = assign(found.position, labels)  # [B, T, N]
    present = tf.reduce_sum(given, axis=2)  # [B, T]
    count = tf.one_hot(tf.minimum(labels.counts, steps), steps + 1)
    log_count = distributions.log_count_probs(found.presence_logits)
    loss = -tf.reduce_sum(count * log_count, axis=1)

    kinds = tf.matmul(given, labels.kinds)  # [B, T, K]
    log_kinds = tf.nn.log_softmax(found.kind_logits)
    loss -= tf.reduce_sum(kinds * log_kinds, axis=[1, 2])

    apart = found.position - tf.matmul(given, labels.positions)
    apart = tf.reduce_sum(tf.square(apart), axis=2)
    loss += settings.position_loss_weight * tf.reduce_sum(present * apart, axis=1)

    yaws = tf.einsum("btn,bn->bt", given, labels.yaws)
    turn = found.phase - folds * yaws[..., tf.newaxis]  # [B, T, K]
    turned = tf.reduce_sum(kinds * turns * (1.0 - tf.cos(turn)), axis=[1, 2])
    loss += settings.phase_loss_weight * turned

    numbers = tf.range(1, given.shape[2] + 1)
    shown = tf.cast(labels.segmentation, tf.int32)[:, tf.newaxis]
    shown = tf.cast(shown == numbers[:, tf.newaxis, tf.newaxis], tf.float32)
    shown = tf.einsum("btn,bnhw->bthw", given, shown)
    missed = tf.reduce_sum(tf.square(found.mask - shown), axis=[2, 3])
    loss += settings.mask_loss_weight * tf.reduce_sum(present * missed, axis=1)
    return loss


def train_supervised(
    config: RunConfig, images: ImageSet, settings: InverseGraphicsConfig
) -> AIR3D:
    """Trains a network of the run's architecture, size and initial weights.

    Batches, optimizer and their settings are those of the run, too.

    Args:
      config: of the run.
      images: for training, with all that is known of their objects.
      settings: of the loss and the number of steps.

    Raises:
      InputError: for images without labels.
      TrainingDiverged: if the loss is NaN or infinite.
    """
    training = config.training
    if settings.supervised_steps is not None:
        config = config.with_training(steps=settings.supervised_steps)
    air = make_model(config)
    assert isinstance(air, AIR3D)
    labels = labels_of(images, air)
    variables = air.trainable_variables
    optimizer = make_optimizer(config.training)
    optimizer.build(variables)
    loop = "full"
    if config.model.max_objects <= training.max_unrolled_steps:
        loop = "unrolled"

    @tf.function(jit_compile=training.jit_compile, autograph=False)
    def step(batch: tf.Tensor, of_batch: Labels) -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = air(to_float(batch), loop=loop)
            losses = supervised_loss(found, of_batch, *air.folds, settings)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    pictures = tf.constant(images.images)
    rows = training_batches(
        np.arange(len(images.images)),
        batch_size=training.batch_size,
        seed=training.seed,
        first_step=0,
    )
    steps = config.training.steps
    for number, chosen in enumerate(rows.take(steps), start=1):
        loss = step(
            tf.gather(pictures, chosen), Labels(*(tf.gather(x, chosen) for x in labels))
        )
        if number % _STEPS_PER_LOG == 0 or number == steps:
            logging.info("supervised, step %d of %d: loss %.3f", number, steps, loss)
            if not np.isfinite(loss):
                raise TrainingDiverged(
                    f"training with labels diverged by step {number}: the loss is NaN "
                    "or infinite"
                )
    return air
