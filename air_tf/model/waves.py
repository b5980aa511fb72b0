"""Smooth pictures: sums of a few cosine waves, and the fit of one behind objects.

The waves are the first ones of the two-dimensional cosine transform (Ahmed et al. 1974,
type II), scaled to a mean square of 1. They are orthogonal, so that the height of a
wave in a picture is a mean over pixels.
"""

import numpy as np
import tensorflow as tf


class Waves:
    """The longest waves of a canvas.

    Args:
      size: H and W.
      number: U and V, of waves along the rows and along the columns; the first one of
        each is constant.
    """

    def __init__(self, size: tuple[int, int], number: tuple[int, int]):
        self._down, self._along = (
            _cosines(n, pixels) for n, pixels in zip(number, size, strict=True)
        )

    def draw(self, heights: tf.Tensor) -> tf.Tensor:
        """Heights [B, U, V, C] to pictures [B, H, W, C]."""
        return tf.einsum("buvc,uy,vx->byxc", heights, self._down, self._along)

    def heights(self, pictures: tf.Tensor) -> tf.Tensor:
        """Those of the least squares: pictures [B, H, W, C] to [B, U, V, C]."""
        pixels = self._down.shape[1] * self._along.shape[1]
        sums = tf.einsum("byxc,uy,vx->buvc", pictures, self._down, self._along)
        return sums / pixels

    def fit(
        self, pictures: tf.Tensor, start: tf.Tensor, *, tolerance: float, rounds: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The heights of what lies behind objects.

        Robust regression: a pixel with the error e counts with the weight
        exp(-(e / tolerance)^2 / 2) of Welsch (Holland and Welsch 1977), so that those
        of objects count little. In each round, pixels are moved towards the fit as far
        as they do not count, and fitted by least squares (the modified residuals of
        Huber 1981, section 7.8). This needs no linear system, and draws on smoothly
        behind objects.

        Args:
          pictures: [B, H, W, C].
          start: [B, 1, 1, C], the colour that most pixels have or are near to.
          tolerance: of a pixel's error over all channels.
          rounds: number of fits.

        Returns:
          Heights [B, U, V, C], and how many pixels they are measured on, [B]. Gradients
          reach `pictures` through the last fit, with the weights as they are.
        """
        fitted = tf.zeros_like(pictures) + start
        heights, weights = self.heights(fitted), tf.ones_like(fitted[..., :1])
        for _ in range(rounds):
            fitted = tf.stop_gradient(fitted)
            error = pictures - fitted
            squares = tf.reduce_sum(tf.square(error), axis=-1, keepdims=True)
            weights = tf.stop_gradient(tf.exp(-0.5 / tolerance**2 * squares))
            heights = self.heights(fitted + weights * error)
            fitted = self.draw(heights)
        return heights, tf.reduce_sum(weights, axis=[1, 2, 3])


def _cosines(number: int, pixels: int) -> np.ndarray:
    """The first waves along `pixels`: [number, pixels]."""
    centres = (np.arange(pixels) + 0.5) / pixels
    cosines = np.cos(np.pi * np.outer(np.arange(number), centres))
    cosines[1:] *= 2**0.5
    return cosines.astype(np.float32)
