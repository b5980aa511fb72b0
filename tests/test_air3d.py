"""The model of 3D scenes: its attend loop, what it infers, draws and generates."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import distance

from air_tf.errors import InputError
from air_tf.inference.explain import explain, generated_canvases
from air_tf.model.air3d import AIR3D
from air_tf.model.layers import ConvMLP
from air_tf.model.loop import LOOPS
from air_tf.model.saving import read_model
from air_tf.renderers.occlusion import compose
from air_tf.structs import Scenes3D

_CUBE, _SPHERE, _CYLINDER = range(3)


@pytest.fixture(scope="module")
def model(table_config):
    """A model, which is traced once, and its initial weights."""
    keras.utils.set_random_seed(0)
    air = AIR3D.of_table(table_config)
    return air, air.get_weights()


@pytest.fixture
def air(model):
    air, weights = model
    air.set_weights(weights)
    return air


@pytest.fixture(scope="module")
def truth(table_config, table_scenes):
    return table_scenes(table_config, 6)


def _set_output(layer, kernel, bias):
    """Sets the last layer of a network; None keeps the weights."""
    output = layer if isinstance(layer, keras.layers.Conv2D) else layer._output
    before = output.get_weights()
    after = [
        old if new is None else np.broadcast_to(new, old.shape)
        for old, new in zip(before, (kernel, bias), strict=True)
    ]
    output.set_weights(after)


def _set_presence(air, kernel, bias):
    _set_output(air.attend._presence._mlp, kernel, bias)


def _see_only_what_is_there(air):
    """Attention has learned nothing, and nothing is corrected."""
    _set_output(air.attend._attention, 0.0, 0.0)
    _set_output(air.attend._correct._mlp, 0.0, 0.0)
    _set_output(air.attend._read._outputs, 0.0, 0.0)


def _read(air, **values):
    """The outputs of an attend step become these; unnamed ones 0."""
    sizes = {"move": 2, "scale": 2, "kind": 3, "sine": 3, "cosine": 3, "phase_scale": 3}
    bias = [
        np.broadcast_to(values.get(name, 0.0), size) for name, size in sizes.items()
    ]
    _set_output(air.attend._read._outputs, 0.0, np.concatenate(bias))


def _picture(air, *objects):
    """One image of (kind, x, y) in units of the reach: [1, H, W, 3]."""
    kinds, x, y = zip(*objects, strict=True)
    position = np.stack([x, y], axis=-1) * air.config.tabletop.reach
    yaw = np.full(len(kinds), 0.3)
    return air.render([kinds], [position], [yaw], np.ones((1, len(kinds))))


def test_a_convolutional_network_by_hand():
    """2 x 2 pixels: a convolution that adds up what it sees, ReLU, and a sum."""
    network = ConvMLP(channels=(1,), hidden_units=(), output_units=1)
    network.build((None, 4, 4, 1))
    network._convolutions[0].set_weights([np.ones((3, 3, 1, 1)), -np.ones(1)])
    network._mlp._output.set_weights([np.ones((4, 1)), np.array([0.5])])
    image = np.zeros((1, 4, 4, 1), np.float32)
    image[0, 0, 0] = 3.0
    # Of 3 x 3 pixels around 0, 2 in both axes, only the first sum holds the 3:
    # relu(3 - 1) + 3 relu(0 - 1) + 0.5.
    np.testing.assert_allclose(network(image), [[2.5]])


@pytest.mark.parametrize("x, y", [(-0.7, -0.6), (0.0, 0.0), (0.6, 0.8), (0.8, -0.8)])
def test_attention_goes_to_the_only_object(air, x, y):
    _see_only_what_is_there(air)
    found = air(_picture(air, (_SPHERE, x, y)), max_objects=1)
    # A cell of the grid of 8 x 8 shows about 0.4 x 0.4 of the table.
    np.testing.assert_allclose(found.position[0, 0], [x, y], atol=0.2)


def test_attention_does_not_go_between_two_objects(air):
    _see_only_what_is_there(air)
    # Cubes of the same distance: the places are equally salient.
    found = air(_picture(air, (_CUBE, -0.9, 0.0), (_CUBE, 0.9, 0.0)), max_objects=1)
    assert abs(found.position[0, 0, 0]) > 0.6


def test_a_step_does_not_see_what_is_explained(air):
    """The first mask covers its whole glimpse: the second step sees the other half."""
    _see_only_what_is_there(air)
    image = _picture(air, (_CUBE, -0.9, 0.0), (_SPHERE, 0.9, 0.0))
    _set_output(air.attend._read._mask, 0.0, 20.0)
    found = air(image, max_objects=2).position[0].numpy()
    np.testing.assert_allclose(np.sort(found[:, 0]), [-0.9, 0.9], atol=0.2)
    # Nothing is explained by a mask that is empty.
    _set_output(air.attend._read._mask, 0.0, -20.0)
    found = air(image, max_objects=2).position[0].numpy()
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_masks_are_windows_around_the_position(air):
    """A mask of ones covers 0.625 of the image's height and width."""
    _see_only_what_is_there(air)
    _set_output(air.attend._read._mask, 0.0, 20.0)
    image = _picture(air, (_CUBE, 0.0, 0.0))
    found = air(image, max_objects=1)
    place, _ = air.renderer.project(found.position[0, 0] * air.config.tabletop.reach)
    rows, columns = np.nonzero(found.mask[0, 0].numpy() > 0.5)
    for pixels, middle in zip((rows, columns), place, strict=True):
        assert pixels.max() - pixels.min() + 1 == 0.625 * 16
        centre = (pixels.max() + pixels.min() + 1) / 16 - 1
        np.testing.assert_allclose(centre, middle, atol=1 / 16)


