"""The ground: the canvas without objects.

A learned ground is smooth: a few waves for each picture, see `waves`.

    z_ground ~ Normal(0, 1)                            G numbers for each picture
    ground = shared + sum over waves of amplitude * z_ground * wave

`shared` has full resolution, but no picture has its own: it can draw a pattern behind
all pictures, and no objects. The amplitudes say how much grounds differ from it; both
are learned.

A ground of one colour, z_ground, is drawn by a linear layer. A black ground has no
code: G = 0. A striped ground has a code for one colour, and one for each row and each
column:

    ground[y, x] = colour + the stronger one of row[y] and column[x]

It draws lines and grids wherever they lie in a picture, which no shared pattern can,
and nothing that ends: a line goes on until a stronger one crosses it.

A ground must be right before objects are learned: otherwise, objects first learn to
draw what the ground does not draw yet, or the ground learns to draw objects as blurs,
and an object then explains too little of the image to pay for its code. So what is
inferred follows from the image without learning, in closed form, by statistics that
objects do not change much as long as they cover less than half (`GroundEncoder`).
"""

import keras
import numpy as np
import tensorflow as tf

from air_tf.config import AIRConfig, ConstantConfig, LearnedConfig, StripedConfig
from air_tf.model.layers import MLP, flat_size, softplus
from air_tf.model.waves import Waves
from air_tf.structs import NormalParams

# Of colours before training.
_MEAN_COLOUR, _COLOUR_SCALE = 0.5, 0.3
# Side of the squares whose means the first colour of a learned ground is the median of.
_POOLING = 4
# Standard deviation of q at first, before the softplus; and how small the first
# corrections are, as in `where_head_gain`.
_RAW_SCALE, _GAIN = -2.0, 0.01


def code_size(config: AIRConfig) -> int:
    """G, the size of the ground's code; 0 for a black ground."""
    height, width, channels = config.image_shape
    if isinstance(config.background, LearnedConfig):
        down, along = config.background.ground_waves
        return down * along * channels
    if isinstance(config.background, StripedConfig):
        return (1 + height + width) * channels
    return channels if _is_drawn(config) else 0


def ground_outputs(config: AIRConfig) -> set[int]:
    """The numbers of outputs of the matrix products that infer and draw a ground."""
    height, width, channels = config.image_shape
    if isinstance(config.background, LearnedConfig):
        return {*config.background.ground_waves, height, width}
    return {2 * code_size(config), channels} if code_size(config) else set()


def _is_drawn(config: AIRConfig) -> bool:
    return isinstance(config.background, ConstantConfig)


class Ground(keras.layers.Layer):
    """p(ground | z_ground)."""

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        if isinstance(config.background, LearnedConfig):
            self._waves = Waves(config.image_shape[:2], config.background.ground_waves)

    def build(self, input_shape=None):
        config = self._config
        channels = config.image_shape[2]
        if _is_drawn(config):
            # A striped ground draws its lines without weights.
            first = _COLOUR_SCALE * np.eye(channels)
            self._kernel = self.add_weight(
                name="kernel",
                shape=first.shape,
                initializer=lambda shape, dtype=None: tf.constant(first, dtype),
            )
            self._bias = self.add_weight(
                name="bias",
                shape=(channels,),
                initializer=keras.initializers.Constant(_MEAN_COLOUR),
            )
        if isinstance(config.background, LearnedConfig):
            down, along = np.indices(config.background.ground_waves)
            # Short waves are usually lower. Logarithms, because amplitudes differ by
            # orders of magnitude.
            lower = np.log(_COLOUR_SCALE / (1 + down + along))[..., np.newaxis]
            self._log_amplitudes = self.add_weight(
                name="log_amplitudes",
                shape=(*config.background.ground_waves, channels),
                initializer=lambda shape, dtype=None: tf.broadcast_to(
                    tf.constant(lower, dtype), shape
                ),
            )
            self._shared = self.add_weight(
                name="shared",
                shape=config.image_shape,
                initializer=keras.initializers.Constant(_MEAN_COLOUR),
            )
        self.built = True

    def call(self, z_ground: tf.Tensor) -> tf.Tensor:
        """Codes [B, G] to grounds [B, H, W, C]."""
        config = self._config
        if isinstance(config.background, LearnedConfig):
            amplitudes = tf.exp(self._log_amplitudes.value)
            codes = tf.reshape(z_ground, [-1, *amplitudes.shape])
            return self._shared + self._waves.draw(amplitudes * codes)
        ground = tf.zeros([tf.shape(z_ground)[0], *config.image_shape])
        if not _is_drawn(config):
            return ground
        if isinstance(config.background, StripedConfig):
            z_ground, lines = _lines(z_ground, config.image_shape)
            ground += _COLOUR_SCALE * lines
        colour = tf.matmul(z_ground, self._kernel) + self._bias  # [B, C]
        return ground + colour[:, tf.newaxis, tf.newaxis]

    def posterior(self, images: tf.Tensor, scale: tf.Tensor | float) -> NormalParams:
        """p(z_ground | x) of a learned ground, if objects hide what does not fit.

        Of n pixels of standard deviation `scale` that are not hidden, the height of a
        wave has the precision n / scale^2 beside the 1 / amplitude^2 of its prior.

        Args:
          images: [B, H, W, C].
          scale: of a pixel, sigma.

        Returns:
          Parameters [B, G].
        """
        background = self._config.background
        assert isinstance(background, LearnedConfig)
        rest = images - self._shared
        heights, seen = self._waves.fit(
            rest,
            _median(tf.nn.avg_pool2d(rest, _POOLING, _POOLING, "SAME")),
            tolerance=background.ground_tolerance,
            rounds=background.ground_rounds,
        )
        amplitudes = tf.exp(self._log_amplitudes.value)  # [U, V, C]
        seen = seen[:, tf.newaxis, tf.newaxis, tf.newaxis]
        gain = seen * tf.square(amplitudes / scale)
        size = code_size(self._config)
        loc = heights / amplitudes * gain / (1.0 + gain)
        return NormalParams(
            loc=tf.reshape(loc, [-1, size]),
            scale=tf.reshape(tf.math.rsqrt(1.0 + gain), [-1, size]),
        )


