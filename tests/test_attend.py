import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import DifferenceConfig
from air_tf.model.air import AIR
from air_tf.model.loop import ENDED_LOGIT, LOOPS


def _set_presence(air, kernel, bias):
    """Presence logits become `kernel * hidden + bias`, the other outputs stay."""
    if isinstance(air.config.inference, DifferenceConfig):
        layer = air.attend.search._cells._mlp._output
    else:
        layer = air.attend.search._where_head._mlp._output
    weights, biases = layer.get_weights()
    weights[:, 0], biases[0] = kernel, bias
    layer.set_weights([weights, biases])


@pytest.fixture(params=["difference", "recurrent"])
def air(small_config, recurrent_config, request):
    return AIR(small_config if request.param == "difference" else recurrent_config)


def test_an_empty_batch_takes_one_trip(air, images):
    _set_presence(air, 0.0, -5.0)
    scenes = air.infer(images, max_objects=4)
    np.testing.assert_array_equal(scenes.num_objects, np.zeros(5))
    np.testing.assert_array_equal(scenes.num_trips, np.ones(5))
    for absent in (scenes.boxes, scenes.z_where, scenes.z_what, scenes.canvas):
        np.testing.assert_array_equal(absent, np.zeros_like(absent))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_full_batch_takes_all_trips(air, images, steps):
    # T of inference need not be the 3 of the config.
    _set_presence(air, 0.0, 5.0)
    scenes = air.infer(images, max_objects=steps)
    np.testing.assert_array_equal(scenes.num_objects, np.full(5, steps))
    np.testing.assert_array_equal(scenes.num_trips, np.full(5, steps))
    assert scenes.boxes.shape == (5, steps, 4)
    assert scenes.num_objects_probs.shape == (5, steps + 1)


def _bright_means_present(air):
    """Presence follows the brightness of the image: hand-set gates."""
    lstm = air.attend.search._lstm
    size = 8 * 8
    units = lstm.units
    kernel = np.zeros((size, 4 * units), np.float32)
    kernel[:, 2 * units : 3 * units] = 1.0 / size  # candidate: the mean of the image
    bias = np.zeros(4 * units, np.float32)
    bias[:units] = 10.0  # input gate open
    bias[units : 2 * units] = -10.0  # forget everything
    bias[3 * units :] = 10.0  # output gate open
    lstm._image_dense.set_weights([kernel, bias])
    lstm._latent_gates.set_weights([np.zeros((7, 4 * units))])
    lstm._state_gates.set_weights([np.zeros((units, 4 * units))])
    head = air.attend.search._where_head._mlp
    head._hidden[0].set_weights([np.eye(units), np.zeros(units)])
    kernel = np.zeros(units)
    kernel[0] = 100.0  # h_0 is tanh(tanh(mean)): logit above 0 from mean 0.3 on
    _set_presence(air, kernel, -100.0 * np.tanh(np.tanh(0.3)))


def test_every_image_has_the_result_it_has_alone(recurrent_config):
    air = AIR(recurrent_config)
    _bright_means_present(air)
    images = np.stack([np.full((16, 16, 1), v, np.float32) for v in (0.0, 0.9, 0.1)])
    together = air.infer(images)
    np.testing.assert_array_equal(together.num_objects, [0, 3, 0])
    np.testing.assert_array_equal(together.num_trips, [3, 3, 3])
    for i, trips in enumerate([1, 3, 1]):
        alone = air.infer(images[i : i + 1])
        assert alone.num_trips[0] == trips
        for name in ("num_objects_probs", "boxes", "presence", "z_what", "canvas"):
            np.testing.assert_allclose(
                getattr(alone, name)[0], getattr(together, name)[i], atol=1e-6
            )


def test_a_difference_step_sees_what_is_left_and_nothing_else(small_config, images):
    """Step 2 of an image is step 1 of the image minus the first object."""
    air = AIR(small_config)
    _set_presence(air, np.linspace(-3, 3, 8), 0.1)
    both = air(images, max_objects=2)
    rest = images - both.object_image[:, 0]
    alone = air(rest, max_objects=1)
    assert np.abs(both.object_image[:, 0]).max() > 0.05
    for name in ("presence_logits", "z_where", "z_what"):
        np.testing.assert_allclose(
            getattr(alone.inference, name)[:, 0],
            getattr(both.inference, name)[:, 1],
            atol=1e-5,
        )


