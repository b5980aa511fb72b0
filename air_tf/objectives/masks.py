"""The loss of masks, which need no renderer once they are learned."""

import tensorflow as tf

from air_tf.renderers.occlusion import visible
from air_tf.structs import Inference3D


def mask_error(
    found: Inference3D,
    alpha: tf.Tensor,
    depth: tf.Tensor,
    *,
    z_pres: tf.Tensor,
    weights: tf.Tensor,
) -> tf.Tensor:
    """Squared error of the masks, summed over pixels: [B].

    Only the masks get a gradient.

    Args:
      found: with the masks.
      alpha: [B, T, P], how much of a pixel each object covers alone.
      depth: [B, T].
      z_pres: [B, T] in [0, 1]; objects that are not present are seen nowhere.
      weights: [B, T], of the objects in the sum.
    """
    alpha = tf.reshape(alpha, tf.shape(found.mask))
    seen = tf.stop_gradient(visible(alpha, depth, z_pres))
    errors = tf.reduce_sum(tf.square(found.mask - seen), axis=[2, 3])
    return tf.reduce_sum(tf.stop_gradient(weights) * errors, axis=1)
