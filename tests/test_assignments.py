"""Objects behind one another, and the errors of all their kinds without canvases."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from air_tf.objectives.assignments import Layers, squared_errors
from air_tf.renderers.occlusion import compose, compose_light, in_front, visible

# Difference of depths at which the nearer object is in front by 3 : 1.
_THREE_TO_ONE = 0.055 * np.log(3.0)


def test_the_order_of_two_objects_is_soft_where_they_are_equally_far():
    depth = tf.constant([[2.0, 2.0 + _THREE_TO_ONE, 9.0]])
    front = in_front(depth)[0].numpy()
    # Row t, column s: how much s is in front of t.
    np.testing.assert_allclose(front[1, 0], 0.75, rtol=1e-5)
    np.testing.assert_allclose(front[0, 1], 0.25, rtol=1e-5)
    np.testing.assert_allclose(front[2, :2], 1.0)
    np.testing.assert_allclose(front + front.T, np.ones((3, 3)), atol=1e-6)


def test_what_is_seen_of_two_objects():
    """One pixel: the first covers 0.4 of it, the second, behind by 3 : 1, 0.8."""
    alpha = tf.constant([0.4, 0.8], shape=[1, 2, 1, 1])
    depth = tf.constant([[2.0, 2.0 + _THREE_TO_ONE]])
    seen = visible(alpha, depth, tf.ones([1, 2])).numpy().ravel()
    # 0.4 (1 - 0.25 * 0.8) and 0.8 (1 - 0.75 * 0.4)
    np.testing.assert_allclose(seen, [0.32, 0.56], rtol=1e-5)
    # Half of the first: 0.2 (1 - 0.25 * 0.8) and 0.8 (1 - 0.75 * 0.2)
    half = visible(alpha, depth, tf.constant([[0.5, 1.0]])).numpy().ravel()
    np.testing.assert_allclose(half, [0.16, 0.68], rtol=1e-5)

    ground = tf.fill([1, 1, 3], 0.1)
    colour = tf.stack([tf.ones([1, 1, 1, 3]), tf.zeros([1, 1, 1, 3])], axis=1)
    canvas = compose(ground, alpha, colour, depth, tf.ones([1, 2]))
    # 0.1 + 0.32 (1 - 0.1) + 0.56 (0 - 0.1)
    np.testing.assert_allclose(canvas[0, 0, 0], 3 * [0.332], rtol=1e-5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_opaque_objects_the_nearer_hides_the_farther(order):
    """A small object on a row of 4 pixels, and one that covers 3 of them."""
    alpha = tf.constant([[[[1.0, 1, 0, 0]], [[0, 1, 1, 1]]]])
    colour = tf.broadcast_to([[[[[0.9]]], [[[0.4]]]]], [1, 2, 1, 4, 3])
    depth = tf.constant([[3.0 + order[0], 3.0 + order[1]]])
    ground = tf.fill([1, 4, 3], 0.2)
    canvas = compose(ground, alpha, colour, depth, tf.ones([1, 2]))
    middle = 0.9 if order == (0, 1) else 0.4
    np.testing.assert_allclose(canvas[0, 0, :, 1], [0.9, middle, 0.4, 0.4], atol=1e-6)
    # Objects that are not present hide nothing.
    alone = compose(ground, alpha, colour, depth, tf.constant([[0.0, 1.0]]))
    np.testing.assert_allclose(alone[0, 0, :, 1], [0.2, 0.4, 0.4, 0.4], atol=1e-6)


def _scene(steps, kinds, batch=2, pixels=5):
    """Objects that are half transparent, at depths where the order is soft."""
    rng = np.random.default_rng(steps)
    alpha = rng.random((batch, steps, kinds, pixels))
    light = alpha[..., None] * rng.uniform(-1, 1, (batch, steps, kinds, pixels, 3))
    front = in_front(tf.constant(rng.uniform(2, 2.2, (batch, steps)), tf.float32))
    layers = Layers(*(tf.constant(x, tf.float32) for x in (alpha, light)), front)
    rest = tf.constant(rng.uniform(-1, 1, (batch, pixels, 3)), tf.float32)
    return rest, layers


def _error_of_canvas(rest, layers, kinds):
    """The squared error [B] of objects 0 .. n - 1 of the given kinds, drawn."""
    n = len(kinds)
    alpha = tf.stack([layers.alpha[:, t, k] for t, k in enumerate(kinds)], axis=1)
    light = tf.stack([layers.light[:, t, k] for t, k in enumerate(kinds)], axis=1)
    present = tf.ones([len(rest), n])
    canvas = compose_light(alpha, light, layers.front[:, :n, :n], present)
    return tf.reduce_sum(tf.square(rest - canvas), axis=[1, 2]).numpy()


@pytest.mark.parametrize("n, kinds", [(1, 3), (2, 3), (3, 3), (4, 2)])
def test_errors_are_those_of_the_canvases(n, kinds):
    rest, layers = _scene(4, kinds)
    errors = squared_errors(rest, layers, n).numpy()
    assert errors.shape == (2, *[kinds] * n)
    for assignment in itertools.product(range(kinds), repeat=n):
        np.testing.assert_allclose(
            errors[(slice(None), *assignment)],
            _error_of_canvas(rest, layers, assignment),
            rtol=1e-4,
        )


def test_the_error_of_no_object_is_that_of_the_ground():
    rest, layers = _scene(2, 3)
    expected = np.square(rest).sum((1, 2))
    np.testing.assert_allclose(squared_errors(rest, layers, 0), expected, rtol=1e-5)


def test_a_canvas_of_all_objects_is_composed_either_way():
    """`compose` and `compose_light` draw the same, also of partly present objects."""
    _, layers = _scene(3, 2)
    rng = np.random.default_rng(0)
    ground = rng.random((1, 5, 3)).astype(np.float32)
    colour = rng.random((2, 3, 1, 5, 3)).astype(np.float32)
    depth, z_pres = (rng.random((2, 3)).astype(np.float32) for _ in range(2))
    alpha = layers.alpha[:, :, 0]
    light = alpha[..., tf.newaxis] * (colour - ground)[:, :, 0]
    whole = compose(ground, alpha[:, :, tf.newaxis], colour, depth, z_pres)
    added = compose_light(alpha, light, in_front(tf.constant(depth)), z_pres)
    np.testing.assert_allclose(whole[:, 0], ground[0] + added, atol=1e-5)


@pytest.mark.parametrize("n, known", [(2, 1), (3, 3), (4, 1), (4, 3)])
def test_the_first_kinds_may_be_known(n, known):
    rest, layers = _scene(4, 3)
    kinds = [np.array([t % 3, 2 - t % 3]) for t in range(known)]  # of both images
    given = [tf.one_hot(kind, 3) for kind in kinds]
    errors = squared_errors(rest, layers, n, given).numpy()
    assert errors.shape == (2, *[3] * (n - known))
    for free in itertools.product(range(3), repeat=n - known):
        for image in range(2):
            assignment = (*(kind[image] for kind in kinds), *free)
            expected = _error_of_canvas(rest, layers, assignment)[image]
            np.testing.assert_allclose(errors[(image, *free)], expected, rtol=1e-4)


@pytest.mark.parametrize("n, known", [(1, 1), (3, 2), (4, 4)])
def test_of_kinds_with_probabilities_it_is_the_mean_error(n, known):
    """The mean over independent kinds, not the error of the mean picture."""
    rest, layers = _scene(4, 2)
    probs = np.random.default_rng(1).dirichlet([1.0, 1.0], (known, 2))
    given = [tf.constant(one, tf.float32) for one in probs]
    every = squared_errors(rest, layers, n).numpy()
    for one in probs:
        every = np.einsum("bk...,bk->b...", every, one)
    errors = squared_errors(rest, layers, n, given)
    np.testing.assert_allclose(errors, every, rtol=1e-4)
