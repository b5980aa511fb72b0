"""The paper's estimator for 3D scenes against the exact gradient of the bound."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import RunConfig, TrainingConfig
from air_tf.config.objectives import KindNVILConfig
from air_tf.model.air3d import AIR3D
from air_tf.objectives.kind_enumeration import plain_bound
from air_tf.objectives.kind_nvil import Estimator, sample_scene

_COPIES, _BATCHES = 150, 20


@pytest.fixture(scope="module")
def unsure(table_config):
    """Unsure of count and kinds, which cost little: every term of the gradient counts.

    Of two kinds: a sphere and a cylinder, whose turn can be seen.
    """
    tabletop = table_config.tabletop
    return dataclasses.replace(
        table_config,
        tabletop=dataclasses.replace(tabletop, kinds=tabletop.kinds[1:]),
        image_shape=(8, 8, 3),
        glimpse_size=(4, 4),
        max_objects=2,
        likelihood_scale=0.5,
        count_decay=1.0,
    )


@pytest.fixture(scope="module")
def air(unsure):
    keras.utils.set_random_seed(0)
    return AIR3D.of_table(unsure)


@pytest.fixture(scope="module")
def copies(unsure, table_scenes):
    """One image again and again: a batch averages over samples."""
    images = table_scenes(unsure, 1, counts=(2,)).images / 255.0
    return tf.repeat(tf.constant(images, tf.float32), _COPIES, axis=0)


def _estimator(config, **settings):
    training = TrainingConfig(objective=KindNVILConfig(**settings))
    return Estimator(RunConfig(model=config, training=training))


def _mean_gradient(air, loss):
    """Means of the loss, and of its gradient by biases, with standard errors."""
    weights = [
        network._output.bias.value
        for network in (air.attend._presence._mlp, air.attend._read._outputs)
    ]

    @tf.function(autograph=False)
    def one(seed):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(seed))
        return tf.concat([[value], *tape.gradient(value, weights)], axis=0)

    rows = np.stack([one(tf.constant([i, 9])).numpy() for i in range(_BATCHES)])
    return rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(len(rows))


def test_it_is_unbiased(air, copies):
    estimator = _estimator(air.config)
    # A baseline of -50 nats, about the bound. It changes the variance, not the mean.
    kernel, bias = estimator.baseline._mlp._output.get_weights()
    estimator.baseline._mlp._output.set_weights([0.0 * kernel, bias - 1.0])

    def sampled(seed):
        result = estimator.estimate(air, copies, seed=seed, plain=True)
        # The value is that of the bound, the gradient that of the loss.
        loss = result.bound.loss
        return loss - tf.stop_gradient(loss + result.bound.elbo)

    def exact(seed):
        bound, _ = plain_bound(air, copies, seed=seed, max_objects=2)
        return -bound.elbo

    (a, a_error), (b, b_error) = (_mean_gradient(air, f) for f in (sampled, exact))
    moved = np.abs(b) > 1e-6  # the yaw of the sphere moves nothing
    assert moved.sum() == 11
    score = np.abs(a - b)[moved] / np.hypot(a_error, b_error)[moved]
    assert score.max() < 4.5
    # The test can detect a missing score-function term: the errors are much smaller,
    # here of the presence and the kinds.
    for index in (1, 6, 7):
        assert a_error[index] < 0.25 * np.abs(b[index])


def test_the_terms_are_those_of_the_bound(air, copies):
    """Their means over samples are those of the bound with all summed out."""
    estimator = _estimator(air.config)
    names = ("log_likelihood", "kl_num_objects", "kl_where", "kl_what", "mean_count")

    @tf.function(autograph=False)
    def terms(seed):
        sampled = estimator.estimate(air, copies, seed=seed, plain=True).bound
        exact, _ = plain_bound(air, copies, seed=seed, max_objects=2)
        return [
            tf.stack([tf.reduce_mean(getattr(one, name)) for name in names])
            for one in (sampled, exact)
        ]

    rows = np.stack([terms(tf.constant([i, 9])) for i in range(20)])
    difference = rows[:, 0] - rows[:, 1]
    error = difference.std(axis=0, ddof=1) / np.sqrt(len(rows))
    assert np.all(np.abs(difference.mean(axis=0)) < 4.5 * error + 1e-4)


def test_kinds_are_sampled_with_their_probabilities(air, copies, table_inference):
    """And independently of positions, whose noise has the seed of the attend loop."""
    found = table_inference(air.config, 1, 2)
    found = tf.nest.map_structure(lambda x: tf.repeat(x, _COPIES, axis=0), found)
    log_q = tf.nn.log_softmax(found.kind_logits)[0].numpy()  # [T, K]
    shares = np.zeros((2, 2))
    for i in range(8):
        scene = sample_scene(
            air,
            copies,
            found,
            seed=tf.constant([i, 0]),
            likelihood_scale=0.5,
            blur=0.3,
        )
        chosen = np.isclose(scene.log_kinds.numpy()[..., None], log_q, atol=1e-6)
        shares += chosen.mean(axis=0) / 8
    # Standard error: at most 0.5 / sqrt(2000) = 0.011.
    np.testing.assert_allclose(shares, np.exp(log_q), atol=0.045)


def test_kinds_do_not_repeat_the_noise_of_positions(air, unsure, monkeypatch):
    """Both are drawn from the seed of the training step."""
    estimator = _estimator(unsure)
    used = []
    for name in ("stateless_uniform", "stateless_normal"):
        original = getattr(tf.random, name)

        def recorded(shape, seed, *more, original=original, **options):
            used.append(tuple(np.array(seed)))
            return original(shape, seed, *more, **options)

        monkeypatch.setattr(tf.random, name, recorded)
    images = tf.zeros([1, 8, 8, 3])
    estimator.estimate(air, images, seed=tf.constant([3, 4]), plain=True)
    assert len(used) == 4  # presence, position, phase, kind
    assert len(set(used)) == 4


def test_only_the_masks_learn_what_is_seen(air, copies, table_inference):
    found = table_inference(air.config, 1, 2)
    found = found._replace(z_pres=tf.constant([[1.0, 0.0]]))
    sure = found._replace(kind_logits=tf.constant([[[50.0, 0.0], [0.0, 50.0]]]))
    scene = sample_scene(
        air,
        copies[:1],
        sure,
        seed=tf.constant([1, 2]),
        likelihood_scale=0.5,
        blur=0.3,
    )
    # The object that is present is a sphere, and alone: it is seen as it is drawn.
    reach = air.config.tabletop.reach
    sphere = air.renderer.layers(
        0, reach * sure.position[:, 0], sure.phase[:, 0, 0], 0.3
    )
    np.testing.assert_allclose(scene.alpha[0, 0], np.ravel(sphere.alpha), atol=1e-5)
    expected = np.square(sure.mask[0, 0] - sphere.alpha[0]).sum()

    class Given:
        def __call__(self, *args, **options):
            return sure

        def __getattr__(self, name):
            return getattr(air, name)

    estimator = _estimator(air.config, initial_blur=0.3, mask_loss_weight=2.0)
    with tf.GradientTape() as tape:
        watched = [sure.mask, sure.position, sure.presence_logits]
        tape.watch(watched)
        result = estimator.estimate(Given(), copies[:1], seed=tf.constant([1, 2]))
        loss = tf.reduce_sum(result.auxiliary_loss)
    np.testing.assert_allclose(result.figures["mask_error"], [expected], rtol=1e-5)
    np.testing.assert_allclose(loss, 2 * expected, rtol=1e-5)
    of_mask, *others = tape.gradient(loss, watched)
    assert others == [None, None]
    difference = sure.mask[0, 0] - sphere.alpha[0]
    np.testing.assert_allclose(of_mask[0, 0], 2 * 2 * difference, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(of_mask[0, 1], tf.zeros([8, 8]))


def test_every_weight_of_the_model_learns(air, copies):
    estimator = _estimator(air.config)
    images = copies[:4]
    variables = air.trainable_variables
    with tf.GradientTape() as tape:
        result = estimator.estimate(air, images, seed=tf.constant([1, 2]))
        loss = result.loss
    for variable, gradient in zip(
        variables, tape.gradient(loss, variables), strict=True
    ):
        assert gradient is not None, variable.path
    assert float(estimator.baseline.mean) != 0.0  # its moments are updated


def test_a_first_object_that_is_given_is_no_decision(air, copies):
    """It is present in every sample, and its presence gets no gradient."""
    found = air(copies, sample=True, seed=[3, 4])
    logits = found.presence_logits
    with tf.GradientTape() as tape:
        tape.watch(logits)
        scene = sample_scene(
            air,
            copies,
            found._replace(presence_logits=logits),
            seed=tf.constant([5, 6]),
            likelihood_scale=0.1,
            blur=air.config.blur,
            given=True,
        )
        decisions = tf.reduce_sum(scene.terms.log_decision)
    np.testing.assert_array_equal(scene.terms.z_pres[:, 0], np.ones(len(copies)))
    gradient = tape.gradient(decisions, logits).numpy()
    np.testing.assert_array_equal(gradient[:, 0], np.zeros(len(copies)))
    assert np.all(gradient[:, 1] != 0.0)
