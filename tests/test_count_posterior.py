import numpy as np
import pytest
import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.air import AIR
from air_tf.model.likelihood import count_bounds
from air_tf.objectives.count_posterior import (
    count_loss,
    object_loss,
    without_count_gradient,
)
from air_tf.objectives.enumeration import enumeration


@pytest.fixture
def air(small_config):
    return AIR(small_config)


def _output(air, images, logits):
    output = air(images, sample=True, seed=[1, 2])
    logits = tf.convert_to_tensor(np.broadcast_to(logits, (5, 3)).astype(np.float32))
    return output._replace(inference=output.inference._replace(presence_logits=logits))


def test_the_bound_is_the_mean_of_its_counts(air, images):
    output = _output(air, images, np.random.default_rng(5).normal(size=(5, 3)))
    p = air.generative.densities()
    log_q = distributions.log_count_probs(output.inference.presence_logits)
    each = count_bounds(output, images, p) - log_q
    expected = tf.reduce_sum(tf.exp(log_q) * each, axis=1)
    np.testing.assert_allclose(enumeration(output, images, p).elbo, expected, rtol=1e-5)


def test_no_other_count_distribution_has_a_larger_bound(air, images):
    """softmax(E_n) gives log sum exp(E_n), and that is the most there is."""
    p = air.generative.densities()
    bounds = count_bounds(_output(air, images, 0.0), images, p)
    # Logits whose unary code has these probabilities: p_t = q(n >= t) / q(n >= t - 1).
    probs = tf.nn.softmax(bounds).numpy().astype(np.float64)
    at_least = np.cumsum(probs[:, ::-1], axis=1)[:, ::-1]
    present = np.clip(at_least[:, 1:] / at_least[:, :-1], 1e-7, 1 - 1e-7)
    best = enumeration(_output(air, images, np.log(present / (1 - present))), images, p)
    np.testing.assert_allclose(best.elbo, tf.reduce_logsumexp(bounds, 1), rtol=1e-5)
    for logits in (-2.0, 0.0, 2.0):
        other = enumeration(_output(air, images, logits), images, p)
        assert np.all(other.elbo < best.elbo)


def test_the_loss_is_the_difference_of_the_probabilities(air, images):
    """The gradient of a cross-entropy to log q(n) is -posterior."""
    p = air.generative.densities()
    output = _output(air, images, 0.3)
    logits = output.inference.presence_logits
    with tf.GradientTape() as tape:
        tape.watch(logits)
        output = output._replace(
            inference=output.inference._replace(presence_logits=logits)
        )
        loss = count_loss(output, images, p)
    found = tape.gradient(loss, logits).numpy()
    posterior = tf.nn.softmax(count_bounds(output, images, p)).numpy()
    # Logit t is in log q(n) for n >= t - 1: present where n >= t, absent at n = t - 1.
    sigmoid = 1 / (1 + np.exp(-0.3))
    for t in range(3):
        expected = sigmoid * posterior[:, t] - (1 - sigmoid) * posterior[
            :, t + 1 :
        ].sum(1)
        np.testing.assert_allclose(found[:, t], expected, atol=1e-5)


def test_what_was_given_up_is_found_again(air):
    """An object that is drawn as it is, and an inference that is sure there is none."""
    image = np.zeros((5, 16, 16, 1), np.float32)
    image[:, 4:12, 4:12] = 1.0
    p = air.generative.densities()
    output = _output(air, image, -20.0)
    drawn = tf.stack([image, 0 * image, 0 * image], axis=1)
    logits = output.inference.presence_logits

    def gradient(loss):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(
                output._replace(
                    object_image=drawn,
                    inference=output.inference._replace(presence_logits=logits),
                )
            )
        return tape.gradient(value, logits).numpy()[:, 0]

    # 64 pixels of 1 pay 64 / (2 * 0.3 ** 2) = 356 nats.
    bound = gradient(lambda given: enumeration(given, image, p).loss)
    loss = gradient(lambda given: count_loss(given, image, p))
    assert np.all(np.abs(bound) < 1e-5)
    np.testing.assert_allclose(loss, -1.0, atol=1e-3)


def test_the_loss_is_for_the_count_alone(air, images):
    # Of one step: the next remembers what was sampled, and its presence depends on it.
    with tf.GradientTape(persistent=True) as tape:
        output = air(images, sample=True, seed=[1, 2], max_objects=1)
        p = air.generative.densities(1)
        of_count = count_loss(output, images, p)
        of_bound = enumeration(without_count_gradient(output), images, p).loss
    # The decoder serves only what is drawn; the output of presence only the count.
    for weight in air.generative.decoder.trainable_variables:
        assert tape.gradient(of_count, weight) is None
    bias = air.attend.search._cells._mlp._output.bias.value
    assert np.abs(tape.gradient(of_count, bias)[0]) > 1e-3
    np.testing.assert_array_equal(tape.gradient(of_count, bias)[1:], np.zeros(3))
    assert tape.gradient(of_bound, bias)[0] == 0.0


def test_every_step_alone_learns_whether_its_object_pays(air, images):
    """The gradient of a cross-entropy is the probability minus the target."""
    p = air.generative.densities()
    output = _output(air, images, 0.3)
    logits = output.inference.presence_logits
    with tf.GradientTape() as tape:
        tape.watch(logits)
        output = output._replace(
            inference=output.inference._replace(presence_logits=logits)
        )
        loss = object_loss(output, images, p)
    gains = np.diff(count_bounds(output, images, p).numpy(), axis=1)
    expected = 1 / (1 + np.exp(-0.3)) - 1 / (1 + np.exp(-gains))
    np.testing.assert_allclose(tape.gradient(loss, logits), expected, atol=1e-5)
