"""Layers that the networks of p and q share."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf


def softplus(x: tf.Tensor) -> tf.Tensor:
    """log(1 + exp(x)), in a form that overflows in no runtime (LiteRT included)."""
    return tf.maximum(x, 0.0) + tf.math.log1p(tf.exp(-tf.abs(x)))


def flat_size(shape) -> int:
    """The number of elements after the batch axis."""
    return math.prod(shape[1:])


class MLP(keras.layers.Layer):
    """Dense layers with ReLU between them and a linear output layer.

    Args:
      hidden_units: sizes of the hidden layers.
      output_units: size of the output layer.
      output_bias: initial bias of the output layer, one value or one per unit.
      output_gain: variance of the output layer's initial weights, relative to
        Glorot's (Glorot and Bengio 2010).
    """

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


class ConvMLP(keras.layers.Layer):
    """Convolutions that halve the size of an image, then an `MLP`.

    Args:
      channels: of the convolutions, 3 x 3 with ReLU.
      hidden_units: see `MLP`.
      output_units: see `MLP`.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        hidden_units: Sequence[int],
        output_units: int,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._convolutions = [
            keras.layers.Conv2D(
                number, 3, 2, "same", activation="relu", dtype=self.dtype_policy
            )
            for number in channels
        ]
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=output_units,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        for layer in self._convolutions:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self._mlp.build((None, flat_size(input_shape)))

    def call(self, x):
        for layer in self._convolutions:
            x = layer(x)
        return self._mlp(tf.reshape(x, [-1, flat_size(x.shape)]))
