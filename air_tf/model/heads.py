"""Output layers for q(z_pres_t) and q(z_where_t)."""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from air_tf.config import AIRConfig
from air_tf.model.layers import MLP, softplus
from air_tf.structs import NormalParams

# Mean and raw standard deviation of the three components of z_where.
WHERE_OUTPUTS = 6
# Outputs of the search over cells: a presence logit, and the mean of z_where.
CELL_OUTPUTS = 4
# Output sizes of all layers that give presence or windows.
HEAD_OUTPUTS = {WHERE_OUTPUTS, 1 + WHERE_OUTPUTS, CELL_OUTPUTS}


class Guess(NamedTuple):
    """A window, before or after corrections."""

    scale_logits: tf.Tensor | float  # [B, 1]
    centre: tf.Tensor | float  # [B, 2], (y, x) in [-1, 1]
    reach: tf.Tensor | float  # [B, 1], bound of a correction of the centre

    def window(self) -> tf.Tensor:
        """The window as z_where, [B, 3]."""
        return tf.concat([tf.sigmoid(self.scale_logits), self.centre], axis=-1)


class WhereHead(keras.layers.Layer):
    """Corrects a guessed window, which becomes the mean of q(z_where_t | glimpse).

    The mean is bounded: the scale is below 1, and the centre is within `guess.reach`
    of the guess.
    """

    def __init__(self, config: AIRConfig, **kwargs):
        # Under mixed precision, the guess stays float32.
        super().__init__(autocast=False, **kwargs)
        self._min_scale = config.min_where_scale
        # Small initial weights, so that the first windows are close to the guess.
        self._mlp = MLP(
            hidden_units=config.where_units,
            output_units=WHERE_OUTPUTS,
            output_bias=[0.0] * 3 + [config.where_raw_scale] * 3,
            output_gain=config.where_head_gain,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, h, guess: Guess):
        """Corrects the guess.

        Args:
          h: [B, U], pixels of the glimpse in the guessed window.
          guess: the window to correct.

        Returns:
          The corrected guess, and the parameters of q(z_where), [B, 3] each.
        """
        correction, raw = tf.split(tf.cast(self._mlp(h), tf.float32), 2, axis=-1)
        guess = _correct(guess, correction)
        return guess, _where_params(guess, raw, self._min_scale)


class PresenceWhereHead(keras.layers.Layer):
    """The factors q(z_pres_t | z_pres_{t-1}, h_t) and q(z_where_t | h_t).

    Initial windows have the mean scale of p(z_where) and the centre of the canvas.
    """

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(**kwargs)
        self._min_scale = config.min_where_scale
        scale_loc = config.where_prior_loc[0]
        self._guess = Guess(scale_logits=logit(scale_loc), centre=0.0, reach=1.0)
        self._mlp = MLP(
            hidden_units=config.where_units,
            output_units=1 + WHERE_OUTPUTS,
            output_bias=[0.0] * 4 + [config.where_raw_scale] * 3,
            output_gain=config.where_head_gain,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, h):
        """[B, U] to presence logits [B] and parameters of q(z_where), [B, 3] each."""
        out = tf.cast(self._mlp(h), tf.float32)
        presence_logits, correction, raw = tf.split(out, [1, 3, 3], axis=-1)
        guess = _correct(self._guess, correction)
        return presence_logits[:, 0], _where_params(guess, raw, self._min_scale)


def _correct(guess: Guess, correction: tf.Tensor) -> Guess:
    """Adds a correction [B, 3]: to the scale's logit, and to the centre times reach."""
    scale, shifts = tf.split(correction, [1, 2], axis=-1)
    scale_logits = guess.scale_logits + scale
    return Guess(
        scale_logits=scale_logits,
        centre=guess.centre + guess.reach * tf.tanh(shifts),
        reach=tf.sigmoid(scale_logits),
    )


def _where_params(guess: Guess, raw: tf.Tensor, min_scale: float) -> NormalParams:
    """Parameters of q(z_where), [B, 3] each, from raw standard deviations [B, 3]."""
    return NormalParams(loc=guess.window(), scale=min_scale + softplus(raw))


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1.0 - probability))
