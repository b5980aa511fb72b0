import dataclasses

import keras
import numpy as np
import pytest

from air_tf.config import PRESETS, AlphaConfig, ConstantConfig, LearnedConfig
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.training.fit_priors import fit_priors


def test_keras_round_trip_is_exact(small_config, images, tmp_path):
    air = AIR(small_config)
    air.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == small_config
    for before, after in zip(air.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, after in zip(air.infer(images), loaded.infer(images), strict=True):
        np.testing.assert_array_equal(before, after)


def test_infer_documents_what_it_returns(small_config, images):
    scenes = AIR(small_config).infer(images)
    shapes = {name: getattr(scenes, name).shape for name in scenes._fields}
    assert shapes == {
        "num_objects": (5,),
        "num_objects_probs": (5, 4),
        "boxes": (5, 3, 4),
        "presence": (5, 3),
        "presence_probs": (5, 3),
        "z_where": (5, 3, 3),
        "z_what": (5, 3, 4),
        "canvas": (5, 16, 16, 1),
        "mask": (5, 3, 16, 16),
        "ground": (5, 16, 16, 1),
        "num_trips": (5,),
    }
    np.testing.assert_allclose(scenes.num_objects_probs.sum(1), 1.0, rtol=1e-5)
    assert np.all((scenes.boxes >= 0) & (scenes.boxes <= 1))


def test_infer_in_batches_is_infer_at_once(small_config, images):
    air = AIR(small_config)
    at_once = air.infer(images)
    in_batches = air.infer(images, batch_size=2)
    for name in ("num_objects", "num_objects_probs", "boxes", "z_what", "canvas"):
        np.testing.assert_allclose(
            getattr(at_once, name), getattr(in_batches, name), atol=1e-6
        )


def test_bytes_and_floats_are_the_same_image(plain_config):
    air = AIR(plain_config)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1)).astype(np.uint8)
    from_bytes, from_floats = air.infer(pixels), air.infer(pixels / 255)
    np.testing.assert_allclose(from_bytes.z_what, from_floats.z_what, atol=1e-6)


@pytest.mark.parametrize("shape", [(16, 24, 1), (20, 12, 3), (9, 9, 2)])
def test_any_canvas(small_config, shape):
    config = dataclasses.replace(small_config, image_shape=shape, look_pooling=5)
    air = AIR(config)
    scenes = air.infer(np.random.default_rng(0).random((2, *shape), np.float32))
    assert scenes.canvas.shape == (2, *shape)
    assert air.generate(2, num_objects=2).canvas.shape == (2, *shape)


def test_weights_do_not_depend_on_steps(small_config):
    longer = dataclasses.replace(small_config, max_objects=7)
    one, other = AIR(small_config), AIR(longer)
    shapes = [[w.shape for w in air.trainable_weights] for air in (one, other)]
    assert shapes[0] == shapes[1]


def test_decode_draws_the_sum_of_the_present_objects(small_config):
    air = AIR(small_config)
    z_where = np.array([[[0.5, -0.4, 0.0], [0.5, 0.4, 0.0]]], np.float32)
    z_what = np.random.default_rng(0).normal(size=(1, 2, 4)).astype(np.float32)
    first = air.decode(z_where, z_what, np.array([[1.0, 0.0]], np.float32))
    both = air.decode(z_where, z_what, np.array([[1.0, 1.0]], np.float32))
    alone = air.generative.draw_objects(z_where, z_what)
    np.testing.assert_allclose(first, alone[:, 0], atol=1e-6)
    np.testing.assert_allclose(both, alone[:, 0] + alone[:, 1], atol=1e-6)


def test_reconstruct_is_the_canvas_of_infer(plain_config, images):
    air = AIR(plain_config)
    np.testing.assert_array_equal(air.reconstruct(images), air.infer(images).canvas)


