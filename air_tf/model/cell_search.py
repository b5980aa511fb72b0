"""The search network of the difference form: proposes the next object's window."""

import keras
import numpy as np
import tensorflow as tf

from air_tf.config import AIRConfig, DifferenceConfig
from air_tf.model import spatial
from air_tf.model.heads import CELL_OUTPUTS, Guess, logit
from air_tf.model.layers import MLP


class CellSearch(keras.layers.Layer):
    """Finds the cell of a grid where an object is most likely, and proposes a window.

    The same MLP reads the patch around every cell. This equals a convolution with a
    large kernel and stride. The MLP reads the patch of the chosen cell a second time:
    only this cell has a gradient, so the backward pass skips the others.

    Args:
      config: of the model.
      form: its settings of the difference form.
    """

    def __init__(self, config: AIRConfig, form: DifferenceConfig, **kwargs):
        super().__init__(**kwargs)
        self._form = form
        self._pool = keras.layers.AveragePooling2D(
            config.look_pooling, padding="same", dtype=self.dtype_policy
        )
        self._mlp = MLP(
            hidden_units=self._form.look_units,
            output_units=CELL_OUTPUTS,
            output_bias=[0.0, logit(config.where_prior_loc[0]), 0.0, 0.0],
            output_gain=config.where_head_gain,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        _, height, width, channels = self._pool.compute_output_shape(input_shape)
        stride, patch = self._form.cell_stride, self._form.cell_patch
        self._sides = height, width
        self._mlp.build((None, patch**2 * channels))
        rows, columns = _centres(height, stride), _centres(width, stride)
        centres = np.meshgrid(rows, columns, indexing="ij")
        # [G, 2], centres of the cells: (y, x) in [-1, 1].
        self.centres = np.stack(centres, axis=-1).reshape(-1, 2).astype(np.float32)
        # [2], largest distance (y, x) of a window's centre from that of its cell.
        self.reach = (
            self._form.cell_reach * stride * 2.0 / np.array([height, width], np.float32)
        )
        self.built = True

    def call(self, images, cells: tf.Tensor | None = None):
        """Chooses a cell, and proposes a window.

        Args:
          images: [B, H, W, C].
          cells: [B] int32, the cells to choose; where below 0, and if omitted, the
            most likely ones.

        Returns:
          Presence logits [B], and a `Guess`.
        """
        patches, logits = self._logits(images)
        best = tf.argmax(logits, axis=1, output_type=tf.int32)
        if cells is not None:
            best = tf.where(cells >= 0, cells, best)
        chosen = tf.one_hot(best, patches.shape[1])  # [B, G]
        # Not a matrix product, which the int8 format would round.
        centre = tf.reduce_sum(chosen[:, :, tf.newaxis] * self.centres, axis=1)
        patch = tf.einsum("bg,bgp->bp", tf.cast(chosen, patches.dtype), patches)
        out = tf.cast(self._mlp(patch), tf.float32)  # [B, 4]
        presence_logits, scale_logits, shifts = tf.split(out, [1, 1, 2], axis=-1)
        return presence_logits[:, 0], Guess(
            scale_logits=scale_logits,
            centre=centre + self.reach * tf.tanh(shifts),
            reach=tf.sigmoid(scale_logits),
        )

    def ranked(self, images: tf.Tensor, number: int, distance: float) -> tf.Tensor:
        """The most likely cells that are apart from each other, best first.

        Args:
          images: [B, H, W, C].
          number: K; of a grid with less room, the last cells repeat.
          distance: between the cells' centres at least, in units of half the canvas.

        Returns:
          [B, K] int32.
        """
        _, logits = self._logits(images)
        apart = np.linalg.norm(self.centres[:, np.newaxis] - self.centres, axis=-1)
        # Not numbers, which a converter would quantise.
        taken = tf.constant(apart < distance)
        found = []
        for _ in range(number):
            best = tf.argmax(logits, axis=1, output_type=tf.int32)
            found.append(best)
            logits = tf.where(tf.gather(taken, best), logits.dtype.min, logits)
        return tf.stack(found, axis=1)

    def largest(self, images: tf.Tensor) -> tf.Tensor:
        """The cell whose own pixels have the largest sum: [B, H, W, 1] to [B] int32."""
        # The cells themselves, which tile the image: [B, G, stride^2].
        own = self._cut(images, self._form.cell_stride)
        return tf.argmax(tf.reduce_sum(own, axis=2), axis=1, output_type=tf.int32)

    def _logits(self, images):
        """The patch around every cell, [B, G, P], and its presence logit, [B, G]."""
        patches = self._cut(images, self._form.cell_patch)
        _, number, size = patches.shape
        # TensorFlow fuses a layer of rows, not one of [B, G, P].
        logits = self._mlp(tf.reshape(patches, [-1, size]))[:, 0]
        return patches, tf.reshape(logits, [-1, number])

    def _cut(self, images, patch: int) -> tf.Tensor:
        stride = self._form.cell_stride
        rows, columns = (_starts(size, stride, patch) for size in self._sides)
        return spatial.cut_patches(self._pool(images), rows, columns, (patch, patch))


def _centres(size: int, stride: int) -> np.ndarray:
    """Centres in [-1, 1] of the cells along an axis of `size` pixels: [G].

    The cells cover the axis and are placed symmetrically.
    """
    number = -(-size // stride)
    return stride * (2.0 * np.arange(number) + 1.0 - number) / size


def _starts(size: int, stride: int, patch: int) -> list[int]:
    """First pixels of each cell's patch along an axis of `size` pixels: [G].

    Those of patches that begin outside of the image are negative.
    """
    number = len(_centres(size, stride))
    margin = (patch + stride * (number - 1) - size) // 2
    return [stride * cell - margin for cell in range(number)]
