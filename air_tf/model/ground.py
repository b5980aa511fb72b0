"""The ground: the canvas without objects.

    z_ground ~ Normal(0, 1)                            G numbers for each picture
    ground = shared + interpolated(linear(z_ground))

`linear` gives a coarse grid of colours, which is interpolated to the canvas: such a
ground is smooth, and can't draw objects that are small beside the cells of the grid.
`shared` has full resolution, but no picture has its own: it can draw a pattern behind
all pictures, and no objects. A ground of one colour is a grid of one cell without the
shared part. A black ground has no code: G = 0.

A striped ground has a code for one colour, and one for each row and each column:

    ground[y, x] = colour + the stronger one of row[y] and column[x]

It draws lines and grids wherever they lie in a picture, which no shared pattern can,
and nothing that ends: a line goes on until a stronger one crosses it.

What decides between ground and objects is the bound: an object is sharp, and the grid
draws it as a blur. But a blur is learned sooner, and once the ground draws it, an
object explains too little of the image to pay for its code. So the ground of a picture
has one colour until objects are learned, and gets its other colours gradually
(`set_progress`).
"""

import keras
import numpy as np
import tensorflow as tf

from air_tf.config import AIRConfig, ConstantConfig, LearnedConfig, StripedConfig
from air_tf.model.layers import MLP, flat_size, softplus
from air_tf.model.spatial import interpolation
from air_tf.structs import NormalParams

# Of colours before training.
_MEAN_COLOUR, _COLOUR_SCALE = 0.5, 0.3
# Standard deviation of q at first, before the softplus; and how small the first
# corrections are, as in `where_head_gain`.
_RAW_SCALE, _GAIN = -2.0, 0.01


def code_size(config: AIRConfig) -> int:
    """G, the size of the ground's code; 0 for a black ground."""
    if isinstance(config.background, LearnedConfig):
        return config.background.ground_code_size
    height, width, channels = config.image_shape
    if isinstance(config.background, StripedConfig):
        return (1 + height + width) * channels
    return channels if _is_drawn(config) else 0


def ground_outputs(config: AIRConfig) -> set[int]:
    """The number of outputs of the layer that gives the ground's colours."""
    rows, columns = _grid(config)
    return {rows * columns * config.image_shape[2]}


def _grid(config: AIRConfig) -> tuple[int, int]:
    if isinstance(config.background, LearnedConfig):
        return config.background.ground_grid
    return (1, 1)


def _is_drawn(config: AIRConfig) -> bool:
    return isinstance(config.background, ConstantConfig)


class Ground(keras.layers.Layer):
    """p(ground | z_ground)."""

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        self._grid = _grid(config)

    def build(self, input_shape=None):
        config = self._config
        height, width, channels = config.image_shape
        if _is_drawn(config):
            rows, columns = self._grid
            # A striped ground draws its lines without weights.
            striped = isinstance(config.background, StripedConfig)
            size = channels if striped else code_size(config)
            # At first, the code begins with the colour of the whole ground.
            colour = _COLOUR_SCALE * np.tile(np.eye(channels), rows * columns)
            others = keras.random.normal(
                (size - channels, colour.shape[1]), stddev=0.1 / size**0.5
            )
            first = tf.concat([tf.cast(colour, tf.float32), others], axis=0)
            self._kernel = self.add_weight(
                name="kernel",
                shape=first.shape,
                initializer=lambda shape, dtype=None: tf.cast(first, dtype),
            )
            self._bias = self.add_weight(
                name="bias",
                shape=(rows * columns * channels,),
                initializer=keras.initializers.Constant(_MEAN_COLOUR),
            )
            self._rows = interpolation(height, rows)
            self._columns = interpolation(width, columns)
        if isinstance(config.background, LearnedConfig):
            self._shared = self.add_weight(
                name="shared", shape=config.image_shape, initializer="zeros"
            )
            self._detail = self.add_weight(
                name="detail", shape=(), initializer="ones", trainable=False
            )
        self.built = True

    def set_progress(self, progress: tf.Tensor) -> None:
        """Sets how far the colours of a ground may differ, see `ground_delay`.

        Args:
          progress: share of the training steps that are done.
        """
        background = self._config.background
        if isinstance(background, LearnedConfig):
            first, last = background.ground_delay
            done = (progress - first) / (last - first)
            self._detail.assign(tf.clip_by_value(done, 0.0, 1.0))

    def call(self, z_ground: tf.Tensor) -> tf.Tensor:
        """Codes [B, G] to grounds [B, H, W, C]."""
        config = self._config
        channels = config.image_shape[2]
        if not _is_drawn(config):
            return tf.zeros([tf.shape(z_ground)[0], *config.image_shape])
        lines = None
        if isinstance(config.background, StripedConfig):
            z_ground, lines = _lines(z_ground, config.image_shape)
        cells = tf.matmul(z_ground, self._kernel) + self._bias
        cells = tf.reshape(cells, [-1, *self._grid, channels])
        if isinstance(config.background, LearnedConfig):
            mean = tf.reduce_mean(cells, axis=[1, 2], keepdims=True)
            cells = mean + self._detail * (cells - mean)
        ground = tf.einsum("bghc,yg,xh->byxc", cells, self._rows, self._columns)
        if isinstance(config.background, LearnedConfig):
            ground += self._shared
        if lines is not None:
            ground += _COLOUR_SCALE * lines
        return ground


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
    """q(z_ground | x), from the image at low resolution.

    A network corrects a first guess, whose colour is the median of each channel; of a
    striped ground, also the medians of rows and columns, as in the first pass of
    Tukey's median polish (1977, "Exploratory Data Analysis"). So grounds are right from
    the first training step on. Otherwise, objects would first learn to draw what the
    ground does not draw yet.
    """

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(**kwargs)
        background = config.background
        self._size, channels = code_size(config), config.image_shape[2]
        self._channels, self._shape = channels, config.image_shape
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
        if self._size:
            pooled = self._pool.compute_output_shape(input_shape)
            lines = self._size - self._channels if self._striped else 0
            self._mlp.build((None, flat_size(pooled) + lines))
        self.built = True

    def call(self, images):
        """Images [B, H, W, C] to parameters of q(z_ground), [B, G] each."""
        if not self._size:
            none = tf.zeros([tf.shape(images)[0], 0])
            return NormalParams(loc=none, scale=none)
        pooled = self._pool(images)
        flat = tf.reshape(pooled, [-1, flat_size(pooled.shape)])
        if self._striped:
            colour, lines = _median_polish(images)
            flat = tf.concat([flat, lines], axis=1)
            lines = tf.cast(lines, tf.float32) / _COLOUR_SCALE
        else:
            colour = _median(pooled)  # [B, C]
            lines = tf.zeros([tf.shape(images)[0], self._size - self._channels])
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
    """The upper median of each channel: [B, H, W, C] to [B, C]."""
    _, height, width, channels = images.shape
    pixels = tf.reshape(images, [-1, height * width, channels])
    return _median_of_last(tf.transpose(pixels, [0, 2, 1]))


def _median_of_last(values: tf.Tensor) -> tf.Tensor:
    """The upper median along the last axis, which is left out."""
    # LiteRT has no sort.
    upper, _ = tf.math.top_k(values, values.shape[-1] // 2 + 1)
    return upper[..., -1]
