"""Squared errors of all assignments of kinds to objects, without canvases.

The canvas of n objects of given kinds is, relative to the ground, the sum over objects
of their light, each seen through the objects in front of it:

    sum over t of C_t prod over s != t of U_ts,    U_ts = 1 - front_ts alpha_s.

Every factor belongs to one object, so the square of the image minus this sum is a sum
of products of factors of single objects: the K^n errors are inner products over pixels.
For the mean error over independent kinds, every factor is replaced by its mean.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Of more objects, the first ones have only their most probable kinds.
MAX_SUMMED = 3


class Layers(NamedTuple):
    """Rendered objects: every attend step as every kind. P pixels."""

    alpha: tf.Tensor  # [B, T, K, P]
    light: tf.Tensor  # [B, T, K, P, 3], alpha (colour - ground)
    front: tf.Tensor  # [B, t, s], how much object s is in front of object t


def squared_errors(
    rest: tf.Tensor,
    layers: Layers,
    num_objects: int,
    kind_probs: Sequence[tf.Tensor] = (),
) -> tf.Tensor:
    """Squared error of the first n objects, summed over pixels, for all their kinds.

    Args:
      rest: [B, P, 3], the image minus the ground.
      layers: of at least n objects.
      num_objects: n.
      kind_probs: of the first objects, [B, K] each: probabilities of their kinds, over
        which the mean error is taken; 1 for a kind that is known.

    Returns:
      [B, K, .., K], an axis for every further object.
    """
    given = [*kind_probs, *[None] * (num_objects - len(kind_probs))]
    objects = [
        _Object(layers.alpha[:, t], layers.light[:, t], probs)
        for t, probs in enumerate(given)
    ]
    errors = _errors(rest, objects, layers.front)
    # Without the axes of length 1 of the objects whose kinds have probabilities.
    kinds, free = layers.alpha.shape[2], num_objects - len(kind_probs)
    return tf.reshape(errors, [-1] + [kinds] * free)


class _Object(NamedTuple):
    alpha: tf.Tensor  # [B, K, P]
    light: tf.Tensor  # [B, K, P, 3]
    probs: tf.Tensor | None  # [B, K], or None for an axis of all kinds

    def mean(self, factor: tf.Tensor) -> tf.Tensor:
        """A factor of this object, [B, K, ...], or its mean, [B, 1, ...]."""
        if self.probs is None:
            return factor
        return tf.einsum("bk...,bk->b...", factor, self.probs)[:, tf.newaxis]


def _errors(rest: tf.Tensor, objects: Sequence[_Object], front: tf.Tensor) -> tf.Tensor:
    """[B, k, .., k], with an axis of length 1 where the mean is taken."""
    n = len(objects)
    error = tf.reduce_sum(tf.square(rest), axis=[1, 2])
    error = tf.reshape(error, [-1] + [1] * n)
    if not n:
        return error
    # What object s leaves to see of object t: [B, K, P].
    through = {
        (t, s): 1.0 - front[:, t, s, tf.newaxis, tf.newaxis] * objects[s].alpha
        for t, s in itertools.permutations(range(n), 2)
    }
    # Pixels last, which is much faster: [B, K, 3, P].
    lights = [tf.einsum("bkpc->bkcp", one.light) for one in objects]
    # For each object, its factors of all products, [B, k, P or 3 P].
    factors: list[list[tf.Tensor]] = [[] for _ in objects]

    def add(of_objects: dict[int, tf.Tensor]) -> None:
        for t, factor in of_objects.items():
            factors[t].append(objects[t].mean(factor))

    for t, light in enumerate(lights):
        others = [s for s in range(n) if s != t]
        square = tf.reduce_sum(tf.square(light), axis=2)
        cross = tf.einsum("bpc,bkcp->bkp", rest, light)
        add({t: square} | {s: through[t, s] ** 2 for s in others})
        add({t: -2.0 * cross} | {s: through[t, s] for s in others})
    for t, s in itertools.combinations(range(n), 2):
        both = {
            t: 2.0 * lights[t] * through[s, t][:, :, tf.newaxis],
            s: lights[s] * through[t, s][:, :, tf.newaxis],
        }
        for u in range(n):
            if u not in both:
                hidden = through[t, u] * through[s, u]
                both[u] = tf.repeat(hidden[:, :, tf.newaxis], 3, axis=2)
        add({u: _flat(factor) for u, factor in both.items()})
    return error + _sum_of_products([tf.concat(one, axis=2) for one in factors])


def _flat(factor: tf.Tensor) -> tf.Tensor:
    """[B, K, 3, P] to [B, K, 3 P]."""
    return tf.reshape(factor, [-1, factor.shape[1], 3 * factor.shape[3]])


def _sum_of_products(factors: Sequence[tf.Tensor]) -> tf.Tensor:
    """The sum over the last axis: n times [B, k, Q] to [B, k, .., k]."""
    *first, last = factors
    kinds, size = [one.shape[1] for one in factors], last.shape[2]
    product = tf.ones_like(last[:, :1])  # [B, 1, Q]
    for one in first:
        product = product[:, :, tf.newaxis] * one[:, tf.newaxis]
        product = tf.reshape(product, [-1, math.prod(product.shape[1:3]), size])
    return tf.reshape(tf.matmul(product, last, transpose_b=True), [-1, *kinds])
