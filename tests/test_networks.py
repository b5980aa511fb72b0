import keras
import numpy as np
import pytest
import tensorflow as tf

from air_tf.model import networks


def test_softplus():
    x = tf.constant([-100.0, -1.0, 0.0, 1.0, 100.0])
    expected = np.logaddexp(0, x.numpy().astype(np.float64))
    np.testing.assert_allclose(networks.softplus(x), expected, rtol=1e-6, atol=1e-30)


def test_image_lstm_is_keras_lstm_cell_on_the_concatenated_input():
    lstm = networks.ImageLSTM(pooling=1, units=3)
    lstm.build((2, 2, 1), 2)
    cell = keras.layers.LSTMCell(3)
    cell.build((None, 6))
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = (rng.normal(size=w.shape) for w in cell.get_weights())
    cell.set_weights([kernel, recurrent, bias])
    lstm._image_gates.set_weights([kernel[:4], bias])
    lstm._latent_gates.set_weights([kernel[4:]])
    lstm._state_gates.set_weights([recurrent])

    image = tf.constant(rng.normal(size=(5, 4)), tf.float32)
    look = lstm.look(tf.reshape(image, [5, 2, 2, 1]))
    state = lstm.initial_state(look)
    keras_state = [tf.zeros([5, 3]), tf.zeros([5, 3])]
    for _ in range(3):
        latents = tf.constant(rng.normal(size=(5, 2)), tf.float32)
        state = lstm(look, latents, state)
        _, keras_state = cell(tf.concat([image, latents], 1), keras_state)
    np.testing.assert_allclose(state.h, keras_state[0], atol=1e-5)
    np.testing.assert_allclose(state.c, keras_state[1], atol=1e-5)


def test_image_lstm_sees_the_mean_of_squares():
    lstm = networks.ImageLSTM(pooling=2, units=1)
    lstm.build((3, 4, 1), 2)
    # Squares of 2x2, the lower ones cut by the border to 1x2.
    weights = np.zeros((4, 4))
    weights[:, 0] = [1, 10, 100, 1000]
    lstm._image_gates.set_weights([weights, np.zeros(4)])
    image = np.zeros((1, 3, 4, 1), np.float32)
    image[0, :, :, 0] = [[1, 0, 4, 4], [0, 0, 4, 4], [2, 0, 3, 3]]
    look = lstm.look(tf.constant(image))
    np.testing.assert_allclose(look[0, 0], 0.25 + 40 + 100 + 3000, rtol=1e-6)


def test_where_head_starts_at_the_prior_and_stays_in_bounds():
    head = networks.WhereHead(hidden_units=(), scale_loc=0.35)
    head.build((None, 4))
    logits, params = head(tf.zeros([2, 4]))
    np.testing.assert_allclose(logits, [0.0, 0.0])
    np.testing.assert_allclose(params.loc, [[0.35, 0, 0]] * 2, atol=1e-6)
    # softplus(-2) = 0.126928, and the floor of 0.01
    np.testing.assert_allclose(params.scale, np.full((2, 3), 0.136928), rtol=1e-5)

    _, params = head(tf.constant([[1e4] * 4, [-1e4] * 4]))
    assert np.all((params.loc[:, 0] >= 0) & (params.loc[:, 0] <= 1))
    assert np.all(np.abs(params.loc[:, 1:]) <= 1)
    assert np.all(params.scale >= networks.MIN_WHERE_SCALE)


def test_glimpse_decoder_starts_dark():
    decoder = networks.GlimpseDecoder(
        hidden_units=(6,), glimpse_shape=(3, 4, 2), output_bias=-2.0
    )
    decoder.build((None, 5))
    glimpses = decoder(tf.zeros([7, 5]))
    assert glimpses.shape == (7, 3, 4, 2)
    # A code of 0 passes ReLU layers as 0: sigmoid(-2) = 0.119203 is left.
    np.testing.assert_allclose(glimpses, np.full((7, 3, 4, 2), 0.119203), rtol=1e-5)


@pytest.mark.parametrize("code", [0.0, 1e6, -1e6])
def test_glimpse_encoder_scales_have_a_floor(code):
    encoder = networks.GlimpseEncoder(hidden_units=(), z_what_size=2)
    encoder.build((None, 2, 2, 1))
    params = encoder(tf.fill([1, 2, 2, 1], code))
    assert np.all(params.scale >= networks.MIN_WHAT_SCALE)
    assert np.isfinite(params.scale).all()
