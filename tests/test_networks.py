import keras
import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import AIRConfig, AlphaConfig
from air_tf.model import cell_search
from air_tf.model.cell_search import CellSearch
from air_tf.model.glimpses import GlimpseDecoder, GlimpseEncoder
from air_tf.model.heads import Guess, PresenceWhereHead, WhereHead
from air_tf.model.layers import MLP, softplus
from air_tf.model.lstm import ImageLSTM


def test_softplus():
    x = tf.constant([-100.0, -1.0, 0.0, 1.0, 100.0])
    expected = np.logaddexp(0, x.numpy().astype(np.float64))
    np.testing.assert_allclose(softplus(x), expected, rtol=1e-6, atol=1e-30)


def test_image_lstm_is_keras_lstm_cell_on_the_concatenated_input():
    lstm = ImageLSTM(pooling=1, units=3)
    lstm.build((2, 2, 1), 2)
    cell = keras.layers.LSTMCell(3)
    cell.build((None, 6))
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = (rng.normal(size=w.shape) for w in cell.get_weights())
    cell.set_weights([kernel, recurrent, bias])
    lstm._image_dense.set_weights([kernel[:4], bias])
    lstm._latent_gates.set_weights([kernel[4:]])
    lstm._state_gates.set_weights([recurrent])

    image = tf.constant(rng.normal(size=(5, 4)), tf.float32)
    gates = lstm.image_gates(tf.reshape(image, [5, 2, 2, 1]))
    state = lstm.initial_state(gates)
    keras_state = [tf.zeros([5, 3]), tf.zeros([5, 3])]
    for _ in range(3):
        latents = tf.constant(rng.normal(size=(5, 2)), tf.float32)
        state = lstm(gates, latents, state)
        _, keras_state = cell(tf.concat([image, latents], 1), keras_state)
    np.testing.assert_allclose(state.h, keras_state[0], atol=1e-5)
    np.testing.assert_allclose(state.c, keras_state[1], atol=1e-5)


def test_image_lstm_sees_the_mean_of_squares():
    lstm = ImageLSTM(pooling=2, units=1)
    lstm.build((3, 4, 1), 2)
    # Squares of 2x2, the lower ones cut by the border to 1x2.
    weights = np.zeros((4, 4))
    weights[:, 0] = [1, 10, 100, 1000]
    lstm._image_dense.set_weights([weights, np.zeros(4)])
    image = np.zeros((1, 3, 4, 1), np.float32)
    image[0, :, :, 0] = [[1, 0, 4, 4], [0, 0, 4, 4], [2, 0, 3, 3]]
    gates = lstm.image_gates(tf.constant(image))
    np.testing.assert_allclose(gates[0, 0], 0.25 + 40 + 100 + 3000, rtol=1e-6)


def test_where_head_starts_at_the_prior_and_stays_in_bounds():
    head = PresenceWhereHead(AIRConfig(where_units=()))
    head.build((None, 4))
    logits, params = head(tf.zeros([2, 4]))
    np.testing.assert_allclose(logits, [0.0, 0.0])
    np.testing.assert_allclose(params.loc, [[0.35, 0, 0]] * 2, atol=1e-6)
    # softplus(-2) = 0.126928, and the floor of 0.01
    np.testing.assert_allclose(params.scale, np.full((2, 3), 0.136928), rtol=1e-5)

    _, params = head(tf.constant([[1e4] * 4, [-1e4] * 4]))
    assert np.all((params.loc[:, 0] >= 0) & (params.loc[:, 0] <= 1))
    assert np.all(np.abs(params.loc[:, 1:]) <= 1)
    assert np.all(params.scale >= 0.01)


def test_glimpse_decoder_starts_dark():
    decoder = GlimpseDecoder(
        AIRConfig(decoder_units=(6,), glimpse_size=(3, 4), image_shape=(9, 9, 2))
    )
    decoder.build((None, 5))
    glimpses = decoder(tf.zeros([7, 5]))
    assert glimpses.shape == (7, 3, 4, 2)
    # A code of 0 passes ReLU layers as 0: sigmoid(-2) = 0.119203 is left.
    np.testing.assert_allclose(glimpses, np.full((7, 3, 4, 2), 0.119203), rtol=1e-5)


