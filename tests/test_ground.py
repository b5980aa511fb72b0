"""Grounds that are inferred: what they can draw, and what they cost."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import (
    AIRConfig,
    AlphaConfig,
    ConstantConfig,
    EnumerationConfig,
    LearnedConfig,
    RecurrentConfig,
    RunConfig,
    StripedConfig,
    TrainingConfig,
)
from air_tf.errors import InputError
from air_tf.evaluation.evaluate import evaluate
from air_tf.model.air import AIR
from air_tf.model.ground import code_size
from air_tf.model.likelihood import log_normal
from air_tf.objectives.enumeration import enumeration
from air_tf.objectives.iwae import log_weights
from air_tf.objectives.reinforce import sampled, score_function
from air_tf.structs import ImageSet

_WAVES = LearnedConfig(ground_waves=(2, 3))
_CONSTANT = ConstantConfig(ground_units=(5,))
_STRIPED = StripedConfig(ground_units=(5,))


def _with(config, background, **changes):
    return dataclasses.replace(
        config, background=background, composition=AlphaConfig(), **changes
    )


def test_a_constant_ground_has_one_colour(small_config):
    air = AIR(_with(small_config, _CONSTANT))
    assert code_size(air.config) == 1  # one number for one channel
    grounds = air.generative.ground(tf.constant([[0.0], [2.0]])).numpy()
    assert grounds.shape == (2, 16, 16, 1)
    for ground in grounds:
        assert np.ptp(ground) < 1e-6
    # A middle grey, and 0.3 for each standard deviation of the prior.
    np.testing.assert_allclose(grounds[:, 0, 0, 0], [0.5, 1.1], rtol=1e-5)


@pytest.mark.parametrize("background", [_CONSTANT, _WAVES])
def test_an_untrained_ground_has_the_colour_of_most_pixels(small_config, background):
    """A fifth of the picture is an object."""
    picture = np.full((1, 16, 16, 3), [0.7, 0.2, 0.4], np.float32)
    picture[0, :4, :12] = [0.0, 1.0, 1.0]
    config = _with(small_config, background, image_shape=(16, 16, 3))
    ground = AIR(config)(picture).ground[0]
    error = ground - np.array([0.7, 0.2, 0.4])
    assert np.abs(error).max() < 0.15
    assert np.abs(error).mean() < 0.05


def test_a_learned_ground_is_a_sum_of_waves_and_shares_a_pattern(small_config):
    config = _with(small_config, _WAVES)
    ground = AIR(config).generative.ground
    assert code_size(config) == 2 * 3 * 1
    pattern = np.full((16, 16, 1), 0.5, np.float32)
    pattern[3, 5] = 0.25  # only the shared part can draw one pixel
    ground._shared.assign(pattern)
    amplitudes = np.array([[0.3, 0.2, 0.2], [0.1, 0.2, 0.2]], np.float32)
    ground._log_amplitudes.assign(np.log(amplitudes)[..., np.newaxis])
    # Once the constant, twice the half wave down the canvas.
    found = ground(tf.constant([[1.0, 0.0, 0.0, 2.0, 0.0, 0.0]]))[0] - pattern
    half = 2**0.5 * np.cos(np.pi * (np.arange(16) + 0.5) / 16)
    expected = 0.3 + 0.2 * np.tile(half[:, np.newaxis], 16)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-6)


def test_the_code_of_a_learned_ground_is_its_posterior(small_config):
    """Against the precision matrix of all six waves; no pixel is hidden."""
    config = _with(small_config, LearnedConfig(ground_waves=(2, 3), ground_rounds=9))
    ground = AIR(config).generative.ground
    basis = ground(np.eye(6, dtype=np.float32)).numpy() - 0.5  # with amplitudes
    basis = basis.reshape(6, 256)
    code = np.array([0.1, -0.2, 0.3, 0.2, -0.1, 0.1])
    picture = (0.5 + code @ basis).reshape(1, 16, 16, 1).astype(np.float32)
    precision = np.eye(6) + basis @ basis.T / 0.2**2
    found = ground.posterior(picture, 0.2)
    expected = np.linalg.solve(precision, basis @ (picture.ravel() - 0.5) / 0.2**2)
    np.testing.assert_allclose(found.loc[0], expected, atol=1e-4)
    scale = np.diag(np.linalg.inv(precision)) ** 0.5
    np.testing.assert_allclose(found.scale[0], scale, rtol=1e-3)
    # With much noise, nothing is known beyond the prior.
    unknown = ground.posterior(picture, 1e4)
    np.testing.assert_allclose(unknown.loc, np.zeros((1, 6)), atol=1e-5)
    np.testing.assert_allclose(unknown.scale, np.ones((1, 6)), atol=1e-5)


def test_an_untrained_learned_ground_follows_a_slope_and_not_an_object(small_config):
    picture = np.tile(np.linspace(0.2, 0.6, 16, dtype=np.float32), (16, 1))
    slope = picture.copy()
    picture[5:9, 2:6] = 1.0
    config = _with(small_config, LearnedConfig(ground_waves=(4, 4)))
    ground = AIR(config)(picture[np.newaxis, ..., np.newaxis]).ground[0, ..., 0]
    # A ground of one colour would be wrong by 0.1 in the mean.
    assert np.abs(ground - slope).mean() < 0.02
    assert np.max(ground[5:9, 2:6]) < 0.5


def test_training_fits_the_prior_of_grounds_to_the_images(small_config):
    """The amplitudes' gradient vanishes where they are the code's standard deviation.

    For heights h of both signs, d/d log a of -KL is (h / a)^2 - 1 if noise is small.
    """
    config = _with(small_config, _WAVES)
    air = AIR(config)
    wave = air.generative.ground(np.eye(6, dtype=np.float32)).numpy()[3] - 0.5
    wave /= 0.15  # the amplitude before training
    pictures = 0.5 + np.stack([0.05 * wave, -0.05 * wave])
    air.generative.ground._log_amplitudes.assign(np.full([2, 3, 1], np.log(0.05)))
    with tf.GradientTape() as tape:
        output = air(pictures)
        p = air.generative.densities()
        bound = enumeration(output, tf.constant(pictures), p)
        kl = tf.reduce_mean(bound.kl_ground)
    gradient = tape.gradient(kl, air.generative.ground._log_amplitudes.value)
    # Of waves that no picture has, the amplitude falls: the gradient is 1.
    expected = np.array([[1, 1, 1], [0, 1, 1]], np.float32)[..., np.newaxis]
    np.testing.assert_allclose(gradient, expected, atol=0.3)


def test_a_striped_ground_adds_the_stronger_one_of_row_and_column(small_config):
    config = _with(small_config, _STRIPED, image_shape=(16, 20, 3))
    air = AIR(config)
    assert code_size(config) == 3 * (1 + 16 + 20)
    code = np.zeros((1, code_size(config)), np.float32)
    code[0, 1] = -0.5  # the ground is less green
    code[0, 3 + 3 * 4] = 1.0  # row 4 more red
    code[0, 3 + 3 * 16 + 3 * 7 + 2] = 2.0  # column 7 more blue
    code[0, 3 + 3 * 16 + 3 * 9] = -2.0  # column 9 less red, and so where it crosses
    expected = np.full((16, 20, 3), 0.5, np.float32)
    expected[..., 1] -= 0.15
    expected[4, :, 0] += 0.3
    expected[:, 7, 2] += 0.6
    expected[:, 9, 0] = 0.5 - 0.6
    found = air.generative.ground(tf.constant(code))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_untrained_striped_ground_has_the_lines_and_not_the_object(small_config):
    """Lines on every fifth row and column, below an object that is brighter."""
    lines = np.zeros((20, 20, 1), np.float32)
    lines[2::5] = 0.4
    lines[:, 3::5] = 0.4
    picture = lines.copy()
    picture[5:12, 8:15] = 1.0
    config = _with(small_config, _STRIPED, image_shape=(20, 20, 1))
    ground = AIR(config)(picture[np.newaxis]).ground[0].numpy()
    assert np.abs(ground - lines).max() < 0.1


def test_the_bound_pays_for_the_code_of_the_ground(small_config, images):
    """KL against the closed form, and the weights' ratio against both densities."""
    air = AIR(_with(small_config, _WAVES))
    output = air(images, sample=True, seed=tf.constant([1, 2]))
    p = air.generative.densities()
    loc, scale = (x.numpy() for x in output.q_ground_params)
    kl = (0.5 * (loc**2 + scale**2 - 1.0) - np.log(scale)).sum(axis=1)
    bound = enumeration(output, images, p)
    np.testing.assert_allclose(bound.kl_ground, kl, rtol=1e-4)
    terms = bound.log_likelihood - bound.kl_num_objects - bound.kl_where
    np.testing.assert_allclose(bound.elbo, terms - bound.kl_what - kl, rtol=1e-5)
    sample = score_function(sampled(output, images, p), tf.zeros([5, 3]))
    np.testing.assert_allclose(sample.kl_ground, kl, rtol=1e-4)
    z = output.z_ground.numpy()
    ratio = (0.5 * ((z - loc) / scale) ** 2 - 0.5 * z**2 + np.log(scale)).sum(axis=1)
    none = output._replace(
        q_ground_params=tf.nest.map_structure(
            lambda x, y: tf.zeros_like(x) + y,
            output.q_ground_params,
            type(output.q_ground_params)(0.0, 1.0),
        )
    )  # q = p: the ratio is 0
    with_ratio, without = (log_weights(one, images, p) for one in (output, none))
    difference = (with_ratio - without).numpy()
    np.testing.assert_allclose(difference, np.tile(ratio[:, None], 4), atol=2e-3)