def test_generate_draws_from_the_prior(small_config):
    config = dataclasses.replace(
        small_config, count_decay=0.5, where_prior_scale=(0.05, 0.2, 0.4)
    )
    scenes = AIR(config).generate(4000, seed=1)
    # 1 : 1/2 : 1/4 : 1/8
    found = np.bincount(scenes.num_objects, minlength=4) / 4000
    np.testing.assert_allclose(found, np.array([8, 4, 2, 1]) / 15, atol=0.03)
    drawn = scenes.z_where[scenes.num_objects > 0, 0]
    np.testing.assert_allclose(drawn.mean(0), [0.35, 0, 0], atol=0.03)
    np.testing.assert_allclose(drawn.std(0), [0.05, 0.2, 0.4], rtol=0.06)


def test_fitted_priors_are_those_of_the_aggregate_posterior(small_config, images):
    """Against posteriors written out, and kept by Keras' format."""
    air = AIR(small_config)
    rng = np.random.default_rng(0)
    air.set_weights([w + rng.normal(0, 0.3, w.shape) for w in air.get_weights()])
    fit_priors(air, images, min_scale=1e-3, batch_size=2)
    side = air.generative
    inference = air(images).inference
    p = 1 / (1 + np.exp(-inference.presence_logits.numpy()))  # [5, 3]
    reached = np.cumprod(p, axis=1)
    probs = np.concatenate([np.ones((5, 1)), reached], axis=1)
    probs[:, :3] *= 1 - p
    np.testing.assert_allclose(
        side.count_prior(fitted=True).probs_parameter(),
        probs.mean(0),
        atol=1e-5,
    )
    weight = (reached / reached.sum())[..., None]
    loc, scale = (np.asarray(x) for x in inference.q_where_params)
    mean = (weight * loc).sum((0, 1))
    deviation = np.sqrt((weight * (scale**2 + (loc - mean) ** 2)).sum((0, 1)))
    where = air.generative.where_prior(fitted=True)
    np.testing.assert_allclose(where.mean(), mean, atol=1e-5)
    np.testing.assert_allclose(where.stddev(), deviation, rtol=1e-4)
    # Training's own are as they were, and longer scenes keep the counts.
    np.testing.assert_allclose(
        air.generative.where_prior().mean(), [0.35, 0, 0], atol=1e-6
    )
    longer = air.generative.count_prior(5, fitted=True).probs_parameter()
    np.testing.assert_allclose(longer[:4], probs.mean(0), atol=1e-5)
    counts = air.generate(4000, fitted_where=True).num_objects
    found = np.bincount(counts, minlength=4) / 4000
    np.testing.assert_allclose(found, probs.mean(0), atol=0.03)


@pytest.mark.parametrize("background", [ConstantConfig(), LearnedConfig()])
def test_grounds_are_generated_as_those_of_training(small_config, background):
    """Of pictures of one dark colour, which p(z_ground) of training does not expect."""
    config = dataclasses.replace(
        small_config, background=background, composition=AlphaConfig()
    )
    air = AIR(config)
    colours = np.linspace(0.1, 0.2, 40, dtype=np.float32)
    images = np.broadcast_to(colours[:, None, None, None], (40, 16, 16, 1))
    before = air.generate(200, num_objects=0).canvas
    fit_priors(air, images, min_scale=1e-3)
    codes = air(images).q_ground_params
    fitted = air.generative.ground_prior(fitted=True)
    mean = np.mean(codes.loc, axis=0)
    square = np.mean(codes.loc**2 + codes.scale**2, axis=0)
    np.testing.assert_allclose(fitted.mean(), mean, atol=1e-5)
    np.testing.assert_allclose(fitted.stddev(), np.sqrt(square - mean**2), rtol=1e-3)
    usual = air.generative.usual_ground(2).numpy()
    np.testing.assert_allclose(usual, 0.15, atol=0.02)
    grounds = air.generate(200, num_objects=0).canvas
    assert np.abs(grounds.mean() - 0.15) < 0.02 < np.abs(before - 0.15).max()
    # The bound keeps the prior of training.
    np.testing.assert_array_equal(air.generative.ground_prior().mean(), 0.0)


