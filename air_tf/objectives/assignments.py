"""Squared errors of all assignments of kinds to objects, without canvases.

The canvas of n objects of given kinds is, relative to the ground, the sum over objects
of their light, each seen through the objects in front of it:

    sum over t of C_t prod over s != t of U_ts,    U_ts = 1 - front_ts alpha_s.

Every factor belongs to one object, so the square of the image minus this sum is a sum
of products of factors of single objects: the K^n errors are inner products over pixels.
For the mean error over independent kinds, every factor is replaced by its mean.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Of more objects, the first ones have only their most probable kinds.
MAX_SUMMED = 3
_AXES = "klmnop"


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
    # What object s leaves to see of object t: [B, K, P].
    through = {
        (t, s): 1.0 - front[:, t, s, tf.newaxis, tf.newaxis] * objects[s].alpha
        for t, s in itertools.permutations(range(n), 2)
    }
    for t, one in enumerate(objects):
        square = one.mean(tf.reduce_sum(tf.square(one.light), axis=-1))  # [B, k, P]
        cross = one.mean(tf.einsum("bpc,bkpc->bkp", rest, one.light))
        others = [s for s in range(n) if s != t]
        if not others:
            return error + tf.reduce_sum(square - 2.0 * cross, axis=-1)
        error += _products(
            {t: square} | {s: objects[s].mean(through[t, s] ** 2) for s in others}
        )
        error -= 2.0 * _products(
            {t: cross} | {s: objects[s].mean(through[t, s]) for s in others}
        )
    for t, s in itertools.combinations(range(n), 2):
        first = objects[t].mean(objects[t].light * through[s, t][..., tf.newaxis])
        second = objects[s].mean(objects[s].light * through[t, s][..., tf.newaxis])
        others = [u for u in range(n) if u not in (t, s)]
        if not others:
            return error + 2.0 * tf.einsum("bkpc,blpc->bkl", first, second)
        both = tf.einsum("bkpc,blpc->bklp", first, second)
        error += 2.0 * _products(
            {u: objects[u].mean(through[t, u] * through[s, u]) for u in others},
            pair=(t, s, both),
        )
    return error


def _products(
    factors: dict[int, tf.Tensor], pair: tuple[int, int, tf.Tensor] | None = None
) -> tf.Tensor:
    """The sum over pixels of products: an axis for every object, in their order.

    Args:
      factors: for an object, [B, k, P].
      pair: two more objects and their common factor [B, k, l, P].
    """
    order = sorted(factors)
    if pair is None:
        first = order.pop(0)
        product, axes = factors[first], _AXES[first]
    else:
        product, axes = pair[2], _AXES[pair[0]] + _AXES[pair[1]]
    while order:
        index = order.pop(0)
        axis = _AXES[index]
        kept = "z" if order else ""
        formula = f"b{axes}z,b{axis}z->b{axes}{axis}{kept}"
        product = tf.einsum(formula, product, factors[index])
        axes += axis
    positions = [axes.index(axis) for axis in sorted(axes)]
    return tf.transpose(product, [0, *(1 + p for p in positions)])