def test_what_a_step_reads_by_hand(air):
    _see_only_what_is_there(air)
    _read(
        air, move=[20.0, -20.0], scale=-50.0, kind=[0, 3, 0], sine=1.0, phase_scale=50
    )
    image = _picture(air, (_SPHERE, 0.0, 0.0))
    found = air(image, max_objects=1)
    before = air.attend._attend(
        tf.zeros([1, 8, 8, 8]), (image - air.ground.value) * air.config.input_gain
    )
    # tanh(20) is 1: the largest correction, 0.27.
    move = found.position[0, 0] - before[0]
    np.testing.assert_allclose(move, [0.27, -0.27], atol=1e-5)
    np.testing.assert_allclose(found.q_position_params.scale[0, 0], 0.01, atol=1e-5)
    np.testing.assert_allclose(found.q_phase_params.loc, np.pi / 2, atol=1e-4)
    np.testing.assert_allclose(found.q_phase_params.scale, 1.52, atol=1e-5)


def test_fields_of_absent_objects_are_zero(air, truth):
    _set_presence(air, 50.0, 0.0)
    scenes = air.infer(truth.images, max_objects=4)
    assert 0 < scenes.num_objects.sum() < 4 * 6
    np.testing.assert_array_equal(scenes.presence.sum(axis=1), scenes.num_objects)
    absent = scenes.presence == 0
    for name in Scenes3D._fields:
        values = getattr(scenes, name)
        if name in ("num_objects", "num_trips", "num_objects_probs", "presence_probs"):
            continue
        assert values.shape[:2] == (6, 4), name
        np.testing.assert_array_equal(values[absent], np.zeros_like(values[absent]))
    shapes = {name: getattr(scenes, name).shape[2:] for name in Scenes3D._fields[4:12]}
    assert shapes["position"] == shapes["position_scale"] == (2,)
    assert shapes["kind_probs"] == (3,) and shapes["mask"] == (16, 16)
    np.testing.assert_allclose(scenes.num_objects_probs.sum(axis=1), 1.0, atol=1e-5)
    at_least = np.cumsum(scenes.num_objects_probs[:, ::-1], axis=1)[:, ::-1][:, 1:]
    np.testing.assert_allclose(scenes.presence_probs, at_least, atol=1e-5)
    np.testing.assert_allclose(
        scenes.kind_probs.sum(axis=2), scenes.presence, atol=1e-5
    )


@pytest.mark.parametrize("kind, symmetry", [(_CUBE, 4), (_SPHERE, 0), (_CYLINDER, 2)])
def test_a_yaw_is_the_phase_over_the_symmetry(air, truth, kind, symmetry):
    _set_presence(air, 0.0, 5.0)
    # A phase of -3/4 pi.
    _read(air, kind=np.eye(3)[kind], sine=-1.0, cosine=-1.0, phase_scale=-50.0)
    scenes = air.infer(truth.images)
    np.testing.assert_array_equal(scenes.kind, np.full((6, 3), kind))
    yaw = -0.75 * np.pi / symmetry if symmetry else 0.0
    np.testing.assert_allclose(scenes.yaw, np.full((6, 3), yaw), rtol=1e-4)
    scale = 0.02 / symmetry if symmetry else 0.0
    np.testing.assert_allclose(scenes.yaw_scale, np.full((6, 3), scale), rtol=1e-4)


