"""The network that reads a glimpse of a table: what the object is, and its mask."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from air_tf.model.layers import MLP, ConvMLP

# Radius of the initial mask, as a share of that of the glimpse, and its sharpness.
_RADIUS, _SLOPE = 0.4, 8.0


class GlimpseReader(keras.layers.Layer):
    """Reads outputs and a mask from a glimpse; both share the first layers.

    Args:
      channels: of the convolutions, see `ConvMLP`.
      units: of the dense layers after them; the mask is read from the first.
      output_units: number of outputs.
      mask_size: (h, w) of the mask. At first, it is a disc in the middle.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        units: Sequence[int],
        output_units: int,
        mask_size: tuple[int, int],
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._mask_size, self._units = mask_size, units[0]
        policy = {"dtype": self.dtype_policy}
        self._shared = ConvMLP(
            channels=channels, hidden_units=(), output_units=units[0], **policy
        )
        self._outputs = MLP(hidden_units=units[1:], output_units=output_units, **policy)
        self._mask = MLP(
            hidden_units=(),
            output_units=mask_size[0] * mask_size[1],
            output_bias=_disc(*mask_size),
            output_gain=0.1,
            **policy,
        )

    def build(self, input_shape):
        self._shared.build(input_shape)
        self._outputs.build((None, self._units))
        self._mask.build((None, self._units))
        self.built = True

    def call(self, glimpses):
        """Glimpses [N, h, w, C] to outputs [N, O] and logits of masks [N, h, w, 1]."""
        shared = tf.nn.relu(self._shared(glimpses))
        mask = tf.reshape(self._mask(shared), [-1, *self._mask_size, 1])
        return self._outputs(shared), mask


def _disc(rows: int, columns: int) -> list[float]:
    """Logits of a disc in the middle of a glimpse: [rows * columns]."""
    y = (2 * np.arange(rows) + 1) / rows - 1
    x = (2 * np.arange(columns) + 1) / columns - 1
    radius = np.hypot(y[:, np.newaxis], x)
    return (_SLOPE * (_RADIUS - radius)).ravel().tolist()
