"""The networks of q and p, as Keras layers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from air_tf.model import spatial
from air_tf.structs import NormalParams

# Floors of the posterior standard deviations. Without them a posterior can
# shrink to a point, and its KL and gradient to infinity.
MIN_WHERE_SCALE = 0.01
MIN_WHAT_SCALE = 0.001
# Mean and raw deviation of z_where.
WHERE_OUTPUTS = 6
# Of `CellSearch`: a presence logit, and mean of z_where.
_CELL_OUTPUTS = 4
# Of the heads that say where objects are.
HEAD_OUTPUTS = {WHERE_OUTPUTS, 1 + WHERE_OUTPUTS, _CELL_OUTPUTS}
# Of their last weights, over those of other layers.
_HEAD_GAIN = 0.1
# Of `CellSearch`, in pooled pixels: how far cells are apart, what each of them sees,
# and, in cells, how far from its centre it may put a window: neighbours overlap.
_STRIDE, _PATCH, _REACH = 4, 14, 1.5
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


class Guess(NamedTuple):
    """The window of an object before a closer look."""

    scale_logits: tf.Tensor | float  # [B, 1]
    centre: tf.Tensor | float  # [B, 2], (y, x) in [-1, 1]
    reach: tf.Tensor | float  # [B, 1], how far off the centre may be

    def window(self) -> tf.Tensor:
        """As z_where, [B, 3]."""
        return tf.concat([tf.sigmoid(self.scale_logits), self.centre], axis=-1)


class CellSearch(keras.layers.Layer):
    """The cell of a grid where an object is most likely, and the window it guesses.

    The same MLP reads the patch around every cell, as a convolution of one large
    kernel and stride would: two products with constant matrices cut the patches. Only
    the chosen cell is read again for gradients, as no other has one.

    Args:
      pooling: the image is averaged over squares of so many pixels a side; cells are
        4 of these apart and see 14.
      hidden_units: of the MLP.
      scale_loc: the scale of a window at the start.
    """

    def __init__(
        self,
        *,
        pooling: int,
        hidden_units: Sequence[int],
        scale_loc: float,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._pool = keras.layers.AveragePooling2D(
            pooling, padding="same", dtype=self.dtype_policy
        )
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=_CELL_OUTPUTS,
            output_bias=[0.0, _logit(scale_loc), 0.0, 0.0],
            output_gain=_HEAD_GAIN,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        _, height, width, channels = self._pool.compute_output_shape(input_shape)
        self._rows, self._columns = _patches(height), _patches(width)
        self._mlp.build((None, _PATCH**2 * channels))
        centres = np.meshgrid(*map(_cells, (height, width)), indexing="ij")
        # Of the cells, (y, x) in [-1, 1]: [G, 2].
        self.centres = np.stack(centres, axis=-1).reshape(-1, 2).astype(np.float32)
        # How far from its centre a cell may put a window: [2].
        self.reach = _REACH * _STRIDE * 2.0 / np.array([height, width], np.float32)
        self.built = True

    def call(self, images):
        """[B, H, W, C] to presence logits [B], and the guess."""
        patches = spatial.cut_patches(self._pool(images), self._rows, self._columns)
        likely = self._mlp(patches)[:, :, 0]  # [B, G]
        best = tf.argmax(likely, axis=1, output_type=tf.int32)
        chosen = tf.one_hot(best, patches.shape[1])  # [B, G]
        # No product of matrices, which int8 would round.
        centre = tf.reduce_sum(chosen[:, :, tf.newaxis] * self.centres, axis=1)
        patch = tf.einsum("bg,bgp->bp", tf.cast(chosen, patches.dtype), patches)
        out = tf.cast(self._mlp(patch), tf.float32)  # [B, 4]
        presence_logits, scale_logits, shifts = tf.split(out, [1, 1, 2], axis=-1)
        return presence_logits[:, 0], Guess(
            scale_logits=scale_logits,
            centre=centre + self.reach * tf.tanh(shifts),
            reach=tf.sigmoid(scale_logits),
        )


def _cells(size: int) -> np.ndarray:
    """Centres in [-1, 1] of cells that cover `size` pixels, centred."""
    number = -(-size // _STRIDE)
    return _STRIDE * (2.0 * np.arange(number) + 1.0 - number) / size


def _patches(size: int) -> np.ndarray:
    """1 where pixel i of a cell's patch is pixel j of the image: [G, i, j].

    Patches reach over the border, where there is nothing.
    """
    number = len(_cells(size))
    margin = (_PATCH + _STRIDE * (number - 1) - size) // 2
    first = _STRIDE * np.arange(number) - margin
    pixel = first[:, np.newaxis] + np.arange(_PATCH)  # [G, i]
    return (pixel[..., np.newaxis] == np.arange(size)).astype(np.float32)


class WhereHead(keras.layers.Layer):
    """Corrects a guess, and gives the factor q(z_where_t | h_t) around it.

    Means stay in bounds: windows between nothing and the whole canvas, with
    their centres within reach of the guess.
    """

    def __init__(self, *, hidden_units: Sequence[int], **kwargs):
        # The guess stays in float32.
        super().__init__(autocast=False, **kwargs)
        # The first windows should look where they are guessed, not where random
        # weights happen to point.
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=WHERE_OUTPUTS,
            output_bias=[0.0] * 3 + [_INITIAL_RAW_SCALE] * 3,
            output_gain=_HEAD_GAIN,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, h, guess: Guess):
        """[B, U] to the guess corrected, and parameters of z_where, [B, 3]."""
        correction, raw = tf.split(tf.cast(self._mlp(h), tf.float32), 2, axis=-1)
        guess = _correct(guess, correction)
        return guess, _normal(guess, raw)


class PresenceWhereHead(keras.layers.Layer):
    """Factors q(z_pres_t | z_pres_{t-1}, h_t) and q(z_where_t | h_t).

    Args:
      scale_loc: the scale of a window at the start.
    """

    def __init__(self, *, hidden_units: Sequence[int], scale_loc: float, **kwargs):
        super().__init__(**kwargs)
        self._guess = Guess(scale_logits=_logit(scale_loc), centre=0.0, reach=1.0)
        self._mlp = MLP(
            hidden_units=hidden_units,
            output_units=1 + WHERE_OUTPUTS,
            output_bias=[0.0] * 4 + [_INITIAL_RAW_SCALE] * 3,
            output_gain=_HEAD_GAIN,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, h):
        """[B, U] to presence logits [B] and parameters of z_where, [B, 3]."""
        out = tf.cast(self._mlp(h), tf.float32)
        presence_logits, correction, raw = tf.split(out, [1, 3, 3], axis=-1)
        guess = _correct(self._guess, correction)
        return presence_logits[:, 0], _normal(guess, raw)


def _correct(guess: Guess, correction: tf.Tensor) -> Guess:
    """By [B, 3]: of the scale's logit, and of the centre as a share of its reach."""
    scale, shifts = tf.split(correction, [1, 2], axis=-1)
    scale_logits = guess.scale_logits + scale
    return Guess(
        scale_logits=scale_logits,
        centre=guess.centre + guess.reach * tf.tanh(shifts),
        reach=tf.sigmoid(scale_logits),
    )


def _normal(guess: Guess, raw: tf.Tensor) -> NormalParams:
    """Parameters of z_where, [B, 3], from its mean and raw deviations."""
    return NormalParams(loc=guess.window(), scale=MIN_WHERE_SCALE + softplus(raw))


def _logit(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


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
