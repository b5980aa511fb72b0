"""The inference model, q(z | x): attend, infer, repeat.

Attend step t infers from the image and its memory whether there is one more object
(z_pres_t) and its window (z_where_t), reads the glimpse in that window and encodes it
(z_what_t) (Eslami et al. 2016, section 2.2 and figure 2). z_pres_t and z_where_t
depend on the form of inference (`search`): an LSTM (`recurrent`), or a search of the
residual (`difference`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from air_tf.config import AIRConfig, DifferenceConfig, RecurrentConfig
from air_tf.model import replicas, spatial
from air_tf.model.composition import Composition
from air_tf.model.difference import DifferenceSearch
from air_tf.model.glimpses import GlimpseEncoder
from air_tf.model.loop import ENDED_LOGIT, repeat, unary_presence
from air_tf.model.recurrent import RecurrentSearch
from air_tf.model.search import StepResult
from air_tf.structs import Inference, NormalParams


class Noise(NamedTuple):
    """Standard uniform and normal noise for reparameterised samples of q."""

    presence: tf.Tensor  # [B, T], uniform
    where: tf.Tensor  # [B, T, 3], normal
    what: tf.Tensor  # [B, T, D], normal


def draw_noise(
    seed: tf.Tensor, batch: tf.Tensor, steps: int, z_what_size: int
) -> Noise:
    """Noise for all attend steps; depends only on `seed`, [2] int32, and shapes."""
    seeds = tf.random.split(seed, 3)
    return Noise(
        presence=replicas.uniform([batch, steps], seeds[0]),
        where=replicas.normal([batch, steps, 3], seeds[1]),
        what=replicas.normal([batch, steps, z_what_size], seeds[2]),
    )


# Draws one object per image: z_where [B, 3] and z_what [B, D] to [B, H, W, L].
DrawObject = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_FORMS = {DifferenceConfig: DifferenceSearch, RecurrentConfig: RecurrentSearch}


class Attend(keras.layers.Layer):
    """The attend loop, for any form of inference.

    Args:
      config: of the model.
      composition: combines objects into a canvas.
    """

    def __init__(self, config: AIRConfig, composition: Composition, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        channels = composition.layer_channels(config.image_shape[2])
        self._layer_shape = (*config.image_shape[:2], channels)
        form = _FORMS[type(config.inference)]
        self.search = form(config, composition, dtype=self.dtype_policy)
        self.encoder = GlimpseEncoder(config, dtype=self.dtype_policy)

    def build(self, input_shape):
        config = self._config
        self.search.build(input_shape)
        channels = self.search.source_channels()
        self.encoder.build((None, *config.glimpse_size, channels))
        self.built = True

    def call(
        self,
        images: tf.Tensor,
        *,
        ground: tf.Tensor,
        draw: DrawObject,
        max_objects: int,
        noise: Noise | None,
        loop: str,
        first_cells: tf.Tensor | None = None,
    ) -> tuple[Inference, tf.Tensor]:
        """Runs the loop.

        Args:
          images: [B, H, W, C] float32.
          ground: [B, H, W, C], the canvas without objects.
          draw: `Generative.draw_object`.
          max_objects: T, a Python int; may differ from the T of training.
          noise: for samples of q; None for posterior means and the most probable
            count.
          loop: one of `LOOPS`, see `repeat`.
          first_cells: see `Search.start`.

        Returns:
          The inferred latents, and object images [B, T, H, W, L].

        Raises:
          ValueError: for another `loop`.
        """
        batch = tf.shape(images)[0]

        def step(memory: Any, step_noise: Noise | None) -> tuple[Any, StepResult]:
            return self._step(images, memory, step_noise, draw)

        results, num_trips = repeat(
            step,
            memory=self.search.start(images, ground, first_cells),
            buffers=lambda: self._buffers(batch, max_objects),
            batch=batch,
            max_objects=max_objects,
            noise=noise,
            loop=loop,
        )
        inference = Inference(
            presence_logits=results.presence_logits,
            z_pres=unary_presence(results.presence_logits, noise),
            q_where_params=results.q_where_params,
            z_where=results.z_where,
            q_what_params=results.q_what_params,
            z_what=results.z_what,
            num_trips=num_trips,
        )
        return inference, results.object_image

    def next_object(
        self,
        images: tf.Tensor,
        *,
        ground: tf.Tensor,
        layers: tf.Tensor,
        draw: DrawObject,
        least_explained: bool,
    ) -> StepResult:
        """One attend step, after given objects are drawn; posterior means.

        Args:
          images: [B, H, W, C].
          ground: [B, H, W, C].
          layers: [B, N, H, W, L], of the objects.
          draw: `Generative.draw_object`.
          least_explained: whether it looks where the image is explained least, instead
            of where an object is most likely.
        """
        memory = self.search.after(ground, layers)
        if least_explained:
            memory = self.search.least_explained(images, memory)
        return self._step(images, memory, None, draw)[1]

    def _step(self, images, memory, noise, draw):
        """One attend step: the new memory, and the result, [B, ...]."""
        found = self.search.find(images, memory)
        q_where = found.q_where_params
        z_where = _sample(q_where, noise and noise.where)  # [B, 3]
        q_what = self.encoder(self.read_glimpses(found.source, z_where))
        z_what = _sample(q_what, noise and noise.what)  # [B, D]
        result = StepResult(
            presence_logits=found.presence_logits,
            q_where_params=q_where,
            z_where=z_where,
            q_what_params=q_what,
            z_what=z_what,
            object_image=draw(z_where, z_what),
        )
        return self.search.remember(found.memory, result), result

    def read_glimpses(self, images: tf.Tensor, z_where: tf.Tensor) -> tf.Tensor:
        """Reads glimpses: images [N, H, W, C] and z_where [N, 3] to [N, h, w, C]."""
        return spatial.extract_glimpses(
            images, z_where, self._config.glimpse_size, self._config.min_window_scale
        )

    def _buffers(self, batch, max_objects) -> StepResult:
        """Initial results, [B, T, ...]: those of attend steps that are not taken."""
        code = self._config.z_what_size

        def buffer(*shape, value=0.0):
            return tf.fill([batch, max_objects, *shape], value)

        def normal(size):
            # The scale of a normal distribution has to be above 0.
            return NormalParams(loc=buffer(size), scale=buffer(size, value=1.0))

        return StepResult(
            presence_logits=buffer(value=ENDED_LOGIT),
            q_where_params=normal(3),
            z_where=buffer(3),
            q_what_params=normal(code),
            z_what=buffer(code),
            object_image=buffer(*self._layer_shape),
        )


def _sample(params: NormalParams, noise: tf.Tensor | None) -> tf.Tensor:
    if noise is None:
        return params.loc
    return params.loc + params.scale * noise