def test_mixed_precision_keeps_a_learned_ground_in_float32(small_config):
    """In bfloat16, neighbours of 0.7 are 0.004 apart."""
    config = _with(small_config, _WAVES)
    picture = np.full((1, 16, 16, 1), 0.7, np.float32)
    exact, mixed = (
        AIR(config, dtype=dtype)(picture) for dtype in ("float32", "mixed_bfloat16")
    )
    np.testing.assert_allclose(mixed.ground, exact.ground, atol=1e-5)


def test_a_black_ground_costs_nothing_and_has_no_weights(small_config, images):
    air = AIR(small_config)
    output = air(images)
    assert output.z_ground.shape == (5, 0)
    assert not np.any(output.ground)
    bound = enumeration(output, images, air.generative.densities())
    assert not np.any(bound.kl_ground)
    assert not air.ground_encoder.weights and not air.generative.ground.weights


def test_scenes_are_decoded_again_on_their_own_ground(small_config, images):
    air = AIR(_with(small_config, _WAVES))
    scenes = air.infer(images)
    again = air.decode(scenes.z_where, scenes.z_what, scenes.presence, scenes.ground)
    np.testing.assert_allclose(again, scenes.canvas, atol=1e-5)
    described = air.describe(
        scenes.z_where, scenes.z_what, scenes.presence, scenes.ground
    )
    np.testing.assert_allclose(described.mask, scenes.mask, atol=1e-5)
    # Masks and ground make up the picture.
    assert np.all(scenes.mask.sum(axis=1) <= 1.0 + 1e-6)


