"""Glimpse encoder, q(z_what | glimpse), and glimpse decoder, p(glimpse | z_what)."""

import keras
import tensorflow as tf

from air_tf.config import AIRConfig
from air_tf.model.layers import MLP, flat_size, softplus
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
    """The mean of a glimpse, given its code; pixels in (0, 1)."""

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(**kwargs)
        self._glimpse_shape = (*config.glimpse_size, config.image_shape[2])
        self._mlp = MLP(
            hidden_units=config.decoder_units,
            output_units=flat_size((None, *self._glimpse_shape)),
            output_bias=config.decoder_bias,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        self._mlp.build(input_shape)

    def call(self, z_what):
        """Codes [N, D] to glimpses [N, h, w, C]."""
        pixels = tf.sigmoid(tf.cast(self._mlp(z_what), tf.float32))
        return tf.reshape(pixels, [-1, *self._glimpse_shape])
