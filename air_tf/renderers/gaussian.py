"""Gaussian blur of pictures."""

import tensorflow as tf


def gaussian_blur(images: tf.Tensor, sigma: tf.Tensor | float) -> tf.Tensor:
    """Blurs pictures that are 0 beyond their edges.

    Args:
      images: [N, H, W, C].
      sigma: standard deviation in pixels; 0 leaves the pictures as they are.

    Returns:
      [N, H, W, C].
    """
    rows = _weights(images.shape[1], sigma)
    columns = _weights(images.shape[2], sigma)
    return tf.einsum("ih,jw,nhwc->nijc", rows, columns, images)


def _weights(size: int, sigma: tf.Tensor | float) -> tf.Tensor:
    """Share of each of `size` pixels in each blurred pixel, [size, size]."""
    places = tf.range(size, dtype=tf.float32)
    sigma = tf.maximum(tf.cast(sigma, tf.float32), 1e-3)

    def bell(distance: tf.Tensor) -> tf.Tensor:
        return tf.exp(-0.5 * tf.square(distance / sigma))

    # From the centre to both sides, so that it does not depend on where the edges are.
    total = 2 * tf.reduce_sum(bell(places)) - 1
    return bell(places[:, tf.newaxis] - places) / total