def test_refuses_grounds_and_masks_of_another_size(small_config, images):
    air = AIR(_with(small_config, _WAVES))
    scenes = air.infer(images)
    latents = scenes.z_where, scenes.z_what, scenes.presence
    for refuse in (air.decode, air.describe):
        with pytest.raises(InputError) as error:
            refuse(*latents, scenes.ground[:, :8])
        assert error.value.field == "ground"
    masks = ImageSet(np.asarray(images), segmentation=np.zeros((5, 8, 16), np.uint8))
    with pytest.raises(InputError) as error:
        evaluate(air, masks)
    assert error.value.field == "segmentation"


def test_generated_scenes_have_grounds_of_their_own(small_config):
    air = AIR(_with(small_config, _CONSTANT))
    scenes = air.generate(3, seed=1, num_objects=0)
    np.testing.assert_allclose(scenes.canvas, scenes.ground)
    assert len(np.unique(scenes.ground[:, 0, 0, 0])) == 3


def test_sigma_is_learned_and_does_not_fall_below_its_bound(small_config, images):
    config = dataclasses.replace(
        small_config, likelihood_scale="learned", min_likelihood_scale=0.25
    )
    air = AIR(config)
    assert float(air.generative.likelihood_scale) == pytest.approx(0.3)
    output = air(images)
    with tf.GradientTape() as tape:
        bound = enumeration(output, images, air.generative.densities())
        loss = tf.reduce_mean(bound.loss)
    gradient = tape.gradient(loss, air.generative._log_scale.value)
    # d/d log sigma of -log N, mean over images: pixels - squared error / sigma^2.
    error = 256 - 2 * (-bound.log_likelihood - 256 * np.log(0.3 * np.sqrt(2 * np.pi)))
    np.testing.assert_allclose(gradient, np.mean(error), rtol=1e-3)
    air.generative._log_scale.assign(np.log(0.01))
    assert float(air.generative.likelihood_scale) == pytest.approx(0.25)


