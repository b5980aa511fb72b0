"""Conversion of images to the model's dtype and range."""

import tensorflow as tf


def to_float(images) -> tf.Tensor:
    """Converts uint8 in 0 .. 255, or float in [0, 1], to float32 in [0, 1]."""
    images = tf.convert_to_tensor(images)
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)
