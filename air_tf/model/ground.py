"""The ground: the canvas without objects.

`Generative` composes the objects on it. The difference form and the bound subtract it
from the image. It is black; a model of the ground with its own latent code would be
implemented here.
"""

import tensorflow as tf


def black(batch: tf.Tensor | int, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """A black ground: zeros, [batch, H, W, C]."""
    return tf.zeros([batch, *image_shape])