def test_densities_agree_for_a_number_and_a_tensor():
    residual = tf.constant([[0.1, -0.4]])
    np.testing.assert_allclose(
        log_normal(residual, 0.3), log_normal(residual, tf.constant(0.3)), rtol=1e-6
    )


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"likelihood_scale": "learnt"}, "likelihood_scale"),
        ({"likelihood_scale": 0.0}, "likelihood_scale"),
        ({"likelihood_scale": True}, "likelihood_scale"),
        ({"min_likelihood_scale": 0.0}, "min_likelihood_scale"),
        ({"background": "grey"}, "background"),
        ({"composition": "alpha"}, "composition"),
        (
            {"composition": AlphaConfig(), "inference": RecurrentConfig()},
            "composition",
        ),
    ],
)
def test_refuses_what_can_not_be_drawn(changes, name):
    with pytest.raises(InputError) as error:
        AIRConfig(**changes)
    assert error.value.field == name
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"ground_waves": (0, 4)}, "ground_waves"),
        ({"ground_tolerance": 0.0}, "ground_tolerance"),
        ({"ground_rounds": 0}, "ground_rounds"),
        ({"ground_pooling": 0}, "ground_pooling"),
        ({"ground_units": (0,)}, "ground_units"),
    ],
)
def test_refuses_grounds_of_no_size(changes, name):
    kind = (
        ConstantConfig if name in ("ground_pooling", "ground_units") else LearnedConfig
    )
    with pytest.raises(InputError) as error:
        kind(**changes)
    assert error.value.field == name


def test_blank_steps_are_refused_where_objects_hide_others():
    objective = EnumerationConfig(move_blank_steps=True)
    with pytest.raises(InputError) as error:
        RunConfig(
            model=AIRConfig(composition=AlphaConfig()),
            training=TrainingConfig(objective=objective),
        )
    assert error.value.field == "move_blank_steps"


def test_settings_of_version_2_get_a_black_ground_and_light():
    new = AIRConfig().to_dict()
    for name in ("composition", "background", "min_likelihood_scale"):
        del new[name]
    assert AIRConfig.from_dict(new | {"version": 2}) == AIRConfig()
    learned = AIRConfig(
        composition=AlphaConfig(), background=_WAVES, likelihood_scale="learned"
    )
    assert AIRConfig.from_dict(learned.to_dict()) == learned


def test_learned_grounds_of_version_3_are_refused_and_others_are_read():
    old = AIRConfig(background=_CONSTANT)
    assert AIRConfig.from_dict(old.to_dict() | {"version": 3}) == old
    ground = {"name": "learned", "ground_grid": [4, 4], "ground_code_size": 16}
    with pytest.raises(InputError, match="train the model again") as error:
        AIRConfig.from_dict(old.to_dict() | {"version": 3, "background": ground})
    assert error.value.field == "background" and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "background, expected",
    [
        (LearnedConfig(ground_waves=(30, 4)), "ground_waves is .* at most 20,20"),
        (
            ConstantConfig(ground_pooling=21),
            "ground_pooling is 21; expected at most 20",
        ),
    ],
)
def test_grounds_finer_or_coarser_than_the_canvas_are_refused(background, expected):
    with pytest.raises(InputError, match=expected):
        AIRConfig(image_shape=(20, 20, 1), background=background)