@pytest.mark.parametrize("grid", [(1, 1), (2, 2)])
def test_objects_with_masks_start_as_thin_grey_veils(grid):
    decoder = GlimpseDecoder(
        AIRConfig(
            composition=AlphaConfig(colour_grid=grid),
            decoder_units=(6,),
            glimpse_size=(3, 4),
            image_shape=(9, 9, 2),
        )
    )
    decoder.build((None, 5))
    glimpses = decoder(tf.zeros([7, 5])).numpy()
    # sigmoid(-1) = 0.268941 of the colour sigmoid(0) = 0.5.
    np.testing.assert_allclose(glimpses[..., 2], 0.268941, rtol=1e-5)
    np.testing.assert_allclose(glimpses[..., :2], 0.134471, rtol=1e-4)
    # A code changes masks everywhere; colours differ within an object only on a grid.
    glimpses = decoder(tf.ones([1, 5])).numpy()[0]
    colours = glimpses[..., :2] / glimpses[..., 2:]
    assert (np.ptp(colours, axis=(0, 1)).max() > 1e-3) == (grid == (2, 2))
    assert np.ptp(glimpses[..., 2]) > 1e-3


@pytest.mark.parametrize("code", [0.0, 1e6, -1e6])
def test_glimpse_encoder_scales_have_a_floor(code):
    encoder = GlimpseEncoder(AIRConfig(encoder_units=(), z_what_size=2))
    encoder.build((None, 2, 2, 1))
    params = encoder(tf.fill([1, 2, 2, 1], code))
    assert np.all(params.scale >= 0.001)
    assert np.isfinite(params.scale).all()


@pytest.mark.parametrize("shape, grid", [((50, 50), (7, 7)), ((100, 60), (13, 8))])
def test_cells_lie_on_a_grid_that_covers_the_canvas(shape, grid):
    """Pooled by 2 and 4 pooled pixels apart: 8 pixels, centred on the canvas."""
    cells = _cells(pooling=2, shape=(*shape, 1))
    centres = (cells.centres.reshape(*grid, 2) + 1) * np.array(shape) / 2
    np.testing.assert_allclose(np.diff(centres[:, 0, 0]), 8.0, rtol=1e-5)
    np.testing.assert_allclose(np.diff(centres[0, :, 1]), 8.0, rtol=1e-5)
    np.testing.assert_allclose(
        centres[0, 0] + centres[-1, -1], shape, rtol=1e-5
    )  # as far from one border as from the other
    np.testing.assert_allclose(cells.reach * shape / 2, [12.0, 12.0])


@pytest.mark.parametrize("size", range(1, 101))
def test_patches_lie_around_the_centres_of_cells(size):
    first = np.array(cell_search._starts(size, 4, 14))
    assert set(np.diff(first)) <= {4}
    centres = (cell_search._centres(size, 4) + 1) * size / 2
    assert np.abs(first + 14 / 2 - centres).max() <= 0.5 + 1e-6
    assert first[0] <= 0 and first[-1] + 14 >= size


def _cells(*, pooling, shape, kernel=None):
    config = AIRConfig(look_pooling=pooling, where_prior_loc=(0.5, 0.0, 0.0))
    cells = CellSearch(config, config.inference)
    cells._mlp = MLP(hidden_units=(), output_units=4)  # linear, to set by hand
    cells.build((None, *shape))
    if kernel is not None:
        cells._mlp._output.set_weights([kernel, np.zeros(4, np.float32)])
    return cells


