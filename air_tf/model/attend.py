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
from air_tf.model import distributions, spatial
from air_tf.model.composition import Composition
from air_tf.model.difference import DifferenceSearch
from air_tf.model.glimpses import GlimpseEncoder
from air_tf.model.recurrent import RecurrentSearch
from air_tf.model.search import StepResult
from air_tf.structs import Inference, NormalParams

# Presence logit of steps after an image has ended: a probability of 4e-44.
ENDED_LOGIT = -100.0


class Noise(NamedTuple):
    """Standard uniform and normal noise for reparameterised samples of q."""

    presence: tf.Tensor  # [B, T], uniform
    where: tf.Tensor  # [B, T, 3], normal
    what: tf.Tensor  # [B, T, D], normal


class Counting(NamedTuple):
    """Running values that determine whether an image has ended."""

    log_reached: tf.Tensor  # [B], log q(n >= step)
    log_best: tf.Tensor  # [B], max over n < step of log q(n)
    ended: tf.Tensor  # [B] bool


class LoopState(NamedTuple):
    """State of the attend loop."""

    step: tf.Tensor  # [] int32
    memory: Any  # of the search, [B, ...]
    counting: Counting  # [B]
    results: Any  # StepResult, each [B, T, ...]; () in the unrolled loop


def draw_noise(
    seed: tf.Tensor, batch: tf.Tensor, steps: int, z_what_size: int
) -> Noise:
    """Noise for all attend steps; depends only on `seed`, [2] int32, and shapes."""
    seeds = tf.random.split(seed, 3)
    return Noise(
        presence=tf.random.stateless_uniform([batch, steps], seeds[0]),
        where=tf.random.stateless_normal([batch, steps, 3], seeds[1]),
        what=tf.random.stateless_normal([batch, steps, z_what_size], seeds[2]),
    )


# Draws one object per image: z_where [B, 3] and z_what [B, D] to [B, H, W, C].
DrawObject = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

LOOPS = ("full", "early_stop", "unrolled")
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
        form = _FORMS[type(config.inference)]
        self.search = form(config, composition, dtype=self.dtype_policy)
        self.encoder = GlimpseEncoder(config, dtype=self.dtype_policy)

    def build(self, input_shape):
        config = self._config
        self.search.build(input_shape)
        self.encoder.build((None, *config.glimpse_size, config.image_shape[2]))
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
    ) -> tuple[Inference, tf.Tensor]:
        """Runs the loop.

        Args:
          images: [B, H, W, C] float32.
          ground: [B, H, W, C], the canvas without objects.
          draw: `Generative.draw_object`.
          max_objects: T, a Python int; may differ from the T of training.
          noise: for samples of q; None for posterior means and the most probable
            count.
          loop: one of `LOOPS`.
            "full": T attend steps, as if every object were present.
            "early_stop": ends when every image of the batch has ended. An image ends
            when its sampled z_pres is 0; without noise, when no further attend step
            can change its most probable count. Later steps of an image that has
            ended have the presence logit `ENDED_LOGIT`, so that its result does not
            depend on the other images of the batch.
            "unrolled": as "full", but T copies of the step instead of a
            `tf.while_loop`. Some compilers do not support loops; the others compile
            this to faster code if T is small.

        Returns:
          The inferred latents, and object images [B, T, H, W, C].

        Raises:
          ValueError: for another `loop`.
        """
        if loop not in LOOPS:
            raise ValueError(f"loop is {loop!r}; expected one of {', '.join(LOOPS)}")
        batch = tf.shape(images)[0]

        def cond(state: LoopState) -> tf.Tensor:
            # Images end only with "early_stop": otherwise `ended` stays false.
            return tf.logical_and(
                state.step < max_objects,
                tf.logical_not(tf.reduce_all(state.counting.ended)),
            )

        def advance(state: LoopState) -> tuple[LoopState, StepResult]:
            step_noise = None
            if noise is not None:
                step_noise = tf.nest.map_structure(
                    lambda x: tf.gather(x, state.step, axis=1), noise
                )
            memory, result = self._step(images, state.memory, step_noise, draw)
            counting = state.counting
            if loop == "early_stop":
                logits = tf.where(counting.ended, ENDED_LOGIT, result.presence_logits)
                result = result._replace(presence_logits=logits)
                counting = _update_counting(counting, logits, step_noise)
            new = state._replace(step=state.step + 1, memory=memory, counting=counting)
            return new, result

        def body(state: LoopState) -> tuple[LoopState]:
            new, result = advance(state)
            written = _write(state.results, result, state.step, max_objects)
            return (new._replace(results=written),)

        state = LoopState(
            step=tf.constant(0),
            memory=self.search.start(images, ground),
            counting=Counting(
                log_reached=tf.zeros([batch]),
                log_best=tf.fill([batch], -float("inf")),
                ended=tf.zeros([batch], tf.bool),
            ),
            results=() if loop == "unrolled" else self._buffers(batch, max_objects),
        )
        if loop == "unrolled":
            found = []
            for _ in range(max_objects):
                state, result = advance(state)
                found.append(result)
            results = tf.nest.map_structure(lambda *x: tf.stack(x, axis=1), *found)
        else:
            (state,) = tf.while_loop(
                cond, body, (state,), maximum_iterations=max_objects
            )
            results = state.results
        inference = Inference(
            presence_logits=results.presence_logits,
            z_pres=_z_pres(results.presence_logits, noise),
            q_where_params=results.q_where_params,
            z_where=results.z_where,
            q_what_params=results.q_what_params,
            z_what=results.z_what,
            num_trips=tf.fill([batch], state.step),
        )
        return inference, results.object_image

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
            object_image=buffer(*self._config.image_shape),
        )


def _sample(params: NormalParams, noise: tf.Tensor | None) -> tf.Tensor:
    if noise is None:
        return params.loc
    return params.loc + params.scale * noise


def _update_counting(
    before: Counting, presence_logits: tf.Tensor, noise: Noise | None
) -> Counting:
    """Updates the running values with the presence logits [B] of an attend step."""
    log_absent = tf.math.log_sigmoid(-presence_logits)
    log_best = tf.maximum(before.log_best, before.log_reached + log_absent)
    log_reached = before.log_reached + tf.math.log_sigmoid(presence_logits)
    if noise is None:
        ended = log_best >= log_reached
    else:
        ended = noise.presence >= tf.sigmoid(presence_logits)
    return Counting(log_reached, log_best, tf.logical_or(before.ended, ended))


def _write(buffers, values, step, max_objects):
    """Writes `values` [B, ...] at index `step` of [B, T, ...].

    With a mask instead of a scatter, because all runtimes support it.
    """
    here = tf.one_hot(step, max_objects, on_value=True, off_value=False)  # [T]

    def write(buffer, value):
        mask = tf.reshape(here, [1, max_objects] + [1] * (len(buffer.shape) - 2))
        return tf.where(mask, value[:, tf.newaxis], buffer)

    return tf.nest.map_structure(write, buffers, values)


def _z_pres(presence_logits: tf.Tensor, noise: Noise | None) -> tf.Tensor:
    """A sample of z_pres, or without noise the most probable count: [B, T]."""
    steps = presence_logits.shape[1]
    if noise is None:
        return distributions.unary_code(
            distributions.most_probable_count(presence_logits), steps
        )
    present = tf.cast(noise.presence < tf.sigmoid(presence_logits), tf.float32)
    # Unary code: after the first 0, all steps are 0.
    return tf.cast(tf.cumsum(1.0 - present, axis=1) < 0.5, tf.float32)
