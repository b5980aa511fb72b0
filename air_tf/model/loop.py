"""The attend loop: repeats attend steps until the objects of an image have ended.

What a step does, its memory and its results are those of the model
(`air_tf.model.attend`, `air_tf.model.attend3d`). The loop needs only the presence
logits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from air_tf.model import distributions

# Presence logit of steps after an image has ended: a probability of 4e-44.
ENDED_LOGIT = -100.0
LOOPS = ("full", "early_stop", "unrolled")


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
    results: Any  # of the steps, each [B, T, ...]; () in the unrolled loop


# From the memory and the noise of one step, None or each [B, ...], to the new memory
# and a NamedTuple of results, each [B, ...], with the field `presence_logits`.
Step = Callable[[Any, Any], tuple[Any, Any]]


def repeat(
    step: Step,
    *,
    memory: Any,
    buffers: Callable[[], Any],
    batch: tf.Tensor,
    max_objects: int,
    noise: Any,
    loop: str,
) -> tuple[Any, tf.Tensor]:
    """Runs attend steps.

    Args:
      step: one attend step.
      memory: before the first step, [B, ...].
      buffers: gives the results of steps that are not taken, each [B, T, ...].
      batch: B.
      max_objects: T, a Python int; may differ from the T of training.
      noise: for samples of q, a NamedTuple, each [B, T, ...], with the field
        `presence`, uniform; None for posterior means and the most probable count.
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
      The results of all steps, each [B, T, ...], and the number of attend steps
      taken, [B] int32.

    Raises:
      ValueError: for another `loop`.
    """
    if loop not in LOOPS:
        raise ValueError(f"loop is {loop!r}; expected one of {', '.join(LOOPS)}")

    def cond(state: LoopState) -> tf.Tensor:
        # Images end only with "early_stop": otherwise `ended` stays false.
        return tf.logical_and(
            state.step < max_objects,
            tf.logical_not(tf.reduce_all(state.counting.ended)),
        )

    def advance(state: LoopState) -> tuple[LoopState, Any]:
        step_noise = None
        if noise is not None:
            step_noise = tf.nest.map_structure(
                lambda x: tf.gather(x, state.step, axis=1), noise
            )
        new_memory, result = step(state.memory, step_noise)
        counting = state.counting
        if loop == "early_stop":
            logits = tf.where(counting.ended, ENDED_LOGIT, result.presence_logits)
            result = result._replace(presence_logits=logits)
            counting = _update_counting(counting, logits, step_noise)
        new = state._replace(step=state.step + 1, memory=new_memory, counting=counting)
        return new, result

    def body(state: LoopState) -> tuple[LoopState]:
        new, result = advance(state)
        written = _write(state.results, result, state.step, max_objects)
        return (new._replace(results=written),)

    state = LoopState(
        step=tf.constant(0),
        memory=memory,
        counting=Counting(
            log_reached=tf.zeros([batch]),
            log_best=tf.fill([batch], -float("inf")),
            ended=tf.zeros([batch], tf.bool),
        ),
        results=() if loop == "unrolled" else buffers(),
    )
    if loop == "unrolled":
        found = []
        for _ in range(max_objects):
            state, result = advance(state)
            found.append(result)
        results = tf.nest.map_structure(lambda *x: tf.stack(x, axis=1), *found)
    else:
        (state,) = tf.while_loop(cond, body, (state,), maximum_iterations=max_objects)
        results = state.results
    return results, tf.fill([batch], state.step)


def _update_counting(
    before: Counting, presence_logits: tf.Tensor, noise: Any
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


def unary_presence(presence_logits: tf.Tensor, noise: Any) -> tf.Tensor:
    """A sample of z_pres, or without noise the most probable count: [B, T]."""
    steps = presence_logits.shape[1]
    if noise is None:
        return distributions.unary_code(
            distributions.most_probable_count(presence_logits), steps
        )
    present = tf.cast(noise.presence < tf.sigmoid(presence_logits), tf.float32)
    # Unary code: after the first 0, all steps are 0.
    return tf.cast(tf.cumsum(1.0 - present, axis=1) < 0.5, tf.float32)
