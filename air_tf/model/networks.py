"""The networks of q and p, as Keras layers."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from air_tf.structs import NormalParams

# Floors of the posterior standard deviations. Without them a posterior can
# shrink to a point, and its KL and gradient to infinity.
MIN_WHERE_SCALE = 0.01
MIN_WHAT_SCALE = 0.001
# Of `WhereHead`: a presence logit, and mean and raw deviation of z_where.
WHERE_OUTPUTS = 7
# Raw value at which a posterior starts: softplus(-2) = 0.13.
_INITIAL_RAW_SCALE = -2.0


def softplus(x: tf.Tensor) -> tf.Tensor:
    """log(1 + exp(x)), in the form that every runtime keeps finite."""
    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x)))


class MLP(keras.layers.Layer):
    """Dense layers with ReLU between them and none after the last."""

    def __init__(
        self,
        *,
        hidden_units: Sequence[int],
        output_units: int,
        output_bias: Sequence[float] | float = 0.0,
        output_gain: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._hidden = [
            keras.layers.Dense(units, activation="relu", dtype=self.dtype_policy)
            for units in hidden_units
        ]

        def bias(shape, dtype=None):
            return tf.broadcast_to(tf.cast(output_bias, dtype), shape)

        self._output = keras.layers.Dense(
            output_units,
            kernel_initializer=keras.initializers.VarianceScaling(
                output_gain, mode="fan_avg", distribution="uniform"
            ),
            bias_initializer=bias,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        for layer in [*self._hidden, self._output]:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x):
        for layer in self._hidden:
            x = layer(x)
        return self._output(x)


class LSTMState(NamedTuple):
    h: tf.Tensor  # [B, U]
    c: tf.Tensor  # [B, U]


class ImageLSTM(keras.layers.Layer):
    """An LSTM (Hochreiter and Schmidhuber 1997) that sees the image each step.

    The image is the same on every step, so its product with the input kernel
    is made once, before the loop: nine tenths of the work of the plain cell.

    Args:
      pooling: the image is averaged over squares of so many pixels a side.
      units: U.
    """

    def __init__(self, *, pooling: int, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        dense = keras.layers.Dense
        self._pool = keras.layers.AveragePooling2D(
            pooling, padding="same", dtype=self.dtype_policy
        )
        # Forget gate open at the start (Jozefowicz et al. 2015, section 2.2).
        bias = [0.0] * units + [1.0] * units + [0.0] * (2 * units)
        self._image_gates = dense(
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
        self._image_gates.build((None, _flat_size(pooled)))
        self._latent_gates.build((None, latent_size))
        self._state_gates.build((None, self.units))
        self.built = True

    def look(self, images: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] to the image's part in the gates, [B, 4U]."""
        pooled = self._pool(images)
        flat = tf.reshape(pooled, [-1, _flat_size(pooled.shape)])
        return self._image_gates(flat)

    def initial_state(self, image_gates: tf.Tensor) -> LSTMState:
        zeros = tf.zeros_like(image_gates[:, : self.units])
        return LSTMState(h=zeros, c=zeros)

    def call(
        self, image_gates: tf.Tensor, latents: tf.Tensor, state: LSTMState
    ) -> LSTMState:
        """One step: [B, 4U], [B, 3 + D] and [B, U] to the next state."""
        gates = image_gates + self._latent_gates(latents) + self._state_gates(state.h)
        i, f, g, o = tf.split(gates, 4, axis=-1)  # each [B, U]
        c = tf.sigmoid(f) * state.c + tf.sigmoid(i) * tf.tanh(g)
        return LSTMState(h=tf.sigmoid(o) * tf.tanh(c), c=c)


class WhereHead(keras.layers.Layer):
    """Factors q(z_pres_t | z_pres_{t-1}, h_t) and q(z_where_t | h_t).

    Means stay in bounds: windows between nothing and the whole canvas, with
    their centres on it.
    """

    def __init__(
        self,
        *,
        hidden_units: Sequence[int],
        scale_loc: float,
        **kwargs,
    ):
        super().__init__(**kwargs)
        logit = float(tf.math.log(scale_loc / (1.0 - scale_loc)))
        bias = [0.0, logit, 0.0, 0.0] + [_INITIAL_RAW_SCALE] * 3
        # The first windows should look where the prior expects them, not
        # where random weights happen to point.
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=WHERE_OUTPUTS,
            output_bias=bias,
            output_gain=0.1,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, h):
        """[B, U] to presence logits [B] and parameters of z_where, [B, 3]."""
        out = tf.cast(self._mlp(h), tf.float32)
        presence_logits, scale, shifts, raw = tf.split(out, [1, 1, 2, 3], axis=-1)
        loc = tf.concat([tf.sigmoid(scale), tf.tanh(shifts)], axis=-1)  # [B, 3]
        params = NormalParams(loc=loc, scale=MIN_WHERE_SCALE + softplus(raw))
        return presence_logits[:, 0], params


class GlimpseEncoder(keras.layers.Layer):
    """The factor q(z_what_t | glimpse_t)."""

    def __init__(self, *, hidden_units: Sequence[int], z_what_size: int, **kwargs):
        super().__init__(**kwargs)
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=2 * z_what_size,
            output_bias=[0.0] * z_what_size + [0.5] * z_what_size,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build((None, _flat_size(input_shape)))

    def call(self, glimpses):
        """[B, h, w, C] to parameters of z_what, [B, D]."""
        flat = tf.reshape(glimpses, [-1, _flat_size(glimpses.shape)])
        out = tf.cast(self._mlp(flat), tf.float32)
        loc, raw = tf.split(out, 2, axis=-1)
        return NormalParams(loc=loc, scale=MIN_WHAT_SCALE + softplus(raw))


class GlimpseDecoder(keras.layers.Layer):
    """The glimpse that p draws from a code; pixels in (0, 1)."""

    def __init__(
        self,
        *,
        hidden_units: Sequence[int],
        glimpse_shape: tuple[int, int, int],
        output_bias: float,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._glimpse_shape = glimpse_shape
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=_flat_size((None, *glimpse_shape)),
            output_bias=output_bias,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, z_what):
        """[N, D] to [N, h, w, C]."""
        pixels = tf.sigmoid(tf.cast(self._mlp(z_what), tf.float32))
        return tf.reshape(pixels, [-1, *self._glimpse_shape])


def _flat_size(shape) -> int:
    size = 1
    for dimension in shape[1:]:
        size *= dimension
    return size
