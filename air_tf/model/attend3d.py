"""The inference model of 3D scenes: attend, infer, repeat over a table.

Attend step t sees the image minus the empty table, and which pixels the objects found
so far explain: its memory, as in the difference form (`air_tf.model.difference`). It
says whether there is one more object (z_pres_t), attends to a place on the table, and
reads from the glimpse there the kind of the object, its position, its yaw, and its
mask: the pixels in which the object is seen, which are explained from then on. No step
needs the renderer (Eslami et al. 2016, section 3.3: networks learn to invert it).
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from air_tf.config import AIR3DConfig
from air_tf.model import replicas, spatial
from air_tf.model.glimpse_reader import GlimpseReader
from air_tf.model.layers import ConvMLP
from air_tf.model.loop import ENDED_LOGIT, repeat, unary_presence
from air_tf.renderers.camera import Camera
from air_tf.structs import Inference3D, NormalParams

_MAX_POSITION_SCALE, _MAX_YAW_SCALE = 0.5, 1.5


class Noise3D(NamedTuple):
    """Standard uniform and normal noise for reparameterised samples of q."""

    presence: tf.Tensor  # [B, T], uniform
    position: tf.Tensor  # [B, T, 2], normal
    phase: tf.Tensor  # [B, T, K], normal


class Step3D(NamedTuple):
    """Results of one attend step; with an axis T after B, of all of them."""

    presence_logits: tf.Tensor  # [B]
    q_position_params: NormalParams  # [B, 2]
    kind_logits: tf.Tensor  # [B, K]
    q_phase_params: NormalParams  # [B, K]
    mask: tf.Tensor  # [B, H, W]


def draw_noise(
    seed: tf.Tensor, batch: tf.Tensor, steps: int, num_kinds: int
) -> Noise3D:
    """Noise for all attend steps; depends only on `seed`, [2] int32, and shapes."""
    seeds = tf.random.split(seed, 3)
    return Noise3D(
        presence=replicas.uniform([batch, steps], seeds[0]),
        position=replicas.normal([batch, steps, 2], seeds[1]),
        phase=replicas.normal([batch, steps, num_kinds], seeds[2]),
    )


def _read_outputs(config: AIR3DConfig) -> int:
    """Position and its scale, kind, and for each kind sine, cosine and scale."""
    return 4 + 4 * config.num_kinds


def head_outputs(config: AIR3DConfig) -> set[int]:
    """Output sizes of all layers that give presence, attention or latents."""
    return {1, 2, _read_outputs(config)}


class Attend3D(keras.layers.Layer):
    """The attend loop over a table.

    Args:
      config: of the model.
    """

    def __init__(self, config: AIR3DConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        self._camera = Camera(config.tabletop, config.image_shape)
        policy = {"dtype": self.dtype_policy}
        first, *others = config.look_channels
        self._pool = keras.layers.AveragePooling2D(
            config.look_pooling, padding="same", **policy
        )
        self._look = [
            keras.layers.Conv2D(first, 5, 2, "same", activation="relu", **policy),
            *(
                keras.layers.Conv2D(channels, 3, 1, "same", activation="relu", **policy)
                for channels in others
            ),
        ]
        self._attention = keras.layers.Conv2D(1, 3, 1, "same", **policy)
        self._presence = ConvMLP(
            channels=(config.look_channels[-1],),
            hidden_units=config.presence_units,
            output_units=1,
            **policy,
        )
        # Half the resolution is enough to see where the object is.
        rows, columns = config.glimpse_size
        self._coarse = (-(-rows // 2), -(-columns // 2))
        self._correct = ConvMLP(
            channels=config.glimpse_channels,
            hidden_units=config.glimpse_units,
            output_units=2,
            **policy,
        )
        self._read = GlimpseReader(
            channels=config.glimpse_channels,
            units=config.glimpse_units,
            output_units=_read_outputs(config),
            mask_size=config.glimpse_size,
            **policy,
        )

    def build(self, input_shape):
        config = self._config
        height, width, channels = config.image_shape
        shape = (None, height, width, 2 * channels)
        for layer in [self._pool, *self._look]:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self._attention.build(shape)
        self._presence.build(shape)
        reach = config.tabletop.reach
        places = self._camera.positions(*shape[1:3], reach)
        # [G, 2], places on the table that the cells of the grid show.
        self._places = places.reshape(-1, 2) / reach
        if config.num_corrections:
            self._correct.build((None, *self._coarse, 2 * channels))
        self._read.build((None, *config.glimpse_size, 2 * channels))
        self.built = True

    def call(
        self,
        images: tf.Tensor,
        *,
        ground: tf.Tensor,
        max_objects: int,
        noise: Noise3D | None,
        loop: str,
    ) -> Inference3D:
        """Runs the loop.

        Args:
          images: [B, H, W, 3] float32.
          ground: [H, W, 3], the empty table.
          max_objects: T, a Python int; may differ from the T of training.
          noise: for samples of q; None for posterior means and the most probable
            count.
          loop: see `air_tf.model.loop.repeat`.
        """
        objects = (images - ground) * self._config.input_gain
        batch = tf.shape(images)[0]

        def step(explained: tf.Tensor, step_noise: Any) -> tuple[tf.Tensor, Step3D]:
            del step_noise  # A step does not depend on samples of earlier ones.
            result = self._step(objects, explained)
            mask = tf.stop_gradient(result.mask)
            return 1.0 - (1.0 - explained) * (1.0 - mask), result

        results, num_trips = repeat(
            step,
            memory=tf.zeros_like(images[..., 0]),
            buffers=lambda: self._buffers(batch, max_objects),
            batch=batch,
            max_objects=max_objects,
            noise=noise,
            loop=loop,
        )
        return Inference3D(
            presence_logits=results.presence_logits,
            z_pres=unary_presence(results.presence_logits, noise),
            q_position_params=results.q_position_params,
            position=_sample(results.q_position_params, noise and noise.position),
            kind_logits=results.kind_logits,
            q_phase_params=results.q_phase_params,
            phase=_sample(results.q_phase_params, noise and noise.phase),
            mask=results.mask,
            num_trips=num_trips,
        )

    def _step(self, objects: tf.Tensor, explained: tf.Tensor) -> Step3D:
        """One attend step: objects [B, H, W, 3], explained [B, H, W]."""
        config = self._config
        left = objects * (1.0 - explained[..., tf.newaxis])
        seen = tf.concat([left, objects], axis=-1)  # [B, H, W, 6]
        features = seen
        for layer in [self._pool, *self._look]:
            features = layer(features)
        presence_logits = tf.cast(self._presence(features)[:, 0], tf.float32)
        position = self._attend(features, left)
        for _ in range(config.num_corrections):
            # No gradient into where the glimpse is: only into what is read there.
            window = self._window(tf.stop_gradient(position))
            move = self._correct(self._extract(seen, window, self._coarse))
            position += config.max_correction * tf.tanh(tf.cast(move, tf.float32))
        window = self._window(tf.stop_gradient(position))
        out, mask = self._read(self._extract(seen, window, config.glimpse_size))
        kinds = config.num_kinds
        move, scale, kind_logits, sine, cosine, phase_scale = tf.split(
            tf.cast(out, tf.float32), [2, 2, kinds, kinds, kinds, kinds], axis=-1
        )
        mask = spatial.place_glimpses(
            tf.sigmoid(tf.cast(mask, tf.float32)),
            window,
            config.image_shape[:2],
            config.glimpse_scale,
        )[..., 0]
        return Step3D(
            presence_logits=presence_logits,
            q_position_params=NormalParams(
                position + config.max_correction * tf.tanh(move),
                config.min_position_scale
                + _MAX_POSITION_SCALE * tf.sigmoid(scale - 1.5),
            ),
            kind_logits=kind_logits,
            q_phase_params=NormalParams(
                tf.atan2(sine, cosine + 1e-6),
                config.min_yaw_scale + _MAX_YAW_SCALE * tf.sigmoid(phase_scale + 0.5),
            ),
            mask=mask,
        )

    def _attend(self, features: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """A place on the table, [B, 2], from features and what is left, [B, ...].

        What is not explained yet attracts. Places far from the most attractive one
        are left out, so that the mean does not lie between two objects.
        """
        config = self._config
        rest = tf.reduce_sum(tf.abs(left), axis=-1, keepdims=True) / config.input_gain
        for size in (config.look_pooling, 2):
            rest = tf.nn.avg_pool2d(rest, size, size, "SAME")
        most = tf.reduce_max(rest, axis=[1, 2, 3], keepdims=True)
        salience = config.salience * rest / (most + config.min_salience)
        learned = 2.0 * tf.tanh(tf.cast(self._attention(features), tf.float32))
        logits = tf.reshape(learned + salience, [-1, len(self._places)])  # [B, G]
        best = tf.one_hot(tf.argmax(logits, axis=1), len(self._places))
        centre = tf.matmul(best, self._places)  # [B, 2]
        distance = tf.reduce_sum(
            tf.square(centre[:, tf.newaxis] - self._places), axis=-1
        )
        near = distance < config.attention_reach**2
        weights = tf.nn.softmax(tf.where(near, logits, -1e9))
        return tf.matmul(weights, self._places)

    def _window(self, position: tf.Tensor) -> tf.Tensor:
        """The window of the glimpse around a position: [B, 2] to [B, 3]."""
        place, _ = self._camera.project(position * self._config.tabletop.reach)
        scale = tf.fill([tf.shape(place)[0], 1], self._config.glimpse_scale)
        return tf.concat([scale, place], axis=1)

    def _extract(
        self, images: tf.Tensor, window: tf.Tensor, size: tuple[int, int]
    ) -> tf.Tensor:
        scale = self._config.glimpse_scale
        return spatial.extract_glimpses(images, window, size, scale)

    def _buffers(self, batch: tf.Tensor, max_objects: int) -> Step3D:
        """Initial results, [B, T, ...]: those of attend steps that are not taken."""
        kinds = self._config.num_kinds

        def buffer(*shape, value=0.0):
            return tf.fill([batch, max_objects, *shape], value)

        return Step3D(
            presence_logits=buffer(value=ENDED_LOGIT),
            q_position_params=NormalParams(buffer(2), buffer(2, value=1.0)),
            kind_logits=buffer(kinds),
            q_phase_params=NormalParams(buffer(kinds), buffer(kinds, value=1.0)),
            mask=buffer(*self._config.image_shape[:2]),
        )


def _sample(params: NormalParams, noise: tf.Tensor | None) -> tf.Tensor:
    if noise is None:
        return params.loc
    return params.loc + params.scale * noise
