"""Puts rendered objects together: the nearer one hides the farther one.

The order is that of whole objects, by their distance along the optical axis, and it is
soft where two objects are equally far: positions keep a gradient everywhere.
"""

import tensorflow as tf

# Difference of depths, in units of the table's reach, over which the order changes.
_SOFTNESS = 0.055


def in_front(depth: tf.Tensor) -> tf.Tensor:
    """How much object s is in front of object t: [B, T] to [B, t, s] in [0, 1]."""
    farther = depth[:, :, tf.newaxis] - depth[:, tf.newaxis, :]
    return tf.sigmoid(farther / _SOFTNESS)


def visible(alpha: tf.Tensor, depth: tf.Tensor, z_pres: tf.Tensor) -> tf.Tensor:
    """How much of a pixel each object covers, seen through nearer objects.

    Args:
      alpha: [B, T, H, W], of each object alone.
      depth: [B, T].
      z_pres: [B, T] in [0, 1].

    Returns:
      [B, T, H, W].
    """
    shape = tf.shape(alpha)
    alpha = tf.reshape(alpha, [shape[0], alpha.shape[1], -1])
    alpha *= z_pres[..., tf.newaxis]
    return tf.reshape(alpha * _through(alpha, in_front(depth)), shape)


def compose(
    ground: tf.Tensor,
    alpha: tf.Tensor,
    colour: tf.Tensor,
    depth: tf.Tensor,
    z_pres: tf.Tensor,
) -> tf.Tensor:
    """The picture of all present objects on the table.

    Args:
      ground: [H, W, 3], the empty table.
      alpha: [B, T, H, W].
      colour: [B, T, H, W, 3].
      depth: [B, T].
      z_pres: [B, T] in [0, 1].

    Returns:
      [B, H, W, 3].
    """
    weight = visible(alpha, depth, z_pres)[..., tf.newaxis]
    return ground + tf.reduce_sum(weight * (colour - ground), axis=1)


def compose_light(
    alpha: tf.Tensor, light: tf.Tensor, front: tf.Tensor, z_pres: tf.Tensor
) -> tf.Tensor:
    """What all present objects add to the empty table.

    Args:
      alpha: [B, T, P].
      light: [B, T, P, 3], alpha (colour - ground).
      front: [B, t, s], see `in_front`.
      z_pres: [B, T] in [0, 1].

    Returns:
      [B, P, 3].
    """
    weight = _through(alpha * z_pres[..., tf.newaxis], front)
    present = z_pres[:, :, tf.newaxis, tf.newaxis]
    return tf.reduce_sum(present * weight[..., tf.newaxis] * light, axis=1)


def _through(alpha: tf.Tensor, front: tf.Tensor) -> tf.Tensor:
    """What nearer objects leave to see of each: alpha [B, T, P] to [B, T, P]."""
    steps = alpha.shape[1]
    seen = []
    for t in range(steps):
        clear = tf.ones_like(alpha[:, t])
        for s in range(steps):
            if s != t:
                clear *= 1.0 - front[:, t, s, tf.newaxis] * alpha[:, s]
        seen.append(clear)
    return tf.stack(seen, axis=1)
