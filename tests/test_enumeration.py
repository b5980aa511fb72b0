import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from air_tf.model import distributions
from air_tf.model.air import AIR
from air_tf.model.likelihood import prefix_log_likelihoods
from air_tf.objectives.enumeration import enumeration

tfd = tfp.distributions


@pytest.fixture
def air(small_config):
    return AIR(small_config)


@pytest.fixture
def output(air, images):
    output = air(images, sample=True, seed=[1, 2])
    logits = tf.constant(np.random.default_rng(5).normal(size=(5, 3)), tf.float32)
    return output._replace(inference=output.inference._replace(presence_logits=logits))


def _log_weight(air, output, images, z_pres):
    """log p(x, z) - log q(z), KL of the continuous latents, for given z_pres.

    Written out factor by factor, with z_pres as Bernoulli draws of each step.
    """
    inference = output.inference
    total = 0.0
    still_on = np.ones(len(images))
    q_pres = distributions.presence(inference.presence_logits)
    log_q_pres = tf.where(
        np.tile(z_pres, (len(images), 1)) > 0,
        q_pres.log_prob(1),
        q_pres.log_prob(0),
    ).numpy()
    for t, pres in enumerate(z_pres):
        total -= still_on * log_q_pres[:, t]
        still_on = still_on * pres
    n = sum(z_pres)
    canvas = tf.reduce_sum(output.object_image[:, :n], axis=1)
    scale = air.config.likelihood_scale
    total += tf.reduce_sum(tfd.Normal(canvas, scale).log_prob(images), [1, 2, 3])
    total += air.generative.count_prior().log_prob(n)
    for t in range(n):
        for q, p in (
            (inference.q_where_params, air.generative.where_prior().distribution),
            (inference.q_what_params, air.generative.what_prior().distribution),
        ):
            q = tfd.Normal(q.loc[:, t], q.scale[:, t])
            total -= tf.reduce_sum(tfd.kl_divergence(q, p), axis=1)
    return np.asarray(total)


def test_prefix_likelihoods_are_those_of_normals(air, output, images):
    found = prefix_log_likelihoods(output, images, air.generative.densities())
    for n in range(4):
        canvas = tf.reduce_sum(output.object_image[:, :n], axis=1)
        expected = tf.reduce_sum(tfd.Normal(canvas, 0.3).log_prob(images), [1, 2, 3])
        np.testing.assert_allclose(found[:, n], expected, rtol=1e-5)


def test_elbo_is_the_sum_over_all_outcomes(air, output, images):
    p = tf.sigmoid(output.inference.presence_logits).numpy()
    expected = np.zeros(len(images))
    total_probability = np.zeros(len(images))
    # Every unary code: ones, then a zero unless all T steps are taken.
    for z_pres in itertools.product([0, 1], repeat=3):
        if list(z_pres) != sorted(z_pres, reverse=True):
            continue
        n = sum(z_pres)
        q = p[:, :n].prod(1) * (1 - p[:, n] if n < 3 else 1.0)
        total_probability += q
        expected += q * _log_weight(air, output, images, z_pres)
    np.testing.assert_allclose(total_probability, 1.0, rtol=1e-5)
    objective = enumeration(output, images, air.generative.densities())
    np.testing.assert_allclose(objective.elbo, expected, rtol=1e-5)
    np.testing.assert_allclose(objective.loss, -expected, rtol=1e-5)


def test_terms_add_up(air, output, images):
    o = enumeration(output, images, air.generative.densities())
    total = o.log_likelihood - o.kl_num_objects - o.kl_where - o.kl_what
    np.testing.assert_allclose(o.elbo, total, rtol=1e-6)


def test_value_and_gradient_agree_with_monte_carlo(air, images):
    """Draws of the count, with the score-function gradient (Williams 1992)."""
    one = images[:1]
    base = air(one, sample=True, seed=[1, 2])
    p = air.generative.densities()
    logits = tf.Variable([[0.4, -0.2, 0.3]])
    weights = np.stack(
        [_log_weight(air, base, one, [1] * n + [0] * (3 - n)) for n in range(4)]
    )[:, 0]
    # log q(n) is in the weights with the logits of `base`: put in ours.
    weights += distributions.log_count_probs(base.inference.presence_logits).numpy()[0]

    def with_logits(output):
        return output._replace(
            inference=output.inference._replace(presence_logits=logits)
        )

    with tf.GradientTape() as tape:
        exact = enumeration(with_logits(base), one, p).elbo[0]
    exact_gradient = tape.gradient(exact, logits)[0].numpy()

    q = distributions.count_posterior(logits)
    draws = q.sample(100_000, seed=(7, 8)).numpy()[:, 0]
    log_q = distributions.log_count_probs(logits).numpy()[0]
    signal = weights[draws] - log_q[draws]
    error = signal.std() / np.sqrt(len(draws))
    assert abs(signal.mean() - exact) < 4 * error

    # d log q(n) / d logits: (1 - p_t) for t <= n, - p_{n+1} for the step after.
    prob = tf.sigmoid(logits).numpy()[0]
    score = np.zeros((4, 3))
    for n in range(4):
        score[n, :n] = 1 - prob[:n]
        if n < 3:
            score[n, n] = -prob[n]
    samples = score[draws] * (signal - signal.mean())[:, None]
    errors = samples.std(0) / np.sqrt(len(draws))
    assert np.all(np.abs(samples.mean(0) - exact_gradient) < 4 * errors)


def test_gradient_is_the_pathwise_one(recurrent_config, images):
    """Against differences in one weight, the noise being fixed."""
    # To steps of the difference form, what was drawn before is data.
    air = AIR(recurrent_config)
    p = air.generative.densities()
    weight = air.attend.search._where_head._mlp._output.bias
    direction = np.random.default_rng(0).normal(size=weight.shape).astype(np.float32)

    def mean_elbo():
        output = air(images, sample=True, seed=[1, 2])
        return tf.reduce_mean(enumeration(output, images, p).elbo)

    with tf.GradientTape() as tape:
        value = mean_elbo()
    slope = np.sum(tape.gradient(value, weight.value).numpy() * direction)
    start = weight.numpy()
    weight.assign(start + 1e-3 * direction)
    above = mean_elbo().numpy()
    weight.assign(start - 1e-3 * direction)
    below = mean_elbo().numpy()
    np.testing.assert_allclose(slope, (above - below) / 2e-3, rtol=0.03)


@pytest.mark.parametrize("logit", [-300.0, 300.0])
def test_certain_presence_is_finite(air, output, images, logit):
    logits = tf.Variable(tf.fill([5, 3], logit))
    with tf.GradientTape() as tape:
        certain = output._replace(
            inference=output.inference._replace(presence_logits=logits)
        )
        objective = enumeration(certain, images, air.generative.densities())
    assert np.isfinite(objective.elbo.numpy()).all()
    assert np.isfinite(tape.gradient(objective.elbo, logits).numpy()).all()
