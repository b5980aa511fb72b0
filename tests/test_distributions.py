import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from air_tf.model import distributions
from air_tf.structs import NormalParams


def test_count_prior_is_a_truncated_geometric():
    # 1 : 1/10 : 1/100, whose sum is 1.11.
    probs = distributions.count_prior(0.1, 2).probs_parameter()
    np.testing.assert_allclose(probs, [1 / 1.11, 0.1 / 1.11, 0.01 / 1.11], rtol=1e-5)


def test_count_posterior_is_the_unary_code():
    p = np.array([[0.9, 0.5, 0.2]])
    logits = np.log(p / (1 - p)).astype(np.float32)
    # q(0) = 0.1, q(1) = 0.9 * 0.5, q(2) = 0.9 * 0.5 * 0.8, q(3) = 0.9 * 0.5 * 0.2
    probs = distributions.count_posterior(logits).probs_parameter()
    np.testing.assert_allclose(probs, [[0.1, 0.45, 0.36, 0.09]], rtol=1e-5)


def test_count_posterior_agrees_with_draws_of_presence():
    logits = tf.constant([[0.5, -0.3, 1.0]])
    draws = distributions.presence(logits).sample(200_000, seed=(1, 2))
    counts = tf.reduce_sum(tf.math.cumprod(draws, axis=-1), axis=-1)[:, 0]
    found = np.bincount(counts.numpy(), minlength=4) / 200_000
    probs = distributions.count_posterior(logits).probs_parameter()[0]
    np.testing.assert_allclose(found, probs, atol=0.005)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_certain_presence_stays_finite(logit):
    logits = tf.Variable([[logit, logit]])
    with tf.GradientTape() as tape:
        kl = distributions.count_posterior(logits).kl_divergence(
            distributions.count_prior(0.01, 2)
        )
    assert np.isfinite(kl.numpy()).all()
    assert np.isfinite(tape.gradient(kl, logits).numpy()).all()


def test_most_probable_count_is_not_the_first_unlikely_step():
    # p = 0.6 three times: q = 0.4, 0.24, 0.144, 0.216, though every step is
    # more likely than not.
    logits = tf.fill([1, 3], float(np.log(0.6 / 0.4)))
    assert distributions.most_probable_count(logits).numpy().tolist() == [0]
    assert distributions.most_probable_count(
        tf.constant([[9.0, 9.0, -9.0]])
    ).numpy().tolist() == [2]


def test_unary_code():
    np.testing.assert_array_equal(
        distributions.unary_code(tf.constant([0, 2]), 3), [[0, 0, 0], [1, 1, 0]]
    )


def test_normal_kl_is_the_closed_form_and_agrees_with_draws():
    # KL(N(m, s) || N(0, 1)) = (s^2 + m^2 - 1) / 2 - log s
    q = distributions.diagonal_normal(
        NormalParams(loc=tf.constant([1.0, 0.0]), scale=tf.constant([0.5, 2.0]))
    )
    p = distributions.what_prior(2)
    expected = (0.25 + 1 - 1) / 2 - np.log(0.5) + (4 - 1) / 2 - np.log(2.0)
    kl = tfp.distributions.kl_divergence(q, p)
    np.testing.assert_allclose(kl, expected, rtol=1e-6)
    z = q.sample(200_000, seed=(3, 4))
    estimate = tf.reduce_mean(q.log_prob(z) - p.log_prob(z))
    np.testing.assert_allclose(estimate, expected, rtol=0.02)
