"""Draws what the inference of 3D scenes found: every attend step as every kind."""

import math
from typing import NamedTuple

import tensorflow as tf

from air_tf.model.air3d import AIR3D
from air_tf.objectives.assignments import Layers
from air_tf.renderers.occlusion import in_front
from air_tf.structs import Inference3D

_LOG_CIRCLE = math.log(2.0 * math.pi)


class Drawn(NamedTuple):
    """All objects as all kinds. P = H W pixels."""

    layers: Layers
    depth: tf.Tensor  # [B, T]
    kl_position: tf.Tensor  # [B, T], nats, with what `crowding` gives
    kl_phase: tf.Tensor  # [B, T, K], nats
    rest: tf.Tensor  # [B, P, 3], the image minus the ground


def draw(
    air: AIR3D, images: tf.Tensor, found: Inference3D, blur: tf.Tensor | float
) -> Drawn:
    """Renders all attend steps as all kinds."""
    layers, depth = draw_layers(air, found.position, found.phase, blur)
    kl_position, kl_phase = pose_kl(
        air, found.q_position_params.scale, found.q_phase_params.scale
    )
    rest = air.renderer.blurred(images, blur) - air.ground.value
    return Drawn(
        layers=layers,
        depth=depth,
        kl_position=kl_position + crowding(air, found.position),
        kl_phase=kl_phase,
        rest=tf.reshape(rest, [-1, layers.alpha.shape[3], 3]),
    )


def crowding(air: AIR3D, position: tf.Tensor) -> tf.Tensor:
    """What each object costs because it is close to earlier ones: [B, T] nats."""
    costs = closeness(air, position)
    earlier = tf.linalg.band_part(costs, -1, 0)
    return tf.reduce_sum(earlier, axis=2)


def closeness(air: AIR3D, position: tf.Tensor) -> tf.Tensor:
    """Minus log p of two positions beside each other: [B, T, T] nats, 0 with itself.

    Objects are solid: two that are nearer than the table's `min_distance` are
    improbable. Without this, a second object inside the first one makes its soft edges
    harder, which explains the image better. The prior is not normalised: what it leaves
    out would make the other arrangements more probable, so bounds stay bounds.

    Args:
      air: the model, for its table.
      position: [B, T, 2], in units of the table's reach.
    """
    tabletop = air.config.tabletop
    nearest = tabletop.min_distance / tabletop.reach
    apart = tf.square(position[:, :, tf.newaxis] - position[:, tf.newaxis])
    # The square root has no gradient at 0.
    distance = tf.sqrt(tf.reduce_sum(apart, axis=-1) + 1e-8)
    intrusion = tf.nn.relu(nearest - distance) / air.config.crowding_scale
    costs = 0.5 * tf.square(intrusion)
    return tf.linalg.set_diag(costs, tf.zeros_like(costs[:, :, 0]))


def draw_layers(
    air: AIR3D, position: tf.Tensor, phase: tf.Tensor, blur: tf.Tensor | float
) -> tuple[Layers, tf.Tensor]:
    """Renders T objects as all kinds.

    Args:
      air: the model, for its renderer and its ground.
      position: [B, T, 2], in units of the table's reach.
      phase: [B, T, K].
      blur: of the objects' edges.

    Returns:
      The objects, and their depths, [B, T].
    """
    steps, kinds = phase.shape[1:]
    ground = air.ground.value
    pixels = ground.shape[0] * ground.shape[1]
    position = tf.reshape(position, [-1, 2]) * air.config.tabletop.reach
    folds, _ = air.folds
    yaw = tf.reshape(phase / folds, [-1, kinds])
    alphas, lights = [], []
    for kind in range(kinds):
        layer = air.renderer.layers(kind, position, yaw[:, kind], blur)
        alphas.append(layer.alpha)
        lights.append(layer.alpha[..., tf.newaxis] * (layer.colour - ground))
    _, depth = air.renderer.project(position)
    depth = tf.reshape(depth, [-1, steps])
    layers = Layers(
        alpha=tf.reshape(tf.stack(alphas, axis=1), [-1, steps, kinds, pixels]),
        light=tf.reshape(tf.stack(lights, axis=1), [-1, steps, kinds, pixels, 3]),
        front=in_front(depth),
    )
    return layers, depth


def pose_kl(
    air: AIR3D, position_scale: tf.Tensor, phase_scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """KL from the uniform priors of poses to normal distributions, in nats.

    Args:
      air: the model, for the symmetries of its kinds.
      position_scale: [..., 2], standard deviations.
      phase_scale: [..., K].

    Returns:
      Of positions, [...]; and of phases, [..., K], 0 for kinds without a yaw.
    """
    _, turns = air.folds
    of_position = tf.reduce_sum(tf.math.log(2.0) - _entropy(position_scale), axis=-1)
    return of_position, turns * (_LOG_CIRCLE - _entropy(phase_scale))


def _entropy(scale: tf.Tensor) -> tf.Tensor:
    """Of a normal distribution, in nats."""
    return 0.5 * (_LOG_CIRCLE + 1.0) + tf.math.log(scale)