def test_cells_see_the_patch_around_them():
    kernel = np.zeros((14 * 14, 4), np.float32)
    kernel[0, 0], kernel[14 * 14 - 1, 0] = 1.0, 100.0
    cells = _cells(pooling=1, shape=(16, 16, 1), kernel=kernel)
    # Cell (1, 1) is centred on the corner (6, 6): rows and columns -1 .. 12, so its
    # first pixel is outside; that of cell (2, 2) is (3, 3), its last outside.
    for pixel, cell, logit in (((12, 12), (1, 1), 100.0), ((3, 3), (2, 2), 1.0)):
        image = np.zeros((1, 16, 16, 1), np.float32)
        image[0][pixel] = 1.0
        logits, guess = cells(image)
        np.testing.assert_allclose(logits, [logit])
        np.testing.assert_allclose(guess.centre[0], np.array(cell) * 0.5 - 0.75)


def test_cells_see_every_part_of_the_canvas_in_the_same_way():
    """What moves by a cell is found a cell further."""
    kernel = np.random.default_rng(1).normal(size=(14 * 14 * 2, 4)).astype(np.float32)
    cells = _cells(pooling=2, shape=(64, 64, 2), kernel=kernel)
    image = np.zeros((1, 64, 64, 2), np.float32)
    image[0, 20:30, 20:30] = np.random.default_rng(0).random((10, 10, 2))
    moved = np.roll(image, (8, 16), axis=(1, 2))
    (logit, here), (moved_logit, there) = cells(image), cells(moved)
    assert logit > 0.01
    np.testing.assert_allclose(logit, moved_logit, rtol=1e-5)
    np.testing.assert_allclose(here.scale_logits, there.scale_logits, rtol=1e-4)
    np.testing.assert_allclose(
        there.centre - here.centre, [[2 * 8 / 64, 2 * 16 / 64]], atol=1e-5
    )


def test_the_most_likely_cell_makes_the_guess():
    kernel = np.zeros((14 * 14, 4), np.float32)
    centre = 7 * 14 + 7  # of a patch
    kernel[centre, 0] = 1.0  # presence,
    kernel[centre, 1] = 2.0  # size
    kernel[centre, 2], kernel[centre, 3] = 0.5, -0.5  # and shifts
    cells = _cells(pooling=1, shape=(16, 16, 1), kernel=kernel)
    image = np.zeros((2, 16, 16, 1), np.float32)
    image[0, 2, 6], image[0, 14, 10] = 0.7, 0.9  # centres of cells (0, 1) and (3, 2)
    image[1, 6, 6] = 0.3
    logits, guess = cells(image)
    np.testing.assert_allclose(logits, [0.9, 0.3], rtol=1e-6)
    np.testing.assert_allclose(guess.scale_logits, [[1.8], [0.6]], rtol=1e-6)
    centres = np.array([[0.75, 0.25], [-0.25, -0.25]])
    shifts = 0.75 * np.tanh([[0.45, -0.45], [0.15, -0.15]])
    np.testing.assert_allclose(guess.centre, centres + shifts, rtol=1e-5)
    # Off by half a window at most: the window's scale is the share of the canvas.
    np.testing.assert_allclose(
        guess.reach, 1 / (1 + np.exp(-np.array([[1.8], [0.6]]))), rtol=1e-5
    )


def test_where_head_starts_at_the_guess():
    head = WhereHead(AIRConfig(where_units=()))
    head.build((None, 4))
    guess = Guess(
        scale_logits=tf.constant([[0.0]]),
        centre=tf.constant([[0.1, -0.6]]),
        reach=tf.constant([[0.5]]),
    )
    corrected, params = head(tf.zeros([1, 4]), guess=guess)
    np.testing.assert_allclose(params.loc, [[0.5, 0.1, -0.6]], atol=1e-6)
    np.testing.assert_array_equal(corrected.window(), params.loc)
    corrected, params = head(tf.fill([1, 4], 1e6), guess=guess)
    np.testing.assert_array_equal(corrected.window(), params.loc)
    np.testing.assert_allclose(
        np.abs(params.loc[0, 1:] - guess.centre[0]), [0.5, 0.5], rtol=1e-5
    )
