"""Yaws that explain more than those of q."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from air_tf.model.air3d import AIR3D
from air_tf.objectives import yaw_proposals
from air_tf.objectives.yaw_proposals import Setting, improve_yaws, settings_of
from air_tf.renderers.occlusion import compose_light, in_front
from air_tf.structs import NormalParams

_CUBE, _SPHERE, _CYLINDER = range(3)
_SIGMA = 0.05


@pytest.fixture(scope="module")
def air(table_config):
    keras.utils.set_random_seed(0)
    return AIR3D.of_table(table_config)


def test_errors_are_those_of_the_canvas_with_the_object_replaced():
    rng = np.random.default_rng(0)
    batch, steps, ways, pixels = 2, 3, 4, 5

    def drawn(*shape):
        alpha = rng.random((*shape, pixels)).astype(np.float32)
        light = alpha[..., None] * rng.uniform(-1, 1, (*shape, pixels, 3))
        return alpha, light.astype(np.float32)

    alpha, light = drawn(batch, steps)
    alpha[0, 2], light[0, 2] = 0.0, 0.0  # not present
    others = drawn(batch, steps, ways)
    rest = rng.uniform(-1, 1, (batch, pixels, 3)).astype(np.float32)
    front = in_front(tf.constant(rng.uniform(2, 2.2, (batch, steps)), tf.float32))

    settings = settings_of(tf.constant(rest), *map(tf.constant, (alpha, light)), front)
    for t in range(steps):
        setting = Setting(*(field[:, t] for field in settings))
        errors = yaw_proposals._errors(setting, *(one[:, t] for one in others))
        for way in range(ways):
            new_alpha, new_light = alpha.copy(), light.copy()
            new_alpha[:, t], new_light[:, t] = (one[:, t, way] for one in others)
            canvas = compose_light(
                tf.constant(new_alpha), new_light, front, tf.ones([batch, steps])
            )
            expected = np.square(rest - canvas).sum((1, 2))
            np.testing.assert_allclose(errors[:, way], expected, rtol=1e-4)


def _phases(cylinder):
    """Of a cube, a cylinder and a cube: 2.5, but another one of the cylinder."""
    return tf.constant([[[2.5] * 3, [cylinder] * 3, [2.5] * 3]])


@pytest.fixture(scope="module")
def truth(air, table_inference):
    """A cube, and a cylinder behind it, without overlap; the third is not present."""
    return table_inference(air.config, 1, 3)._replace(
        presence_logits=tf.constant([[9.0, 9.0, -9.0]]),
        position=tf.constant([[[-0.5, -0.4], [0.5, 0.3], [0.0, 0.9]]]),
        kind_logits=9.0 * tf.one_hot([[_CUBE, _CYLINDER, _CUBE]], 3),
        phase=_phases(2.5),
        q_phase_params=NormalParams(_phases(2.5), tf.fill([1, 3, 3], 0.1)),
    )


def _turned(found, cylinder, loc=None):
    """With another phase of the cylinder, and another mean of q."""
    loc = _phases(cylinder if loc is None else loc)
    return found._replace(
        phase=_phases(cylinder), q_phase_params=found.q_phase_params._replace(loc=loc)
    )


def _picture(air, found):
    """The image of the first two objects: [1, H, W, 3]."""
    folds, _ = air.folds
    kinds = [[_CUBE, _CYLINDER]]
    yaw = [[found.phase[0, t, k] / folds[k] for t, k in enumerate(kinds[0])]]
    position = found.position[:, :2] * air.config.tabletop.reach
    return air.render(kinds, position, yaw, [[1, 1]])


def _improve(air, found, images, number=2, likelihood_scale=_SIGMA, seed=0):
    return improve_yaws(
        air,
        found,
        images,
        num_proposals=number,
        likelihood_scale=likelihood_scale,
        blur=air.config.blur,
        seed=tf.constant([seed, 2]),
    )


def _choose(monkeypatch, examined, start=0.0):
    """Fixes which object is examined, and where proposals start on the circle."""

    def fixed(shape, seed, *limits):
        if limits == (0.0, 1.0):
            return tf.fill(shape, start)
        assert limits[0] > 0.0  # so that the largest is one of those that can turn
        return tf.one_hot([examined], shape[1], *reversed(limits))

    monkeypatch.setattr(tf.random, "stateless_uniform", fixed)


# With two proposals from here on, they are -0.64 and 2.5: pi (start + m) - pi.
_START = 2.5 / math.pi


def test_a_better_yaw_is_learned_the_short_way_round(air, truth, monkeypatch):
    image, wrong = _picture(air, truth), _turned(truth, -2.5)
    _choose(monkeypatch, examined=1, start=_START)
    result = _improve(air, wrong, image)
    np.testing.assert_array_equal(result.accepted, [1.0])
    # It takes the place of the sample, of this object and its kind alone.
    changed = result.found.phase - wrong.phase
    expected = np.zeros((1, 3, 3))
    expected[0, 1, _CYLINDER] = 5.0
    np.testing.assert_allclose(changed, expected, atol=1e-5)
    # From -2.5 to 2.5 is 5 - 2 pi = -1.28 of phase. The weight is the gain in nats.
    gain = np.square(image - _picture(air, wrong)).sum() / (2 * _SIGMA**2)
    assert gain > 10.0
    loss = gain * 0.5 * (5 - 2 * math.pi) ** 2
    np.testing.assert_allclose(result.loss, [loss], rtol=1e-3)


def test_the_sample_is_compared_and_the_mean_learns(air, truth, monkeypatch):
    image, wrong = _picture(air, truth), _turned(truth, -2.5, loc=2.0)
    _choose(monkeypatch, examined=1, start=_START)
    gain = np.square(image - _picture(air, wrong)).sum() / (2 * _SIGMA**2)
    result = _improve(air, wrong, image)
    np.testing.assert_allclose(result.loss, [gain * 0.5 * 0.5**2], rtol=1e-3)
    result = _improve(air, _turned(truth, 2.5, loc=2.0), image)
    np.testing.assert_array_equal(result.loss, [0.0])


def test_one_object_is_examined(air, truth, monkeypatch):
    """While the cube is, the cylinder keeps its wrong yaw."""
    image, wrong = _picture(air, truth), _turned(truth, -2.5)
    _choose(monkeypatch, examined=0, start=_START)
    result = _improve(air, wrong, image)
    np.testing.assert_array_equal(result.accepted, [0.0])
    np.testing.assert_array_equal(result.found.phase, wrong.phase)


def test_all_objects_have_their_turn(air, truth):
    """In 40 images, half of the examined objects are the wrong cylinder.

    Of 50 phases all around the circle, the nearest is at most 0.063 away.
    """
    wrong = _turned(truth, -2.5)
    many = tf.nest.map_structure(lambda x: tf.repeat(x, 40, axis=0), wrong)
    images = tf.repeat(_picture(air, truth), 40, axis=0)
    result = _improve(air, many, images, number=50, seed=1)
    accepted = result.accepted.numpy() > 0
    assert 10 <= accepted.sum() <= 30
    phases = result.found.phase.numpy()[:, 1, _CYLINDER]
    np.testing.assert_allclose(phases[accepted], 2.5, atol=0.2)
    assert np.ptp(phases[accepted]) > 0.01  # each image has its own start
    np.testing.assert_array_equal(phases[~accepted], np.float32(-2.5))


def test_nothing_is_better_than_the_truth(air, truth):
    result = _improve(air, truth, _picture(air, truth), number=50)
    np.testing.assert_array_equal(result.loss, [0.0])
    np.testing.assert_array_equal(result.accepted, [0.0])
    np.testing.assert_array_equal(result.found.phase, truth.phase)


def test_a_proposal_has_to_explain_three_nats_more(air, truth, monkeypatch):
    image, wrong = _picture(air, truth), _turned(truth, 0.0)
    _choose(monkeypatch, examined=1, start=_START)
    error = np.square(image - _picture(air, wrong)).sum()  # 0 with the proposal
    for nats, accepted in ((2.9, 0.0), (3.1, 1.0)):
        # error / (2 sigma ** 2) nats
        sigma = math.sqrt(error / (2 * nats))
        result = _improve(air, wrong, image, likelihood_scale=sigma)
        np.testing.assert_array_equal(result.accepted, [accepted])


def test_yaws_that_can_not_be_seen_are_not_examined(air, truth):
    """Objects that are taken for spheres, and an object that is not present."""
    image, wrong = _picture(air, truth), _turned(truth, -2.5)
    spheres = wrong._replace(kind_logits=tf.one_hot([[_SPHERE] * 3], 3))
    absent = wrong._replace(presence_logits=tf.constant([[9.0, -9.0, 9.0]]))
    for found in (spheres, absent):
        for seed in range(4):
            result = _improve(air, found, image, number=20, seed=seed)
            np.testing.assert_array_equal(result.found.phase[:, 1], wrong.phase[:, 1])


@pytest.mark.parametrize("better", [True, False])
def test_what_gets_a_gradient(air, truth, monkeypatch, better):
    """A better yaw: the mean of q. Else: the sample of the examined object alone."""
    image = _picture(air, truth)
    found = _turned(truth, -2.5 if better else 2.5)
    _choose(monkeypatch, examined=1, start=_START)
    with tf.GradientTape(persistent=True) as tape:
        loc, scale = found.q_phase_params
        others = [scale, found.position, found.kind_logits, found.presence_logits]
        tape.watch([loc, found.phase, *others])
        result = _improve(air, found, image)
        loss = tf.reduce_sum(result.loss)
        phases = tf.reduce_sum(result.found.phase)
        scales = tf.reduce_sum(result.found.q_phase_params.scale)
    assert tape.gradient(loss, [found.phase, *others]) == [None] * 5
    expected = np.zeros((1, 3, 3))
    if better:
        gain = np.square(image - _picture(air, found)).sum() / (2 * _SIGMA**2)
        # The wanted turn is -1.28: the mean has to become smaller.
        expected[0, 1, _CYLINDER] = gain * (2 * math.pi - 5)
    np.testing.assert_allclose(tape.gradient(loss, loc), expected, rtol=1e-3)
    # Through the samples, by all kinds that are drawn.
    expected = np.zeros((1, 3, 3))
    expected[0, 1] = 1.0
    if better:
        expected[0, 1, _CYLINDER] = 0.0
    of_phase = tape.gradient(phases, found.phase).numpy()
    # The KL widens q(yaw) only where the image has a say, too.
    of_scale = tape.gradient(scales, scale).numpy()
    # The yaw of a sphere has no effect, and nothing is done about it.
    for kind in (_CUBE, _CYLINDER):
        np.testing.assert_array_equal(of_phase[..., kind], expected[..., kind])
        np.testing.assert_array_equal(of_scale[..., kind], expected[..., kind])
