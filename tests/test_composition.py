"""How objects make up a canvas, in hand-set numbers."""

import numpy as np
import pytest
import tensorflow as tf

from air_tf.model.composition import Additive

# One image of 1 x 2 pixels on a ground of 0.1; three objects.
GROUND = tf.fill([1, 1, 2, 1], 0.1)
OBJECTS = tf.reshape(tf.constant([0.2, 0.0, 0.0, 0.3, 0.4, 0.4]), [1, 3, 1, 2, 1])


@pytest.mark.parametrize(
    "z_pres, expected",
    [
        ([0.0, 0.0, 0.0], [0.1, 0.1]),
        ([1.0, 0.0, 0.0], [0.3, 0.1]),
        ([1.0, 1.0, 0.0], [0.3, 0.4]),
        ([1.0, 1.0, 0.5], [0.5, 0.6]),
    ],
)
def test_objects_add_light_to_the_ground(z_pres, expected):
    canvas = Additive().compose(GROUND, OBJECTS, tf.constant([z_pres]))
    np.testing.assert_allclose(tf.reshape(canvas, [-1]), expected, rtol=1e-6)


def test_prefixes_grow_by_one_object():
    z_pres = tf.constant([[1.0, 1.0, 0.0]])
    canvases = Additive().prefix_canvases(GROUND, OBJECTS, z_pres)
    expected = [[0.1, 0.1], [0.3, 0.1], [0.3, 0.4], [0.3, 0.4]]
    np.testing.assert_allclose(tf.reshape(canvases, [4, 2]), expected, rtol=1e-6)


def test_residuals_are_what_the_prefixes_leave():
    image = tf.reshape(tf.constant([1.0, 0.5]), [1, 1, 2, 1])
    canvases = Additive().prefix_canvases(GROUND, OBJECTS, tf.ones([1, 3]))
    residuals = list(Additive().residuals(image, GROUND, OBJECTS))
    assert len(residuals) == 4
    for n, residual in enumerate(residuals):
        np.testing.assert_allclose(residual, image - canvases[:, n], atol=1e-6)


def test_adding_one_by_one_is_composing():
    composition, canvas = Additive(), GROUND
    for n in range(3):
        canvas = composition.add(canvas, OBJECTS[:, n])
    together = composition.compose(GROUND, OBJECTS, tf.ones([1, 3]))
    np.testing.assert_allclose(canvas, together, rtol=1e-6)
