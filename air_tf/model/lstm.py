"""The LSTM of the recurrent form of inference."""

from typing import NamedTuple

import keras
import tensorflow as tf

from air_tf.model.layers import flat_size


class LSTMState(NamedTuple):
    """Output and cell state."""

    h: tf.Tensor  # [B, U]
    c: tf.Tensor  # [B, U]


class ImageLSTM(keras.layers.Layer):
    """An LSTM (Hochreiter and Schmidhuber 1997) that reads the image at each step.

    The image is the same at every step, so its product with the input kernel is
    computed once, before the loop. In a plain LSTM cell, this product is nine tenths
    of the computation.

    Args:
      pooling: side in pixels of the squares over which the image is averaged.
      units: U.
    """

    def __init__(self, *, pooling: int, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        dense = keras.layers.Dense
        self._pool = keras.layers.AveragePooling2D(
            pooling, padding="same", dtype=self.dtype_policy
        )
        # An initial bias of 1 opens the forget gate (Jozefowicz et al. 2015, section
        # 2.2).
        bias = [0.0] * units + [1.0] * units + [0.0] * (2 * units)
        self._image_dense = dense(
            4 * units,
            bias_initializer=lambda shape, dtype=None: tf.cast(bias, dtype),
            dtype=self.dtype_policy,
        )
        self._latent_gates = dense(4 * units, use_bias=False, dtype=self.dtype_policy)
        self._state_gates = dense(
            4 * units,
            use_bias=False,
            kernel_initializer="orthogonal",
            dtype=self.dtype_policy,
        )

    def build(self, image_shape: tuple[int, int, int], latent_size: int):
        pooled = self._pool.compute_output_shape((None, *image_shape))
        self._image_dense.build((None, flat_size(pooled)))
        self._latent_gates.build((None, latent_size))
        self._state_gates.build((None, self.units))
        self.built = True

    def image_gates(self, images: tf.Tensor) -> tf.Tensor:
        """The image's contribution to the gates: [B, H, W, C] to [B, 4U]."""
        pooled = self._pool(images)
        flat = tf.reshape(pooled, [-1, flat_size(pooled.shape)])
        return self._image_dense(flat)

    def initial_state(self, image_gates: tf.Tensor) -> LSTMState:
        """Zeros, [B, U] each."""
        zeros = tf.zeros_like(image_gates[:, : self.units])
        return LSTMState(h=zeros, c=zeros)

    def call(
        self, image_gates: tf.Tensor, latents: tf.Tensor, state: LSTMState
    ) -> LSTMState:
        """The state after one attend step.

        Args:
          image_gates: [B, 4U], from `image_gates`.
          latents: [B, 3 + D], z_where and z_what of the step before.
          state: of the step before, [B, U] each.
        """
        gates = image_gates + self._latent_gates(latents) + self._state_gates(state.h)
        i, f, g, o = tf.split(gates, 4, axis=-1)  # each [B, U]
        c = tf.sigmoid(f) * state.c + tf.sigmoid(i) * tf.tanh(g)
        return LSTMState(h=tf.sigmoid(o) * tf.tanh(c), c=c)
