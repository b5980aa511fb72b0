"""Explains one object of an image again, from what the others leave.

The attend loop explains first what it sees first, and sees all objects that are not
explained yet: two that touch in one colour can look like a single one. Once the others
are drawn, what is left is closer to one object. So one object is removed, and one more
attend step looks for an object. It may find the same one, drawn better, or another one;
of an image with fewer objects, it may find one that was overlooked. The step looks
where an object is most likely, or where the image is explained least: an object that
the search overlooks stays unlikely to it.

An object whose middle is hidden can be explained as two. To merge them, the object that
matters least is removed, too, so that the new one sees what both explained.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.attend import Attend
from air_tf.model.generative import Generative
from air_tf.model.search import StepResult
from air_tf.structs import AIROutput


def revise(
    images: tf.Tensor,
    output: AIROutput,
    position: int,
    *,
    kind: str,
    attend: Attend,
    generative: Generative,
) -> AIROutput:
    """Removes an object, and looks for one that is explained by what the others leave.

    The new object comes after the present ones, before the absent ones.

    Args:
      images: [B, H, W, C], float in [0, 1].
      output: of `AIR.call`; its `z_pres` says which objects are present.
      position: of the object that is removed, from 0 to T - 1. The step of
        an absent object is replaced by one more object.
      kind: one of `air_tf.model.proposals.KINDS`. "likely" looks where an object is
        most likely, "least_explained" where the image is explained least. "merge" does
        the latter after the object that matters least is removed; the positions are
        those of what is left then.
      attend: q(z | x), of the difference form.
      generative: p(x, z).

    Returns:
      The explanation in which the others and the new object are present; `num_trips` is
      the one attend step that this took.
    """
    if kind == "merge":
        output = without_least(images, output, generative)
    inference = output.inference
    steps = inference.presence_logits.shape[1]
    index = [step for step in range(steps) if step != position]

    def without(x: tf.Tensor) -> tf.Tensor:
        return tf.gather(x, index, axis=1)  # [B, T - 1, ...]

    others, present = tf.nest.map_structure(without, (_steps(output), inference.z_pres))
    # What an absent object would look like hides nothing.
    drawn = others.object_image * present[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
    found = attend.next_object(
        images,
        ground=output.ground,
        layers=drawn,
        draw=generative.draw_object,
        least_explained=kind != "likely",
    )
    place = tf.cast(tf.reduce_sum(present, axis=1), tf.int32)  # [B]
    new = tf.nest.map_structure(lambda x, one: _insert(x, one, place), others, found)
    return _with_steps(output, new, place + 1, generative)


def without_least(
    images: tf.Tensor, output: AIROutput, generative: Generative
) -> AIROutput:
    """Removes the present object without which the error grows least.

    Args:
      images: [B, H, W, C].
      output: see `revise`; without a present object, it stays as it is.
      generative: p(x, z).

    Returns:
      The explanation in which the others are present; the removed object is the last.
    """
    z_pres = output.inference.z_pres
    steps = z_pres.shape[1]
    errors = []
    for step in range(steps):
        others = z_pres * (1.0 - np.eye(steps, dtype=np.float32)[step])
        canvas = generative.compose(output.object_image, others, output.ground)
        error = tf.reduce_sum(tf.square(images - canvas), axis=[1, 2, 3])  # [B]
        errors.append(tf.where(z_pres[:, step] > 0.0, error, error.dtype.max))
    least = tf.argmin(tf.stack(errors, axis=1), axis=1, output_type=tf.int32)  # [B]
    left = tf.nest.map_structure(lambda x: _move_last(x, least), _steps(output))
    count = tf.cast(tf.reduce_sum(z_pres, axis=1), tf.int32)
    return _with_steps(output, left, tf.maximum(count - 1, 0), generative)


def _steps(output: AIROutput) -> StepResult:
    """The results of all attend steps, [B, T, ...]."""
    inference = output.inference
    return StepResult(
        presence_logits=inference.presence_logits,
        q_where_params=inference.q_where_params,
        z_where=inference.z_where,
        q_what_params=inference.q_what_params,
        z_what=inference.z_what,
        object_image=output.object_image,
    )


def _with_steps(
    output: AIROutput, results: StepResult, count: tf.Tensor, generative: Generative
) -> AIROutput:
    """The explanation by other objects, of which the first `count` [B] are present."""
    values: dict[str, Any] = results._asdict()
    object_image = values.pop("object_image")
    z_pres = distributions.unary_code(count, object_image.shape[1])
    inference = output.inference._replace(
        **values, z_pres=z_pres, num_trips=tf.ones_like(count)
    )
    return output._replace(
        inference=inference,
        object_image=object_image,
        canvas=generative.compose(object_image, z_pres, output.ground),
    )


def _move_last(x: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Moves what is at index `place` [B] of [B, T, ...] behind the others."""
    moved = tf.gather(x, place, axis=1, batch_dims=1)
    left = tf.where(_before(place, x[:, 1:]), x[:, :-1], x[:, 1:])
    return tf.concat([left, moved[:, tf.newaxis]], axis=1)


def _insert(x: tf.Tensor, new: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Inserts `new` [B, ...] at index `place` [B] of [B, T - 1, ...]: [B, T, ...]."""
    new = new[:, tf.newaxis]
    front, back = tf.concat([x, new], axis=1), tf.concat([new, x], axis=1)
    there = tf.where(_before(place + 1, back), new, back)
    return tf.where(_before(place, front), front, there)


def _before(place: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Which of the steps of `x` [B, T, ...] are before `place` [B]: [B, T, 1, ...]."""
    steps = x.shape[1]
    before = tf.range(steps) < place[:, tf.newaxis]
    return tf.reshape(before, [-1, steps] + [1] * (len(x.shape) - 2))
