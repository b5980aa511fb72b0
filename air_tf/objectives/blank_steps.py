"""A way out for inference that spends a step on nothing.

z_pres is a unary code: to reach a second object, inference must say that it
sees a first. Where the first window has not learnt to look, it draws a blank
there and leaves the object to the second, and the bound has no way out:
without overlap between a window and an object z_where has no gradient, and
wherever the window comes near, the object that is drawn already drives it off.

But the samples at hand contain a better explanation: the same objects without
the blank. As in the wake phase of reweighted wake-sleep (Bornschein and Bengio
2015, section 2.2), q is drawn towards it. The blank goes behind the other
objects, the bound is taken in that order, and q learns it: the window of the
blank step from the window that took its place, and the count from one less.

Where no step is blank, nothing is changed.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.objectives.bound import log_normal
from air_tf.structs import AIROutput, Densities


class WithoutBlanks(NamedTuple):
    output: AIROutput  # the first blank step of each image behind the others
    lesson: tf.Tensor  # [B], nats: what q still has to learn of that order
    blank: tf.Tensor  # [B, T - 1], 1 at the first blank step of each image


def without_blanks(output: AIROutput, images: tf.Tensor, p: Densities) -> WithoutBlanks:
    """Moves the first blank step of each image behind the others.

    An object pays if it explains more of the image than it costs in KL and in
    the prior of the count. Step t is blank if, after the objects before it, its
    own object does not pay, neither alone nor beside that of step t + 1, while
    that of step t + 1 does.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, as `AIR.densities` gives it.
    """
    inference = output.inference
    steps = inference.presence_logits.shape[1]
    if steps == 1:
        none = tf.zeros_like(inference.presence_logits)
        return WithoutBlanks(output=output, lesson=none[:, 0], blank=none[:, 1:])
    q = distributions.posterior(inference)
    log_count = tf.math.log_softmax(p.count_prior.logits)
    cost = (
        q.where.kl_divergence(p.where_prior)
        + q.what.kl_divergence(p.what_prior)
        + log_count[:-1]
        - log_count[1:]
    )  # [B, T]
    blank = _first(_find_blanks(output.object_image, images, cost, p.likelihood_scale))

    order = _behind_the_others(blank, steps)  # [B, T, T]
    moved = _reorder(output, order)

    params = inference.q_where_params
    later = distributions.diagonal_normal(
        tf.nest.map_structure(lambda x: tf.stop_gradient(x[:, 1:]), params)
    )
    own = distributions.diagonal_normal(
        tf.nest.map_structure(lambda x: x[:, :-1], params)
    )
    # Elsewhere the divergence may be huge: chosen, not multiplied by 0.
    where_lesson = tf.where(blank > 0.0, later.kl_divergence(own), 0.0)  # [B, T - 1]

    step = tf.range(1, steps, dtype=tf.float32)
    position = tf.cast(tf.reduce_sum(blank * step, axis=1), tf.int32)  # [B], 0: none
    count = distributions.most_probable_count(inference.presence_logits)
    better = tf.where(count > position, count - 1, position)
    log_probs = distributions.log_count_probs(inference.presence_logits)
    count_lesson = -tf.gather(log_probs, better, axis=1, batch_dims=1)
    count_lesson = tf.where(position > 0, count_lesson, 0.0)
    return WithoutBlanks(
        output=moved,
        lesson=tf.reduce_sum(where_lesson, axis=1) + count_lesson,
        blank=blank,
    )


def _find_blanks(object_image, images, cost, likelihood_scale) -> tf.Tensor:
    """Whether steps 1 .. T - 1 are blank: [B, T - 1] of 0 and 1."""
    steps, pixels = object_image.shape[1], math.prod(images.shape[1:])
    objects = tf.unstack(tf.reshape(object_image, [-1, steps, pixels]), axis=1)
    left = tf.reshape(images, [-1, pixels])  # still unexplained
    nothing = log_normal(left, likelihood_scale)
    blanks = []
    for t in range(steps - 1):
        own, later = objects[t], objects[t + 1]
        with_own = log_normal(left - own, likelihood_scale)
        with_later = log_normal(left - later, likelihood_scale)
        with_both = log_normal(left - own - later, likelihood_scale)
        blanks.append(
            (with_own - nothing < cost[:, t])
            & (with_both - with_later < cost[:, t])
            & (with_later - nothing > cost[:, t + 1])
        )
        left, nothing = left - own, with_own
    return tf.stop_gradient(tf.cast(tf.stack(blanks, axis=1), tf.float32))


def _first(mask: tf.Tensor) -> tf.Tensor:
    """Only the first 1 of every row."""
    return mask * tf.cast(tf.cumsum(mask, axis=1, exclusive=True) < 0.5, tf.float32)


def _behind_the_others(blank: tf.Tensor, steps: int) -> tf.Tensor:
    """Permutations [B, T, T] that move the marked step to the end."""
    stay = tf.eye(steps)
    moves = tf.stack(
        [
            tf.gather(stay, [*range(t), *range(t + 1, steps), t])
            for t in range(steps - 1)
        ]
    )  # [T - 1, T, T]
    marked = tf.reduce_sum(blank, axis=1)[:, tf.newaxis, tf.newaxis]
    return tf.einsum("bk,kst->bst", blank, moves) + (1.0 - marked) * stay


def _reorder(output: AIROutput, order: tf.Tensor) -> AIROutput:
    """Objects in another order; presence belongs to the place, not the object."""

    def reorder(x):
        flat = tf.reshape(x, [tf.shape(x)[0], x.shape[1], -1])
        return tf.reshape(tf.matmul(order, flat), tf.shape(x))

    inference = output.inference
    moved = {
        name: tf.nest.map_structure(reorder, getattr(inference, name))
        for name in ("q_where_params", "z_where", "q_what_params", "z_what")
    }
    return output._replace(
        inference=inference._replace(**moved),
        object_image=tf.ensure_shape(
            reorder(output.object_image), output.object_image.shape
        ),
    )
