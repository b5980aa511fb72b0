"""Inference, q(z | x): attend, infer, repeat.

Step t looks at the image with what it remembers, says whether there is one
more object (z_pres_t) and in which window (z_where_t), reads the glimpse in
that window and encodes it (z_what_t) (Eslami et al. 2016, section 2.2 and
figure 2). What it remembers makes the form: an LSTM's state (`recurrent`), or
what has been drawn so far (`difference`).
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from air_tf.config import AIRConfig
from air_tf.model import distributions, networks, spatial
from air_tf.structs import Inference, NormalParams

# The presence logit of the steps that an image no longer takes: p = 4e-44.
ENDED_LOGIT = -100.0


class Noise(NamedTuple):
    """Standard random numbers that turn the parameters of q into samples."""

    presence: tf.Tensor  # [B, T], uniform
    where: tf.Tensor  # [B, T, 3], normal
    what: tf.Tensor  # [B, T, D], normal


class StepResult(NamedTuple):
    """One attend step; also, with an axis T, the buffers that collect them."""

    presence_logits: tf.Tensor  # [B]
    q_where_params: NormalParams  # [B, 3]
    z_where: tf.Tensor  # [B, 3]
    q_what_params: NormalParams  # [B, D]
    z_what: tf.Tensor  # [B, D]
    object_image: tf.Tensor  # [B, H, W, C], what is drawn of them


class Counting(NamedTuple):
    """What decides whether an image has ended."""

    log_reached: tf.Tensor  # [B], log q(n >= step)
    log_best: tf.Tensor  # [B], max over n < step of log q(n)
    ended: tf.Tensor  # [B] bool


class Search(NamedTuple):
    """Where a step looks."""

    presence_logits: tf.Tensor  # [B]
    q_where_params: NormalParams  # [B, 3]
    source: tf.Tensor  # [B, H, W, C], what the glimpse is read from
    memory: Any  # of the form, [B, ...]


class LoopState(NamedTuple):
    step: tf.Tensor  # [] int32
    memory: Any  # of the form, [B, ...]
    counting: Counting  # [B]
    results: Any  # StepResult, each [B, T, ...]; of copies of the step, none


def draw_noise(
    seed: tf.Tensor, batch: tf.Tensor, steps: int, z_what_size: int
) -> Noise:
    """Noise for [batch, steps] that depends on `seed` ([2] int32) alone."""
    seeds = tf.random.split(seed, 3)
    return Noise(
        presence=tf.random.stateless_uniform([batch, steps], seeds[0]),
        where=tf.random.stateless_normal([batch, steps, 3], seeds[1]),
        what=tf.random.stateless_normal([batch, steps, z_what_size], seeds[2]),
    )


# Draws an object of z_where [B, 3] and z_what [B, D] alone: [B, H, W, C].
Draw = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Attend(keras.layers.Layer, abc.ABC):
    """The attend loop, whatever its steps remember."""

    def __init__(self, config: AIRConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        self._make_look()
        self._encoder = networks.GlimpseEncoder(
            hidden_units=config.encoder_units,
            z_what_size=config.z_what_size,
            dtype=self.dtype_policy,
        )

    def build(self, image_shape):
        del image_shape
        config = self._config
        self._build_look()
        self._encoder.build((None, *config.glimpse_size, config.image_shape[2]))

    @abc.abstractmethod
    def _make_look(self) -> None:
        """Makes the networks that say where to look."""

    @abc.abstractmethod
    def _build_look(self) -> None:
        """Builds them."""

    @abc.abstractmethod
    def _look(self, images: tf.Tensor) -> Any:
        """What is the same on every step."""

    @abc.abstractmethod
    def _initial_memory(self, images: tf.Tensor, look: Any) -> Any:
        """What the first step remembers."""

    @abc.abstractmethod
    def _search(self, images: tf.Tensor, look: Any, memory: Any) -> Search:
        """Whether there is one more object, and its window."""

    @abc.abstractmethod
    def _remember(self, memory: Any, result: StepResult) -> Any:
        """Memory after the object that was found."""

    def call(
        self,
        images: tf.Tensor,
        *,
        draw: Draw,
        max_objects: int,
        noise: Noise | None,
        stop_early: bool,
        unroll: bool = False,
    ) -> tuple[Inference, tf.Tensor]:
        """Runs the loop.

        Args:
          images: [B, H, W, C] float32.
          draw: the decoder.
          max_objects: T, static; need not be the T of training.
          noise: for samples of q; None for its means and the most probable
            count.
          stop_early: ends as soon as every image has ended: its sampled
            z_pres is 0, or without noise its most probable count can't change
            any more. Steps that an image does not take have presence logit
            `ENDED_LOGIT`, so that its result is the same in every batch.
            Without, all T steps are taken as if every object were present.
          unroll: T copies of the step instead of a loop, which compilers
            that can't do loops need and others make faster code of while T is
            small; they can't stop early.

        Returns:
          What was found, and each object alone, [B, T, H, W, C].

        Raises:
          ValueError: for `unroll` with `stop_early`.
        """
        if unroll and stop_early:
            raise ValueError("an unrolled loop can't stop early")
        batch = tf.shape(images)[0]
        look = self._look(images)

        def cond(state: LoopState) -> tf.Tensor:
            # Without stop_early no image ever ends.
            return tf.logical_and(
                state.step < max_objects,
                tf.logical_not(tf.reduce_all(state.counting.ended)),
            )

        def step_on(state: LoopState) -> tuple[LoopState, StepResult]:
            step_noise = None
            if noise is not None:
                step_noise = tf.nest.map_structure(
                    lambda x: tf.gather(x, state.step, axis=1), noise
                )
            memory, result = self._step(images, look, state.memory, step_noise, draw)
            counting = state.counting
            if stop_early:
                logits = tf.where(counting.ended, ENDED_LOGIT, result.presence_logits)
                result = result._replace(presence_logits=logits)
                counting = _count_on(counting, logits, step_noise)
            new = state._replace(step=state.step + 1, memory=memory, counting=counting)
            return new, result

        def body(state: LoopState) -> tuple[LoopState]:
            new, result = step_on(state)
            return (
                new._replace(
                    results=_write(state.results, result, state.step, max_objects)
                ),
            )

        state = LoopState(
            step=tf.constant(0),
            memory=self._initial_memory(images, look),
            counting=Counting(
                log_reached=tf.zeros([batch]),
                log_best=tf.fill([batch], -float("inf")),
                ended=tf.zeros([batch], tf.bool),
            ),
            results=() if unroll else self._buffers(batch, max_objects),
        )
        if unroll:
            found = []
            for _ in range(max_objects):
                state, result = step_on(state)
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

    def _step(self, images, look, memory, noise, draw):
        """One attend step, [B, ...]: new memory and what was found."""
        search = self._search(images, look, memory)
        q_where = search.q_where_params
        z_where = _sample(q_where, noise and noise.where)  # [B, 3]
        glimpse = spatial.extract_glimpses(
            search.source, z_where, self._config.glimpse_size
        )
        q_what = self._encoder(glimpse)
        z_what = _sample(q_what, noise and noise.what)  # [B, D]
        result = StepResult(
            presence_logits=search.presence_logits,
            q_where_params=q_where,
            z_where=z_where,
            q_what_params=q_what,
            z_what=z_what,
            object_image=draw(z_where, z_what),
        )
        return self._remember(search.memory, result), result

    def _buffers(self, batch, max_objects) -> StepResult:
        """[B, T, ...], as of steps that are not taken."""
        code = self._config.z_what_size

        def buffer(*shape, value=0.0):
            return tf.fill([batch, max_objects, *shape], value)

        def normal(size):
            # 1 rather than 0: a scale that a Normal accepts.
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


def _count_on(
    before: Counting, presence_logits: tf.Tensor, noise: Noise | None
) -> Counting:
    """After one more step, of presence logits [B]."""
    log_absent = tf.math.log_sigmoid(-presence_logits)
    log_best = tf.maximum(before.log_best, before.log_reached + log_absent)
    log_reached = before.log_reached + tf.math.log_sigmoid(presence_logits)
    if noise is None:
        ended = log_best >= log_reached
    else:
        ended = noise.presence >= tf.sigmoid(presence_logits)
    return Counting(log_reached, log_best, tf.logical_or(before.ended, ended))


def _write(buffers, values, step, max_objects):
    """Writes step `step` of [B, T, ...] with a mask, which every runtime has."""
    here = tf.one_hot(step, max_objects, on_value=True, off_value=False)  # [T]

    def write(buffer, value):
        mask = tf.reshape(here, [1, max_objects] + [1] * (len(buffer.shape) - 2))
        return tf.where(mask, value[:, tf.newaxis], buffer)

    return tf.nest.map_structure(write, buffers, values)


def _z_pres(presence_logits: tf.Tensor, noise: Noise | None) -> tf.Tensor:
    """[B, T]: a sample of z_pres, or the most probable count in unary code."""
    steps = presence_logits.shape[1]
    if noise is None:
        return distributions.unary_code(
            distributions.most_probable_count(presence_logits), steps
        )
    present = tf.cast(noise.presence < tf.sigmoid(presence_logits), tf.float32)
    # Present as long as no step before was absent.
    return tf.cast(tf.cumsum(1.0 - present, axis=1) < 0.5, tf.float32)