def test_a_model_without_a_fitted_ground_is_read(small_config, images):
    """Files of version 0.3 and before have none."""
    config = dataclasses.replace(
        small_config, background=ConstantConfig(), composition=AlphaConfig()
    )
    air, other = AIR(config), AIR(config)
    names = [v.name for v in air.generative.variables if "ground_" in v.name]
    assert names == ["fitted_ground_loc", "fitted_ground_scale"]
    for v in air.generative.variables:
        if v.name in ("kernel", "bias", "fitted_where"):
            v.assign_add(0.1 * np.ones(v.shape, np.float32))
    store: dict[str, np.ndarray] = {}
    air.generative.save_own_variables(store)
    other.generative.load_own_variables({k: store[k] for k in list(store)[:-2]})
    np.testing.assert_array_equal(
        other.generative.ground_prior(fitted=True).stddev(), 1.0
    )
    read: dict[str, np.ndarray] = {}
    other.generative.save_own_variables(read)
    for name, value in store.items():
        np.testing.assert_array_equal(read[name], value)


def test_generate_with_a_given_number(small_config):
    air = AIR(small_config)
    scenes = air.generate(3, num_objects=2, seed=5)
    np.testing.assert_array_equal(scenes.num_objects, [2, 2, 2])
    np.testing.assert_array_equal(
        scenes.canvas, air.generate(3, num_objects=2, seed=5).canvas
    )
    with pytest.raises(InputError, match="num_objects is 4; expected 0 to 3"):
        air.generate(1, num_objects=4)


@pytest.mark.parametrize("form", ["small_config", "recurrent_config"])
def test_mixed_precision_keeps_latents_in_float32(request, images, form):
    config = request.getfixturevalue(form)
    air = AIR(config, dtype="mixed_bfloat16")
    output = air(images, sample=True, seed=[1, 2])
    for value in (output.canvas, output.inference.z_what, output.inference.z_where):
        assert value.dtype == "float32"
    full = AIR(config)
    full.set_weights(air.get_weights())
    np.testing.assert_allclose(
        air(images).inference.z_where, full(images).inference.z_where, atol=0.02
    )


@pytest.mark.parametrize("bad", [(5, 16, 17, 1), (16, 16, 1), (0, 16, 16, 1)])
def test_images_of_another_shape_are_refused(small_config, bad):
    with pytest.raises(InputError, match=r"at least one image of shape \(16, 16, 1\)"):
        AIR(small_config).infer(np.zeros(bad, np.float32))


@pytest.mark.parametrize(
    "bad, found",
    [(np.nan, "hold NaN"), (-0.1, "from -0.1"), (1.1, "to 1.1"), (255.0, "to 255.0")],
)
def test_pixels_out_of_range_are_refused(small_config, images, bad, found):
    images[2, 3, 4] = bad
    match = rf"{found}.*; expected float in \[0, 1\], or uint8"
    with pytest.raises(InputError, match=match):
        AIR(small_config).infer(images)


def test_call_refuses_what_can_not_work(small_config, images):
    air = AIR(small_config)
    with pytest.raises(InputError, match=r"expected \(16, 16, 1\)"):
        air(images[:, :15])
    with pytest.raises(InputError, match="seed is None; expected"):
        air(images, sample=True)
    with pytest.raises(InputError, match="max_objects is 0"):
        air(images, max_objects=0)


def test_sizes_of_the_presets():
    # The fitted priors have 4 + 6, the usual error is one.
    assert AIR(PRESETS["default"].config.model).count_params() == 520_118 + 11
    # That of Pyro's example, 3.28 million.
    assert AIR(PRESETS["paper"].config.model).count_params() == 3_275_131 + 10


def test_latents_of_other_shapes_are_refused(small_config):
    air = AIR(small_config)
    # Of whatever type numpy chose.
    z_where, z_what, z_pres = (
        np.ones((2, 3, 3)),
        np.ones((2, 3, 4)),
        np.eye(2, 3, dtype=int),
    )
    drawn = air.decode(z_where, z_what, z_pres)
    alone = air.generative.draw_objects(z_where, z_what)
    np.testing.assert_allclose(drawn, [alone[0, 0], alone[1, 1]], atol=1e-6)
    for where, what in ((z_where[..., :2], z_what), (z_where, z_what[:, :2])):
        with pytest.raises(InputError, match=r"expected \[B, T, 3\] and \[B, T, 4\]"):
            air.decode(where, what, z_pres)
    with pytest.raises(InputError, match=r"z_pres has shape \(2, 2\); expected"):
        air.decode(z_where, z_what, z_pres[:, :2])