def test_the_unit_of_the_table_does_not_matter(air, truth):
    """The same scene in millimetres of its 0.55 m."""
    scaled = dataclasses.replace(air.config, tabletop=air.config.tabletop.scaled(1000))
    other = AIR3D.of_table(scaled)
    np.testing.assert_allclose(other.ground, air.ground, atol=1e-5)
    for model in (air, other):
        _set_presence(model, 0.0, 5.0)
    other.set_weights(air.get_weights())
    one, two = (model.infer(truth.images) for model in (air, other))
    for name in Scenes3D._fields:
        factor = 1000 if name.startswith("position") else 1
        np.testing.assert_allclose(
            getattr(two, name), factor * getattr(one, name), rtol=1e-3, atol=1e-5
        )
    np.testing.assert_allclose(air.draw(one), other.draw(two), atol=1e-3)


def test_every_image_has_the_result_it_has_alone(air, truth):
    _set_presence(air, 50.0, 0.0)
    together = air.infer(truth.images)
    assert len(set(together.num_objects)) > 1
    for i in range(6):
        alone = air.infer(truth.images[i : i + 1])
        for name in set(Scenes3D._fields) - {"num_trips"}:
            np.testing.assert_allclose(
                getattr(alone, name)[0], getattr(together, name)[i], atol=1e-5
            )
    parts = air.infer(truth.images, batch_size=4)
    np.testing.assert_allclose(parts.position, together.position, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 5])
def test_more_or_fewer_objects_than_in_training(air, truth, steps):
    _set_presence(air, 0.0, 5.0)
    scenes = air.infer(truth.images, max_objects=steps)
    np.testing.assert_array_equal(scenes.num_objects, np.full(6, steps))
    np.testing.assert_array_equal(scenes.num_trips, np.full(6, steps))
    assert scenes.num_objects_probs.shape == (6, steps + 1)
    for wrong in (0, 7):
        with pytest.raises(
            InputError, match=f"max_objects is {wrong}; expected 1 to 6"
        ):
            air.infer(truth.images, max_objects=wrong)


