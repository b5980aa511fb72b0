"""Estimators of the gradient against the exact sum over counts."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from air_tf.config import (
    OBJECTIVES,
    IWAEConfig,
    NVILConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.config.objectives import OBJECTIVES_3D
from air_tf.model import distributions
from air_tf.model.air import AIR
from air_tf.objectives.baseline import Baseline
from air_tf.objectives.concrete import concrete, falling_temperature
from air_tf.objectives.enumeration import enumeration
from air_tf.objectives.iwae import iwae, log_weights
from air_tf.objectives.nvil import nvil
from air_tf.objectives.objective import make_objective
from air_tf.objectives.reinforce import learning_signal, reinforce, sampled
from air_tf.objectives.vimco import bound_without_each, vimco
from air_tf.training.trainer import Trainer, make_optimizer

_COPIES, _BATCHES, _PARTICLES = 600, 60, 2


@pytest.fixture
def unsure(small_config):
    """Unsure of the count, which costs little: every term of the gradient counts."""
    return dataclasses.replace(
        small_config, max_objects=2, likelihood_scale=0.6, count_decay=0.5
    )


@pytest.fixture
def air(unsure):
    """The same weights for each test, as its seed is."""
    air = AIR(unsure)
    air.attend.search._cells._mlp._output.bias.assign_add([0.3, 0, 0, 0])
    return air


@pytest.fixture
def copies(images):
    """One image again and again: a batch averages over samples."""
    return tf.repeat(tf.constant(images[:1]), _COPIES, axis=0)


def _weights(air):
    # Of the presence and z_where of a step, and of what is made of a glimpse.
    return [
        air.attend.search._cells._mlp._output.bias.value,
        air.attend.search._where_head._mlp._output.bias.value,
        air.attend.encoder._mlp._output.bias.value,
        air.generative.decoder._mlp._hidden[0].bias.value,
    ]


def _value_and_gradient(air, loss):
    """Traces what `loss(seed, ...)` is, and its gradient: [1 + weights]."""

    @tf.function(autograph=False)
    def one(seed, *settings):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(seed, *settings))
        gradients = tape.gradient(value, _weights(air))
        return tf.concat([[value], *gradients], axis=0)

    return one


def _mean(one, *settings):
    """Mean of `one(seed, ...)` over seeds, with standard errors."""
    settings = [tf.constant(value) for value in settings]
    rows = [one(tf.constant([i, 9]), *settings).numpy() for i in range(_BATCHES)]
    return np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows))


def _mean_gradient(air, loss):
    return _mean(_value_and_gradient(air, loss))


@pytest.fixture(scope="module")
def exact_of_weights():
    """What `exact` found, by the bytes of the weights."""
    return {}


@pytest.fixture
def exact(air, copies, exact_of_weights):
    """Mean value and gradient of the exact sum; it is the same in each test."""

    def loss(seed):
        output = air(copies, sample=True, seed=seed)
        return -enumeration(output, copies, air.generative.densities()).elbo

    key = b"".join(weight.tobytes() for weight in air.get_weights())
    if key not in exact_of_weights:
        exact_of_weights[key] = _mean_gradient(air, loss)
    return exact_of_weights[key]


def _assert_same(found, expected, values=True):
    (a, a_error), (b, b_error) = found, expected
    score = np.abs(a - b) / np.sqrt(a_error**2 + b_error**2)
    assert score[0 if values else 1 :].max() < 4.5
    # The test can detect a missing score-function term: the errors are much smaller.
    assert b_error[1] < 0.1 * np.abs(b[1])


@pytest.mark.parametrize("loop", ["full", "early_stop"])
def test_reinforce_is_unbiased(air, copies, exact, loop):
    def loss(seed):
        output = air(copies, sample=True, seed=seed, loop=loop)
        objective = reinforce(output, copies, air.generative.densities())
        # The value is that of the bound, the gradient that of the loss.
        return objective.loss - tf.stop_gradient(objective.loss + objective.elbo)

    _assert_same(_mean_gradient(air, loss), exact)


def _terms(air, copies, seed):
    output = air(copies, sample=True, seed=seed, loop="early_stop")
    return output, sampled(output, copies, air.generative.densities())


def test_nvil_is_unbiased_whatever_its_baseline_says(air, copies, exact):
    def loss(seed):
        output, terms = _terms(air, copies, seed)
        # Of the step and the objects before it, as a baseline may be.
        first = output.inference.z_where[:, 0, 0]
        baseline = tf.stack([tf.fill([_COPIES], 3.0), 5.0 * first], axis=1)
        objective = nvil(terms, baseline=baseline, mean=-90.0, scale=1.0).bound
        return objective.loss - tf.stop_gradient(objective.loss + objective.elbo)

    _assert_same(_mean_gradient(air, loss), exact)


def test_a_good_baseline_lowers_the_variance(air, copies):
    baseline = tf.zeros([_COPIES, 2])

    def loss(seed, mean):
        _, terms = _terms(air, copies, seed)
        return nvil(terms, baseline=baseline, mean=mean, scale=1.0).bound.loss

    one = _value_and_gradient(air, loss)

    def spread(mean):
        return _mean(one, mean)[1][1]

    signal = learning_signal(_terms(air, copies, [0, 0])[1])
    assert spread(tf.reduce_mean(signal)) < 0.5 * spread(0.0)


def test_nvil_scales_what_presence_learns(air, copies):
    _, terms = _terms(air, copies, [1, 1])
    given = {"baseline": tf.zeros([_COPIES, 2]), "mean": 0.0}
    one, ten = (nvil(terms, scale=scale, **given) for scale in (1.0, 10.0))
    np.testing.assert_allclose(ten.baseline_loss, one.baseline_loss / 100, rtol=1e-4)
    np.testing.assert_array_equal(one.bound.elbo, ten.bound.elbo)


def test_vimco_is_unbiased_for_the_bound_of_its_samples(air, copies):
    def loss(seed):
        output = air(copies, sample=True, seed=seed, loop="early_stop")
        objective = vimco(
            output, copies, air.generative.densities(), num_particles=_PARTICLES
        )
        return objective.loss

    def exact(seed):
        """Every pair of counts of two samples, with its probability."""
        output = air(copies, sample=True, seed=seed)
        log_q = distributions.log_count_probs(output.inference.presence_logits)
        log_w = log_weights(output, copies, air.generative.densities()) - log_q
        a, b = log_w[0::2, :, tf.newaxis], log_w[1::2, tf.newaxis, :]
        probs = tf.exp(log_q[0::2, :, tf.newaxis] + log_q[1::2, tf.newaxis, :])
        bound = tfp.math.log_add_exp(a, b)
        return -tf.reduce_sum(probs * (bound - np.log(2.0)), axis=[1, 2])

    # The value of a score-function loss has no meaning; only its gradient has.
    _assert_same(_mean_gradient(air, loss), _mean_gradient(air, exact), values=False)


def test_bound_without_each_sample_written_out():
    log_weight = np.array([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    expected = np.zeros((2, 3))
    for b in range(2):
        for k in range(3):
            row = log_weight[b].copy()
            row[k] = np.delete(log_weight[b], k).mean()
            expected[b, k] = np.log(np.exp(row).mean())
    found = bound_without_each(tf.constant(log_weight))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bias_of_concrete_shrinks_with_its_temperature(air, copies, exact):
    def loss(seed, temperature):
        seeds = tf.random.split(seed, 2)
        output = air(copies, sample=True, seed=seeds[0])
        uniform = tf.random.stateless_uniform([_COPIES, 2], seeds[1])
        return concrete(
            output,
            copies,
            air.generative.densities(),
            uniform=tf.clip_by_value(uniform, 1e-6, 1 - 1e-6),
            temperature=temperature,
        ).loss

    one = _value_and_gradient(air, loss)

    def distance(temperature):
        (found, error), (expected, exact_error) = _mean(one, temperature), exact
        # Of the value and of the gradient of presence.
        return np.abs(found - expected)[:2], 4.5 * (error + exact_error)[:2]

    (hot, _), (warm, _), (cold, cold_error) = map(distance, (2.0, 0.7, 0.1))
    assert np.all(cold < hot) and np.all(warm < hot)
    assert np.all(cold < cold_error + 0.05 * hot)


def test_temperature_falls_geometrically():
    np.testing.assert_allclose(
        falling_temperature(2.0, 0.5, np.array([0.0, 0.5, 1.0])), [2.0, 1.0, 0.5]
    )


def test_iwae_is_at_least_the_exact_bound_and_grows_with_samples(air, copies, exact):
    p = air.generative.densities()

    def bound(seed, num_particles):
        output = air(copies, sample=True, seed=seed)
        objective = iwae(output, copies, p, num_particles=num_particles)
        log_q = distributions.log_count_probs(output.inference.presence_logits)
        shares = tf.nn.softmax(
            tf.reshape(log_weights(output, copies, p), [-1, 3 * num_particles]), axis=1
        )
        count_loss = -tf.reduce_sum(
            shares * tf.reshape(log_q, tf.shape(shares)), axis=1
        )
        return tf.reduce_mean(count_loss - objective.loss)

    mean = tf.function(bound, autograph=False)
    bounds = [_mean(functools.partial(mean, num_particles=k)) for k in (1, 3, 20)]
    values, errors = zip(*bounds, strict=True)
    assert -exact[0][0] < values[0] - 5 * errors[0]
    assert values[0] < values[1] - 5 * errors[1]
    assert values[1] < values[2] - 5 * errors[2]


def test_gradient_of_iwae_is_the_pathwise_one(unsure, recurrent_config, copies):
    """Against differences in the weights of z_where, the noise being fixed."""
    # To steps of the difference form, what was drawn before is data.
    air = AIR(dataclasses.replace(unsure, inference=recurrent_config.inference))
    p, weight = (
        air.generative.densities(),
        air.attend.search._where_head._mlp._output.bias,
    )
    direction = np.array([0.0, 1.0, -0.5, 0.7, 0.2, -0.3, 0.4], np.float32)
    output = air(copies, sample=True, seed=[1, 2])
    logits = output.inference.presence_logits  # what is learned of them is not a bound

    def loss():
        output = air(copies, sample=True, seed=[1, 2])
        inference = output.inference._replace(presence_logits=logits)
        mine = output._replace(inference=inference)
        return iwae(mine, copies, p, num_particles=2).loss

    def bound():
        output = air(copies, sample=True, seed=[1, 2])
        pairs = tf.reshape(log_weights(output, copies, p), [-1, 6])
        return tf.reduce_mean(tf.reduce_logsumexp(pairs, axis=1))

    with tf.GradientTape() as tape:
        value = tf.reduce_mean(loss())
    slope = -np.sum(tape.gradient(value, weight.value).numpy() * direction)
    start = weight.numpy()
    weight.assign(start + 1e-3 * direction)
    above = bound().numpy()
    weight.assign(start - 1e-3 * direction)
    below = bound().numpy()
    np.testing.assert_allclose(slope, (above - below) / 2e-3, rtol=0.03)


def test_iwae_draws_the_count_towards_the_weights(air, copies):
    output = air(copies, sample=True, seed=[5, 6])
    shares = tf.nn.softmax(
        log_weights(output, copies, air.generative.densities()), axis=1
    )
    logits = tf.Variable(output.inference.presence_logits)

    def gradient():
        with tf.GradientTape() as tape:
            inference = output.inference._replace(presence_logits=logits)
            mine = output._replace(inference=inference)
            loss = iwae(mine, copies, air.generative.densities(), num_particles=1).loss
        return tape.gradient(loss, logits).numpy()

    assert np.abs(gradient()).max() > 0.01
    reached = tf.cumsum(shares, axis=1, reverse=True)
    present = reached[:, 1:] / reached[:, :-1]
    logits.assign(tf.math.log(present) - tf.math.log1p(-present))
    np.testing.assert_allclose(gradient(), 0.0, atol=1e-5)


def test_baseline_follows_the_moments_of_the_signal(small_config):
    baseline = Baseline(small_config.image_shape, 2, NVILConfig())
    decided = tf.constant([[1.0, 0.0], [1.0, 1.0]])
    first = tf.constant([[4.0, 1000.0], [4.0, 10.0]])
    baseline.update(first, decided)
    # At once, not on the way from 0.
    np.testing.assert_allclose(baseline.mean, 6.0, rtol=1e-5)
    np.testing.assert_allclose(baseline.scale, np.std([4, 4, 10]), rtol=1e-5)
    for _ in range(60):
        baseline.update(tf.constant([[10.0, 1000.0], [20.0, 40.0]]), decided)
    used = np.array([10.0, 20.0, 40.0])
    np.testing.assert_allclose(baseline.mean, used.mean(), rtol=1e-3)
    np.testing.assert_allclose(baseline.scale, used.std(), rtol=1e-3)
    for _ in range(60):
        baseline.update(tf.fill([2, 2], 5.0), decided)
    np.testing.assert_allclose(baseline.scale, 1.0)


def test_baseline_does_not_see_what_it_judges(air, images):
    """Neither the decision of its step nor what comes after it."""
    baseline = Baseline(air.config.image_shape, 2, NVILConfig())
    output = air(images, sample=True, seed=[1, 2])

    def values(*z_pres):
        canvases = air.generative.composition.prefix_canvases(
            output.ground, output.object_image, tf.constant([z_pres] * 5)
        )
        return baseline(images, canvases[:, :-1]).numpy()

    both, first, none = values(1.0, 1.0), values(1.0, 0.0), values(0.0, 0.0)
    np.testing.assert_array_equal(both, first)
    np.testing.assert_array_equal(none[:, 0], both[:, 0])
    assert np.all(none[:, 1] != both[:, 1])


@pytest.mark.parametrize(
    "objective, inference, jit_compile",
    # XLA takes its time: once with all steps taken, once with a loop that stops early.
    # tests/test_train.py has the default.
    [
        (name, form, False)
        for name in OBJECTIVES
        if name not in OBJECTIVES_3D
        for form in ("difference", "recurrent")
    ]
    + [("enumeration", "recurrent", True), ("nvil", "difference", True)],
)
def test_a_step_of_training_moves_all_weights(
    small_config, recurrent_config, images, objective, inference, jit_compile
):
    model = small_config if inference == "difference" else recurrent_config
    air = AIR(dataclasses.replace(model, max_objects=2))
    config = TrainingConfig(objective=OBJECTIVES[objective](), jit_compile=jit_compile)
    trainer = Trainer(air, config)
    trainer.compile(
        optimizer=make_optimizer(config),
        jit_compile=jit_compile,
        # Each objective is traced once: for XLA, or with the form of the smaller graph.
        run_eagerly=not jit_compile
        and (inference == "difference" or objective in ("enumeration", "nvil")),
    )
    before = [w.numpy() for w in air.trainable_variables]
    batches = tf.data.Dataset.from_tensors(images).repeat(2)
    history = trainer.fit(batches, verbose=0, shuffle=False).history
    assert np.isfinite(history["elbo"]).all()
    moved = [
        np.abs(w.numpy() - old).max()
        for w, old in zip(air.trainable_variables, before, strict=True)
    ]
    assert min(moved) > 0.0
    assert (trainer.network_optimizer is not None) == (objective == "nvil")
    names = {w.path for w in trainer.weights} - {w.path for w in air.weights}
    assert any("baseline" in name for name in names) == (objective == "nvil")


def test_what_is_compiled_holds_for_all_seeds(air, images):
    def trainer(seed):
        return Trainer(air, TrainingConfig(seed=seed, jit_compile=False))

    one, images, step = trainer(1), tf.constant(images), tf.constant(3)
    estimate = tf.function(one.estimate, autograph=False)
    bounds = []
    for seed in (1, 7):
        one._seed.assign(seed)
        _, found = estimate(images, step)
        _, expected = trainer(seed).estimate(images, step)
        np.testing.assert_allclose(found["elbo"], expected["elbo"], rtol=1e-4)
        bounds.append(found["elbo"])
    assert np.abs(bounds[0] - bounds[1]).max() > 0.1
    assert estimate.experimental_get_tracing_count() == 1


def test_particles_are_samples_of_the_same_image(air, images):
    training = TrainingConfig(objective=IWAEConfig(num_particles=3))
    objective = make_objective(RunConfig(model=air.config, training=training))
    assert objective.samples_per_image == 3
    result = objective.estimate(air, tf.constant(images), seed=tf.constant([1, 2]))
    assert result.bound.loss.shape == (5,)
    assert result.bound.elbo.shape == (15,)
    assert np.isfinite(result.bound.loss).all()