def _lines(
    z_ground: tf.Tensor, shape: tuple[int, int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The code of the colour, [B, C], and what lines add to it, [B, H, W, C].

    Where a row and a column cross, the stronger one is seen: lines of the same colour
    do not get brighter or darker there.
    """
    height, width, channels = shape
    sizes = [channels, height * channels, width * channels]
    colour, rows, columns = tf.split(z_ground, sizes, axis=1)
    rows = tf.reshape(rows, [-1, height, 1, channels])
    columns = tf.reshape(columns, [-1, 1, width, channels])
    return colour, tf.where(tf.abs(rows) > tf.abs(columns), rows, columns)


class GroundEncoder(keras.layers.Layer):
    """q(z_ground | x).

    Of a learned ground, it is the posterior in closed form (`Ground.posterior`).
    Otherwise a network, which reads the image at low resolution, corrects a first
    guess. Its colour is the median of each channel; of a striped ground, it also has
    the medians of rows and columns, as in the first pass of Tukey's median polish
    (1977, "Exploratory Data Analysis"). So grounds are right from the first training
    step on.
    """

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        background = config.background
        self._size, channels = code_size(config), config.image_shape[2]
        self._channels, self._shape = channels, config.image_shape
        self._smooth = isinstance(background, LearnedConfig)
        self._striped = isinstance(background, StripedConfig)
        self._min_scale = config.min_what_scale
        if isinstance(background, ConstantConfig):
            self._pool = keras.layers.AveragePooling2D(
                background.ground_pooling, padding="same", dtype=self.dtype_policy
            )
            self._mlp = MLP(
                hidden_units=background.ground_units,
                output_units=2 * self._size,
                output_bias=[0.0] * self._size + [_RAW_SCALE] * self._size,
                output_gain=_GAIN,
                dtype=self.dtype_policy,
            )

    def build(self, input_shape):
        if self._size and not self._smooth:
            pooled = self._pool.compute_output_shape(input_shape)
            lines = self._size - self._channels if self._striped else 0
            self._mlp.build((None, flat_size(pooled) + lines))
        self.built = True

    def call(self, images, *, ground: Ground, scale: tf.Tensor | float):
        """Parameters of q(z_ground), [B, G] each.

        Args:
          images: [B, H, W, C], float32.
          ground: draws codes.
          scale: standard deviation of a pixel, sigma.
        """
        if not self._size:
            none = tf.zeros([tf.shape(images)[0], 0])
            return NormalParams(loc=none, scale=none)
        if self._smooth:
            return ground.posterior(images, scale)
        pooled = self._pool(images)
        flat = tf.reshape(pooled, [-1, flat_size(pooled.shape)])
        if self._striped:
            colour, lines = _median_polish(images)
            flat = tf.concat([flat, tf.cast(lines, flat.dtype)], axis=1)
            lines /= _COLOUR_SCALE
        else:
            colour = _median(pooled)[:, 0, 0]  # [B, C]
            lines = tf.zeros([tf.shape(images)[0], 0])
        out = tf.cast(self._mlp(flat), tf.float32)
        loc, raw = tf.split(out, 2, axis=-1)
        guess = (tf.cast(colour, tf.float32) - _MEAN_COLOUR) / _COLOUR_SCALE
        guess = tf.concat([guess, lines], axis=1)
        return NormalParams(loc=guess + loc, scale=self._min_scale + softplus(raw))


def _median_polish(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The usual colour, and what rows and columns usually add to it.

    Returns:
      [B, C], and [B, (H + W) * C], those of the rows first.
    """
    _, height, width, channels = images.shape
    rows = _median_of_last(tf.transpose(images, [0, 1, 3, 2]))  # [B, H, C]
    columns = _median_of_last(tf.transpose(images, [0, 2, 3, 1]))  # [B, W, C]
    colour = _median_of_last(tf.transpose(rows, [0, 2, 1]))  # [B, C]
    lines = tf.concat([rows, columns], axis=1) - colour[:, tf.newaxis]
    return colour, tf.reshape(lines, [-1, (height + width) * channels])


def _median(images: tf.Tensor) -> tf.Tensor:
    """The upper median of each channel: [B, H, W, C] to [B, 1, 1, C]."""
    _, height, width, channels = images.shape
    pixels = tf.reshape(images, [-1, height * width, channels])
    median = _median_of_last(tf.transpose(pixels, [0, 2, 1]))
    return median[:, tf.newaxis, tf.newaxis]


def _median_of_last(values: tf.Tensor) -> tf.Tensor:
    """The upper median along the last axis, which is left out."""
    # LiteRT has no sort.
    upper, _ = tf.math.top_k(values, values.shape[-1] // 2 + 1)
    return upper[..., -1]
