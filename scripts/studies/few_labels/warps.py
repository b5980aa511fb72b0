"""Random warps of images, which change how a digit looks but not which one it is."""

import keras
import tensorflow as tf

from studies.few_labels.config import FewLabelsConfig


def warp(images: tf.Tensor, config: FewLabelsConfig) -> tf.Tensor:
    """Rotates, shears, stretches and shifts each of [N, h, w, C] at random.

    Args:
      images: [N, h, w, C] float.
      config: `warp_...`, the largest warps.
    """
    num = tf.shape(images)[0]
    height, width = images.shape[1], images.shape[2]

    def up_to(most: float) -> tf.Tensor:
        return tf.random.uniform([num], -most, most)

    # The order of these calls decides which random numbers each of them draws.
    angle, shear = up_to(config.warp_rotation), up_to(config.warp_shear)
    high = tf.exp(up_to(config.warp_log_size))
    wide = tf.exp(up_to(config.warp_log_size))
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Maps positions (x, y) in the output to positions in the input, about the centre.
    xx, xy = wide * cos, wide * (shear * cos - sin)
    yx, yy = high * sin, high * (shear * sin + cos)
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    shift_x = x - xx * x - xy * y + width * up_to(config.warp_shift)
    shift_y = y - yx * x - yy * y + height * up_to(config.warp_shift)
    zero = tf.zeros([num])
    transforms = tf.stack([xx, xy, shift_x, yx, yy, shift_y, zero, zero], axis=1)
    return keras.ops.image.affine_transform(
        images, transforms, interpolation="bilinear", fill_mode="constant"
    )
