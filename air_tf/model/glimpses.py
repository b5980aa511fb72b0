"""Glimpse encoder, q(z_what | glimpse), and glimpse decoder, p(glimpse | z_what)."""

import math

import keras
import tensorflow as tf

from air_tf.config import AIRConfig, AlphaConfig
from air_tf.model.layers import MLP, flat_size, softplus
from air_tf.model.spatial import interpolation
from air_tf.structs import NormalParams


class GlimpseEncoder(keras.layers.Layer):
    """The factor q(z_what_t | glimpse_t)."""

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(**kwargs)
        self._min_scale = config.min_what_scale
        size = config.z_what_size
        self._mlp = MLP(
            hidden_units=config.encoder_units,
            output_units=2 * size,
            output_bias=[0.0] * size + [config.what_raw_scale] * size,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build((None, flat_size(input_shape)))

    def call(self, glimpses):
        """Glimpses [B, h, w, C] to parameters of q(z_what), [B, D] each."""
        flat = tf.reshape(glimpses, [-1, flat_size(glimpses.shape)])
        out = tf.cast(self._mlp(flat), tf.float32)
        loc, raw = tf.split(out, 2, axis=-1)
        return NormalParams(loc=loc, scale=self._min_scale + softplus(raw))


class GlimpseDecoder(keras.layers.Layer):
    """The mean of a glimpse, given its code; all channels in (0, 1).

    With `AlphaConfig`, the channels are the object's light and its mask: see
    `air_tf.model.composition.Alpha`.
    """

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(**kwargs)
        self._channels = config.image_shape[2]
        self._size = (height, width) = config.glimpse_size
        pixels = height * width
        self._grid: tuple[int, int] | None = None
        units, bias = pixels * self._channels, [config.decoder_bias]
        if isinstance(config.composition, AlphaConfig):
            self._grid = (rows, columns) = config.composition.colour_grid
            units = pixels + rows * columns * self._channels
            bias = [config.composition.mask_bias] * pixels + [0.0] * (units - pixels)
            self._rows = interpolation(height, rows)
            self._columns = interpolation(width, columns)
        self._mlp = MLP(
            hidden_units=config.decoder_units,
            output_units=units,
            output_bias=bias,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, z_what):
        """Codes [N, D] to glimpses [N, h, w, L]."""
        out = tf.sigmoid(tf.cast(self._mlp(z_what), tf.float32))
        if self._grid is None:
            return tf.reshape(out, [-1, *self._size, self._channels])
        mask, colours = tf.split(out, [math.prod(self._size), -1], axis=-1)
        mask = tf.reshape(mask, [-1, *self._size, 1])
        colours = tf.reshape(colours, [-1, *self._grid, self._channels])
        if self._grid != (1, 1):
            colours = tf.einsum("nghc,yg,xh->nyxc", colours, self._rows, self._columns)
        return tf.concat([colours * mask, mask], axis=-1)