def test_all_forms_of_the_loop_agree(air, truth):
    given = {"sample": True, "seed": [1, 2]}
    full, early, unrolled = (
        air(truth.images, loop=loop, **given)
        for loop in sorted(LOOPS, key=["full", "early_stop", "unrolled"].index)
    )
    for one, other in zip(
        tf.nest.flatten(full), tf.nest.flatten(unrolled), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_array_equal(full.z_pres, early.z_pres)
    present = full.z_pres.numpy()[..., None]
    assert 0 < present.mean() < 1
    for name in ("position", "phase", "kind_logits"):
        np.testing.assert_allclose(
            getattr(full, name) * present, getattr(early, name) * present, atol=1e-5
        )


def test_samples_have_the_moments_of_their_parameters(air, truth):
    images = np.repeat(truth.images[:1], 3000, axis=0)
    found = air(images, sample=True, seed=[3, 4], max_objects=1)
    for samples, params in (
        (found.position, found.q_position_params),
        (found.phase, found.q_phase_params),
    ):
        scale = params.scale[0, 0].numpy()
        error = (samples.numpy().mean(axis=0)[0] - params.loc[0, 0]) / scale
        assert np.abs(error).max() < 0.1  # standard error: 0.018
        np.testing.assert_allclose(samples.numpy().std(axis=0)[0], scale, rtol=0.06)
    again = air(images[:1], sample=True, seed=[3, 5], max_objects=1)
    assert np.abs(again.position - found.position[:1]).max() > 1e-3


def test_what_can_not_be_inferred_is_refused(air, truth):
    with pytest.raises(InputError, match=r"images have shape \(6, 8, 16, 3\)"):
        air.infer(truth.images[:, :8])
    with pytest.raises(InputError, match=r"have shape \(8, 16, 3\); expected \(16, 16"):
        air(truth.images[:, :8])
    with pytest.raises(InputError, match="seed is None"):
        air(truth.images, sample=True)


def test_a_drawn_scene_is_the_composition_of_its_objects(air):
    """A sphere behind a cube, and a cylinder that is not present."""
    position = np.array([[[0.0, -0.2], [0.05, 0.15], [0.3, 0.3]]], np.float32)
    canvas = air.render(
        [[_CUBE, _SPHERE, _CYLINDER]], position, [[0.4, 0, 0]], [[1, 1, 0]]
    )
    blur = air.config.blur
    layers = [
        air.renderer.layers(kind, position[:, t], np.array([yaw], np.float32), blur)
        for t, (kind, yaw) in enumerate([(_CUBE, 0.4), (_SPHERE, 0.0)])
    ]
    alpha, colour, depth = (
        tf.stack(list(one), axis=1) for one in zip(*layers, strict=True)
    )
    expected = compose(air.ground.value, alpha, colour, depth, tf.ones([1, 2]))
    np.testing.assert_allclose(canvas, expected, atol=1e-5)
    assert np.abs(canvas - air.ground.value).max() > 0.2


def test_true_scenes_are_drawn_as_they_are(air, truth):
    """Also by `draw`, in batches."""
    presence = np.arange(3) < truth.counts[:, None]
    expected = truth.images / 255.0
    rendered = air.render(truth.labels, truth.positions, truth.yaws, presence)
    np.testing.assert_allclose(rendered, expected, atol=0.51 / 255)
    scenes = air.generate(6, num_objects=3)._replace(
        kind=truth.labels.astype(np.int32),
        position=truth.positions,
        yaw=truth.yaws,
        presence=presence.astype(np.float32),
    )
    drawn = air.draw(scenes, batch_size=4)
    np.testing.assert_allclose(drawn, expected, atol=0.51 / 255)
    # Also with room for more objects or fewer.
    more = [
        np.pad(field, [(0, 0), (0, 2)] + [(0, 0)] * (field.ndim - 2))
        for field in (scenes.kind, scenes.position, scenes.yaw, scenes.presence)
    ]
    names = ("kind", "position", "yaw", "presence")
    drawn = air.draw(scenes._replace(**dict(zip(names, more, strict=True))))
    np.testing.assert_allclose(drawn, expected, atol=0.51 / 255)


def test_reconstructions_are_drawn_from_what_is_inferred(air, truth):
    _set_presence(air, 0.0, 5.0)
    found = air.infer(truth.images)
    canvas = air.reconstruct(truth.images)
    rendered = air.render(found.kind, found.position, found.yaw, found.presence)
    np.testing.assert_allclose(canvas, rendered, atol=1e-4)
    shown = explain(air, truth.images)
    np.testing.assert_allclose(shown.canvas, canvas, atol=1e-4)
    np.testing.assert_array_equal(shown.boxes, found.boxes)
    # An empty table.
    _set_presence(air, 0.0, -5.0)
    empty = np.broadcast_to(air.ground, (6, 16, 16, 3))
    np.testing.assert_allclose(air.reconstruct(truth.images), empty, atol=1e-6)


def test_boxes_are_those_of_the_masks(air, truth):
    _set_presence(air, 0.0, 5.0)
    scenes = air.infer(truth.images[:2])
    for mask, box in zip(scenes.mask[:, 0], scenes.boxes[:, 0], strict=True):
        rows, columns = np.nonzero(mask > 0.5)
        expected = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        np.testing.assert_allclose(16 * box, expected, atol=1e-4)


def test_a_saved_model_is_read_with_its_table(air, truth, tmp_path):
    _set_presence(air, 50.0, 0.0)
    air._fitted_count_probs.assign([0.1, 0.2, 0.3, 0.4])
    air.save(tmp_path / "model.keras")
    again = read_model(tmp_path / "model.keras")
    assert isinstance(again, AIR3D) and again.config == air.config
    np.testing.assert_array_equal(again.ground, air.ground)
    assert air.ground.numpy().min() > 0.1
    one, two = (model.infer(truth.images) for model in (air, again))
    for name in Scenes3D._fields:
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-6)
    # The renderer is made from the config.
    for scene in air.generate(3, seed=2), again.generate(3, seed=2):
        canvas = again.render(scene.kind, scene.position, scene.yaw, scene.presence)
        np.testing.assert_allclose(canvas, air.draw(scene), atol=1e-4)