def test_where_a_difference_step_drew_is_data_to_later_steps(small_config, images):
    """No gradient flows from a step's window through the canvas to the next step."""
    air = AIR(small_config)
    with tf.GradientTape() as tape:
        output = air(images, max_objects=2)
        later = tf.reduce_sum(output.inference.presence_logits[:, 1])
    for gradient in tape.gradient(later, air.generative.decoder.trainable_variables):
        assert gradient is None


def test_copies_of_the_step_are_the_loop(air, images):
    given = {"sample": True, "seed": [1, 2]}
    full, unrolled = (air(images, loop=name, **given) for name in ("full", "unrolled"))
    for one, other in zip(
        tf.nest.flatten(full), tf.nest.flatten(unrolled), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(ValueError, match="loop is 'while'; expected one of full"):
        air(images, loop="while")


def test_stopping_early_changes_no_count(air, images):
    _set_presence(air, np.linspace(-3, 3, 8), 0.1)
    full = air(images, max_objects=6)
    early = air(images, max_objects=6, loop="early_stop")
    np.testing.assert_array_equal(full.inference.z_pres, early.inference.z_pres)
    present = full.inference.z_pres.numpy()[..., None]
    np.testing.assert_allclose(
        full.inference.z_what * present, early.inference.z_what * present, atol=1e-6
    )


def test_loop_ends_once_the_most_probable_count_is_settled(air, images):
    # p = 0.45: q(0) = 0.55 can't be beaten by the 0.45 that is left.
    _set_presence(air, 0.0, float(np.log(0.45 / 0.55)))
    output = air(images, max_objects=4, loop="early_stop")
    np.testing.assert_array_equal(output.inference.num_trips, np.ones(5))
    np.testing.assert_allclose(output.inference.presence_logits[:, 1:], ENDED_LOGIT)
    # p = 0.6: q(0) = 0.4 < 0.6; q(1) = 0.24, but 0.36 < 0.4 settles it.
    _set_presence(air, 0.0, float(np.log(0.6 / 0.4)))
    output = air(images, max_objects=4, loop="early_stop")
    np.testing.assert_array_equal(output.inference.num_trips, np.full(5, 2))
    np.testing.assert_array_equal(output.inference.z_pres, np.zeros((5, 4)))


def test_sampled_presence_never_rises_and_follows_its_probabilities(air):
    _set_presence(air, 0.0, float(np.log(0.7 / 0.3)))
    images = np.zeros((4000, 16, 16, 1), np.float32)
    for loop in LOOPS:
        output = air(images, sample=True, seed=[1, 2], loop=loop)
        z_pres = output.inference.z_pres.numpy()
        assert np.all(np.diff(z_pres, axis=1) <= 0)
        counts = np.bincount(z_pres.sum(1).astype(int), minlength=4) / 4000
        # q(0) = 0.3, q(1) = 0.21, q(2) = 0.147, q(3) = 0.343
        np.testing.assert_allclose(counts, [0.3, 0.21, 0.147, 0.343], atol=0.03)


def test_samples_have_the_moments_of_their_parameters(air):
    images = np.repeat(np.random.default_rng(0).random((1, 16, 16, 1)), 4000, 0)
    output = air(images.astype(np.float32), sample=True, seed=[3, 4])
    inference = output.inference
    # The first step does not depend on earlier samples.
    loc, scale = (p[0, 0].numpy() for p in inference.q_where_params)
    np.testing.assert_allclose(inference.z_where[:, 0].numpy().mean(0), loc, atol=0.01)
    np.testing.assert_allclose(inference.z_where[:, 0].numpy().std(0), scale, rtol=0.05)


def test_the_same_seed_draws_the_same(air, images):
    one = air(images, sample=True, seed=[1, 2])
    two = air(images, sample=True, seed=[1, 2])
    other = air(images, sample=True, seed=[1, 3])
    np.testing.assert_array_equal(one.canvas, two.canvas)
    assert np.abs(one.inference.z_what - other.inference.z_what).max() > 0.1


def test_gradients_reach_every_weight(air, images):
    with tf.GradientTape() as tape:
        output = air(images, sample=True, seed=[1, 2])
        total = tf.reduce_sum(output.object_image**2) + tf.reduce_sum(
            output.inference.presence_logits
        )
    for gradient in tape.gradient(total, air.trainable_variables):
        assert np.abs(gradient.numpy()).max() > 0
