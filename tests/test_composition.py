"""How objects make up a canvas, in hand-set numbers."""

import numpy as np
import pytest
import tensorflow as tf

from air_tf.model.composition import Additive, Alpha

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


# Alpha, by hand: the nearest object is red and covers half of the left pixel; the one
# behind it is white and covers all of both.
_RED, _WHITE = [0.5, 0.0, 0.0, 0.5], [1.0, 1.0, 1.0, 1.0]  # light times alpha, alpha
_NOTHING = [0.0, 0.0, 0.0, 0.0]
_LAYERS = tf.reshape(tf.constant([_RED, _NOTHING, _WHITE, _WHITE]), [1, 2, 1, 2, 4])
_GREY = tf.fill([1, 1, 2, 3], 0.2)
_PREFIXES = [
    [[0.2, 0.2, 0.2], [0.2, 0.2, 0.2]],
    [[0.6, 0.1, 0.1], [0.2, 0.2, 0.2]],  # 0.5 red + 0.5 grey
    [[1.0, 0.5, 0.5], [1.0, 1.0, 1.0]],  # 0.5 red + 0.5 white; nothing of the ground
]


def test_earlier_objects_hide_later_ones_and_the_ground():
    alpha, ones = Alpha(), tf.ones([1, 2])
    found = alpha.prefix_canvases(_GREY, _LAYERS, ones)
    np.testing.assert_allclose(found[0, :, 0], _PREFIXES, atol=1e-6)
    np.testing.assert_allclose(alpha.compose(_GREY, _LAYERS, ones), found[:, -1])
    first = alpha.compose(_GREY, _LAYERS, tf.constant([[1.0, 0.0]]))
    np.testing.assert_allclose(first, found[:, 1], atol=1e-6)


def test_residuals_by_alpha_are_what_the_prefixes_leave():
    image = tf.random.stateless_uniform([1, 1, 2, 3], [0, 1])
    canvases = Alpha().prefix_canvases(_GREY, _LAYERS, tf.ones([1, 2]))
    residuals = list(Alpha().residuals(image, _GREY, _LAYERS))
    assert len(residuals) == 3
    for n, residual in enumerate(residuals):
        np.testing.assert_allclose(residual, image - canvases[:, n], atol=1e-6)


def test_masks_by_alpha_and_the_ground_make_up_the_picture():
    """The ground and the masks say how much of each object a pixel is made of."""
    masks = Alpha().masks(_LAYERS, tf.ones([1, 2]))
    np.testing.assert_allclose(masks[0, :, 0], [[0.5, 0.0], [0.5, 1.0]], atol=1e-6)
    # Of equal masks, the nearer object: it comes first.
    np.testing.assert_array_equal(Alpha().segmentation(masks)[0, 0], [1, 2])
    first = Alpha().masks(_LAYERS, tf.constant([[1.0, 0.0]]))
    # Half of the left pixel is still ground.
    np.testing.assert_array_equal(Alpha().segmentation(first)[0, 0], [0, 0])


def test_masks_of_light_are_its_brightest_channel():
    masks = Additive().masks(OBJECTS, tf.constant([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(masks[0, :, 0], [[0.2, 0.0], [0.0, 0.3], [0.0, 0.0]])
    np.testing.assert_array_equal(Additive().segmentation(masks)[0, 0], [1, 2])


def test_the_search_sees_what_is_hidden_and_glimpses_the_colours():
    alpha = Alpha()
    image = tf.ones([1, 1, 2, 3])
    memory = alpha.add(alpha.start(_GREY), _LAYERS[:, 0])
    seen = alpha.unexplained(image, memory)
    # 1 minus the canvas, and how much is covered.
    expected = [[0.4, 0.9, 0.9, 0.5], [0.8, 0.8, 0.8, 0.0]]
    np.testing.assert_allclose(seen[0, 0], expected, atol=1e-6)
    # Both pixels are white, as the object is; half of the left one is hidden.
    focused = alpha.focus(image, seen, tf.constant([[0.0, 0.5]]))
    np.testing.assert_allclose(focused[..., :4], seen)
    np.testing.assert_allclose(focused[0, 0, :, 4], [0.5, 1.0], atol=1e-6)
    source = alpha.source(image, focused)
    np.testing.assert_allclose(source[..., :5], focused)
    np.testing.assert_allclose(source[0, 0, :, 5:], [[0.25] * 3, [0.5] * 3], atol=1e-6)


def test_an_object_is_what_has_the_colour_of_the_pixel_that_is_explained_least():
    """Red and green on black; the search looks at one, then at the other."""
    alpha = Alpha()
    red, green, black = [1.0, 0.0, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 0.0]
    image = tf.constant([[[red, red, black, green]]])
    seen = alpha.unexplained(image, alpha.start(tf.zeros_like(image)))
    for centre, expected in ((-0.75, [1, 1, 0, 0]), (0.75, [0, 0, 0, 1])):
        focused = alpha.focus(image, seen, tf.constant([[0.0, centre]]))
        np.testing.assert_allclose(focused[0, 0, :, 4], expected, atol=1e-6)
    # A colour at a distance of 0.15, the tolerance, is alike by exp(-1/2).
    image = tf.constant([[[red, [0.85, 0.0, 0.0]]]])
    seen = alpha.unexplained(image, alpha.start(tf.zeros_like(image)))
    focused = alpha.focus(image, seen, tf.constant([[0.0, -0.5]]))
    np.testing.assert_allclose(focused[0, 0, :, 4], [1.0, np.exp(-0.5)], rtol=1e-5)


def test_light_has_no_parts_that_belong_together():
    image = tf.random.stateless_uniform([1, 1, 2, 1], [0, 1])
    assert Additive().focus(image, image, tf.zeros([1, 2])) is image
