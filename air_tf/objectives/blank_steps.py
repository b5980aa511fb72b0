"""Finds blank attend steps in the samples, and moves them behind the others.

A blank step counts as an object but draws nothing. In recurrent inference, blank
steps are a local optimum. z_pres is a unary code, so the second object requires a
first one: if the window of step 1 does not find an object, step 1 draws nothing and
step 2 draws the object. The gradient of the bound does not lead out of this optimum.
z_where has no gradient while its window does not touch the object; if it does touch
it, the likelihood moves it away, because step 2 explains the object already.

The samples contain a better explanation: the same objects without the blank step. q
learns it as in the wake phase of reweighted wake-sleep (Bornschein and Bengio 2015,
section 2.2). The bound is computed with the blank step moved behind the other steps.
An auxiliary loss trains the window of the blank step to match that of the step after
it, and trains q(n) on a count without the blank step.

Images without a blank step are unchanged. Requires that objects are added up
(`air_tf.model.composition.Additive`).
"""

import math
from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.composition import Additive
from air_tf.model.likelihood import log_normal
from air_tf.structs import AIROutput, Densities


class WithoutBlanks(NamedTuple):
    """Result of `without_blanks`."""

    output: AIROutput  # with the first blank step of each image moved to the end
    auxiliary_loss: tf.Tensor  # [B], nats: trains q to infer the moved order
    blank: tf.Tensor  # [B, T - 1], 1 at the first blank step of each image


def without_blanks(output: AIROutput, images: tf.Tensor, p: Densities) -> WithoutBlanks:
    """Moves the first blank step of each image to the end.

    An object pays if it raises the log likelihood by more nats than it costs in KL
    and in the prior of the count. Step t is blank if, given the objects before it,

    - its object does not pay without the object of step t + 1,
    - nor with it,
    - and the object of step t + 1 pays without that of step t.

    Args:
      output: of `AIR.call(images, sample=True)`, all T steps taken.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
    """
    if not isinstance(p.composition, Additive):
        raise TypeError("blank steps are only known where objects are added up")
    inference = output.inference
    steps = inference.presence_logits.shape[1]
    if steps == 1:
        none = tf.zeros_like(inference.presence_logits)
        return WithoutBlanks(
            output=output, auxiliary_loss=none[:, 0], blank=none[:, 1:]
        )
    q = distributions.posterior(inference)
    log_count = tf.math.log_softmax(p.count_prior.logits)
    cost = (
        q.where.kl_divergence(p.where_prior)
        + q.what.kl_divergence(p.what_prior)
        + log_count[:-1]
        - log_count[1:]
    )  # [B, T]
    residual = images - output.ground
    blanks = _find_blanks(output.object_image, residual, cost, p.likelihood_scale)
    blank = _first_only(blanks)  # [B, T - 1]

    order = _moves_to_end(blank, steps)  # [B, T, T]
    moved = _reorder(output, order)

    params = inference.q_where_params
    later = distributions.diagonal_normal(
        tf.nest.map_structure(lambda x: tf.stop_gradient(x[:, 1:]), params)
    )
    own = distributions.diagonal_normal(
        tf.nest.map_structure(lambda x: x[:, :-1], params)
    )
    # At other steps, the divergence may be infinite, and infinity times 0 is NaN.
    where_loss = tf.where(blank > 0.0, later.kl_divergence(own), 0.0)  # [B, T - 1]

    step = tf.range(1, steps, dtype=tf.float32)
    position = tf.cast(tf.reduce_sum(blank * step, axis=1), tf.int32)  # [B], or 0
    count = distributions.most_probable_count(inference.presence_logits)
    better = tf.where(count > position, count - 1, position)
    log_probs = distributions.log_count_probs(inference.presence_logits)
    count_loss = -tf.gather(log_probs, better, axis=1, batch_dims=1)
    count_loss = tf.where(position > 0, count_loss, 0.0)
    return WithoutBlanks(
        output=moved,
        auxiliary_loss=tf.reduce_sum(where_loss, axis=1) + count_loss,
        blank=blank,
    )


def _find_blanks(
    object_image: tf.Tensor,
    residual: tf.Tensor,
    cost: tf.Tensor,
    likelihood_scale: float,
) -> tf.Tensor:
    """1 for blank steps among steps 1 .. T - 1, else 0: [B, T - 1]."""
    steps, pixels = object_image.shape[1], math.prod(residual.shape[1:])
    objects = tf.unstack(tf.reshape(object_image, [-1, steps, pixels]), axis=1)
    residual = tf.reshape(residual, [-1, pixels])
    with_none = log_normal(residual, likelihood_scale)
    blanks = []
    for t in range(steps - 1):
        own, later = objects[t], objects[t + 1]
        with_own = log_normal(residual - own, likelihood_scale)
        with_later = log_normal(residual - later, likelihood_scale)
        with_both = log_normal(residual - own - later, likelihood_scale)
        blanks.append(
            (with_own - with_none < cost[:, t])
            & (with_both - with_later < cost[:, t])
            & (with_later - with_none > cost[:, t + 1])
        )
        residual, with_none = residual - own, with_own
    return tf.stop_gradient(tf.cast(tf.stack(blanks, axis=1), tf.float32))


def _first_only(mask: tf.Tensor) -> tf.Tensor:
    """Keeps the first 1 of every row of [B, K]; the others become 0."""
    return mask * tf.cast(tf.cumsum(mask, axis=1, exclusive=True) < 0.5, tf.float32)


def _moves_to_end(blank: tf.Tensor, steps: int) -> tf.Tensor:
    """Permutation matrices that move the marked step to the end.

    Args:
      blank: [B, T - 1], at most one 1 in a row; rows of 0 give the identity.
      steps: T.

    Returns:
      [B, T, T].
    """
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
    """Permutes the objects; presence logits and z_pres keep their positions."""

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
