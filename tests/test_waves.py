"""Sums of waves, and their fit to what objects leave to see."""

import numpy as np
import pytest
import tensorflow as tf

from air_tf.model.waves import Waves


def test_waves_are_orthogonal_and_draw_what_they_measure():
    """Of 8 x 12 pixels, 3 x 4 waves; a mean square of 1 each."""
    waves = Waves((8, 12), (3, 4))
    drawn = waves.draw(np.eye(12, dtype=np.float32).reshape(12, 3, 4, 1)).numpy()
    flat = drawn.reshape(12, 96)
    np.testing.assert_allclose(flat @ flat.T, 96 * np.eye(12), atol=1e-4)
    # The first is constant; the second is one half wave along the rows.
    np.testing.assert_allclose(flat[0], 1.0)
    half = 2**0.5 * np.cos(np.pi * (np.arange(12) + 0.5) / 12)
    np.testing.assert_allclose(drawn[1, ..., 0], np.tile(half, (8, 1)), atol=1e-6)
    heights = np.random.default_rng(1).normal(size=(5, 3, 4, 2)).astype(np.float32)
    again = waves.heights(waves.draw(heights))
    np.testing.assert_allclose(again, heights, atol=1e-5)


@pytest.fixture
def scene():
    """A slope from 0.2 to 0.4 with a wave on it, and the same behind an object."""
    down, along = np.mgrid[:20, :20] / 20
    ground = 0.2 + 0.2 * along + 0.05 * np.cos(2 * np.pi * down)
    ground = ground[np.newaxis, ..., np.newaxis].astype(np.float32)
    picture = ground.copy()
    picture[0, 4:12, 5:14] = 0.9
    return ground, picture


_START = np.full((1, 1, 1, 1), 0.3, np.float32)


def test_an_object_does_not_move_the_fit(scene):
    """Least squares would draw a blur of it, which is 0.2 too bright in the mean."""
    ground, picture = scene
    waves = Waves((20, 20), (4, 4))
    blur = waves.draw(waves.heights(picture)).numpy()
    assert np.abs(blur - ground)[0, 4:12, 5:14].mean() > 0.2
    heights, seen = waves.fit(picture, _START, tolerance=0.1, rounds=6)
    found = waves.draw(heights).numpy()
    assert np.abs(found - ground)[picture == ground].max() < 0.02
    assert np.abs(found - ground).max() < 0.05  # behind the object, too
    # All pixels but the 72 of the object count.
    np.testing.assert_allclose(seen, [400 - 72], atol=3)


def test_what_fits_is_fitted_at_once(scene):
    """Without objects, one round is least squares, as far as pixels count."""
    ground, _ = scene
    waves = Waves((20, 20), (20, 20))  # all waves draw all pictures
    heights, seen = waves.fit(ground, ground, tolerance=0.1, rounds=1)
    np.testing.assert_allclose(waves.draw(heights), ground, atol=1e-5)
    np.testing.assert_allclose(seen, [400.0], rtol=1e-6)


def test_weights_are_those_of_welsch():
    """Two of four pixels are off by one and two tolerances, in two channels each."""
    waves = Waves((2, 2), (1, 1))
    picture = np.zeros((1, 2, 2, 2), np.float32)
    picture[0, 0, 0] = 0.06, 0.08
    picture[0, 1, 1] = 0.12, 0.16
    first, second = np.exp(-0.5), np.exp(-2.0)
    start = np.zeros((1, 1, 1, 2), np.float32)
    heights, seen = waves.fit(picture, start, tolerance=0.1, rounds=1)
    np.testing.assert_allclose(seen, [2 + first + second], rtol=1e-6)
    expected = (first * picture[0, 0, 0] + second * picture[0, 1, 1]) / 4
    np.testing.assert_allclose(heights[0, 0, 0], expected, rtol=1e-5)


def test_gradients_pass_the_pixels_that_count(scene):
    """Of the mean: 1 / 400 for each pixel, and none for those of the object."""
    _, picture = scene
    pixels = tf.constant(picture)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        heights, _ = Waves((20, 20), (4, 4)).fit(
            pixels, _START, tolerance=0.1, rounds=6
        )
        mean = heights[0, 0, 0, 0]
    gradient = tape.gradient(mean, pixels).numpy()[0, ..., 0]
    np.testing.assert_allclose(gradient[4:12, 5:14], 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient[15:], 1 / 400, rtol=0.05)