def test_corrections_may_be_left_out(table_config, truth, tmp_path):
    air = AIR3D(dataclasses.replace(table_config, num_corrections=0))
    assert len(air.weights) < len(AIR3D(table_config).weights)
    air.save(tmp_path / "model.keras")
    again = read_model(tmp_path / "model.keras")
    one, two = (model(truth.images, max_objects=1) for model in (air, again))
    np.testing.assert_allclose(one.position, two.position, atol=1e-6)


def test_generated_scenes_follow_the_prior(air):
    air._fitted_count_probs.assign([0.1, 0.2, 0.3, 0.4])
    scenes = air.generate(4000, seed=3)
    counts = np.bincount(scenes.num_objects, minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    np.testing.assert_allclose(
        scenes.num_objects_probs[0], [0.1, 0.2, 0.3, 0.4], rtol=1e-5
    )
    np.testing.assert_allclose(scenes.presence_probs[0], [0.9, 0.7, 0.4], rtol=1e-5)
    np.testing.assert_array_equal(scenes.presence.sum(1), scenes.num_objects)
    there = scenes.presence > 0
    kinds = np.bincount(scenes.kind[there]) / there.sum()
    np.testing.assert_allclose(kinds, 1 / 3, atol=0.02)
    # Of one object: uniform on [-a, a], with the standard deviation a / sqrt(3).
    reach = air.config.tabletop.reach
    position = scenes.position[scenes.num_objects == 1, 0]
    np.testing.assert_allclose(position.std(0), reach / np.sqrt(3), rtol=0.05)
    assert np.abs(scenes.position).max() < reach
    for place in scenes.position[scenes.num_objects == 3]:
        assert distance.pdist(place).min() >= air.config.tabletop.min_distance
    for kind, symmetry in ((_CUBE, 4), (_CYLINDER, 2)):
        yaw = scenes.yaw[there & (scenes.kind == kind)]
        np.testing.assert_allclose(yaw.std(), np.pi / symmetry / np.sqrt(3), rtol=0.05)
        assert np.abs(yaw).max() < np.pi / symmetry
    assert not scenes.yaw[scenes.kind == _SPHERE].any()
    for name in ("kind", "position", "yaw", "kind_probs"):
        assert not getattr(scenes, name)[~there].any()
    more = air.generate(3, num_objects=4, max_objects=5)
    np.testing.assert_array_equal(more.num_objects, [4, 4, 4])
    assert more.position.shape == (3, 5, 2)
    # Six do not fit, and are there all the same.
    full = air.generate(3, num_objects=6, max_objects=6)
    assert np.all(full.position != 0.0)
    canvases = generated_canvases(air, 5, seed=1, num_objects=2)
    np.testing.assert_allclose(
        canvases, air.draw(air.generate(5, seed=1, num_objects=2)), atol=1e-6
    )
    for wrong in ({"n": 0}, {"n": 1, "num_objects": 4}, {"n": 1, "num_objects": -1}):
        with pytest.raises(InputError, match="expected"):
            air.generate(**wrong)


def test_the_fitted_prior_is_the_mean_of_all_counts(air, truth):
    """Also of counts that are never the most probable one."""
    _set_presence(air, 0.0, float(np.log(0.45 / 0.55)))
    assert not air.infer(truth.images).num_objects.any()
    air.fit_count_prior(truth.images)
    expected = [0.55, 0.45 * 0.55, 0.45**2 * 0.55, 0.45**3]
    fitted = air.count_prior(fitted=True).probs_parameter()
    np.testing.assert_allclose(fitted, expected, rtol=1e-4)
    # For more objects than in training, those counts have a small probability.
    fitted = air.count_prior(5, fitted=True).probs_parameter()
    np.testing.assert_allclose(fitted[:4], expected, rtol=1e-4)
    np.testing.assert_allclose(fitted[4:], 1e-6, rtol=1e-3)


def test_the_prior_of_training_is_geometric(air):
    config = dataclasses.replace(air.config, count_decay=0.5)
    probs = AIR3D(config).count_prior(2).probs_parameter()
    np.testing.assert_allclose(probs, np.array([4, 2, 1]) / 7, rtol=1e-5)


def test_networks_in_bfloat16(table_config, truth):
    air = AIR3D.of_table(table_config, dtype="mixed_bfloat16")
    exact = AIR3D.of_table(table_config)
    exact.set_weights(air.get_weights())
    one, two = (model(truth.images) for model in (air, exact))
    for name in ("position", "kind_logits", "mask"):
        assert getattr(one, name).dtype == tf.float32
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=0.1)
