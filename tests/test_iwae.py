import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from air_tf.config import RecurrentConfig
from air_tf.evaluation.bounds import iwae_bound
from air_tf.model import distributions
from air_tf.model.air import AIR
from air_tf.objectives.enumeration import enumeration
from air_tf.objectives.iwae import log_weights

tfd = tfp.distributions
_SAMPLES = (1, 10, 3000)


@pytest.fixture
def air(small_config):
    return AIR(small_config)


def test_weights_are_the_sum_over_counts_written_out(air, images):
    output = air(images, sample=True, seed=[1, 2])
    inference = output.inference
    joint = []
    for n in range(4):
        canvas = tf.reduce_sum(output.object_image[:, :n], axis=1)
        total = tf.reduce_sum(tfd.Normal(canvas, 0.3).log_prob(images), [1, 2, 3])
        total += air.generative.count_prior().log_prob(n)
        for t in range(n):
            for z, q, p in (
                (
                    inference.z_where,
                    inference.q_where_params,
                    air.generative.where_prior(),
                ),
                (
                    inference.z_what,
                    inference.q_what_params,
                    air.generative.what_prior(),
                ),
            ):
                log_q = tfd.Normal(q.loc[:, t], q.scale[:, t]).log_prob(z[:, t])
                total += p.log_prob(z[:, t]) - tf.reduce_sum(log_q, axis=1)
        joint.append(np.exp(np.float64(total)))
    expected = np.log(np.sum(joint, axis=0))
    found = tf.reduce_logsumexp(
        log_weights(output, images, air.generative.densities()), 1
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_weight_is_tighter_than_any_count_posterior(air, images):
    """log of a sum is at least its terms under q(n), by Jensen's inequality."""
    output = air(images, sample=True, seed=[3, 4])
    inference, p = output.inference, air.generative.densities()
    q = distributions.posterior(inference)
    at_least = tf.cumsum(q.count.probs_parameter(), axis=1, reverse=True)[:, 1:]
    objective = enumeration(output, images, p)
    ratio = (
        p.where_prior.log_prob(inference.z_where)
        - q.where.log_prob(inference.z_where)
        + p.what_prior.log_prob(inference.z_what)
        - q.what.log_prob(inference.z_what)
    )
    sampled_elbo = (
        objective.log_likelihood
        - objective.kl_num_objects
        + tf.reduce_sum(at_least * ratio, axis=1)
    )
    bound = tf.reduce_logsumexp(log_weights(output, images, p), axis=1)
    assert np.all(bound >= sampled_elbo)


def test_many_samples_reach_log_p(small_config, images):
    """Of a decoder that draws nothing, p(x) = N(x; 0, sigma) whatever z is."""
    config = dataclasses.replace(
        small_config,
        inference=RecurrentConfig(),  # whose q starts where the prior is
        max_objects=2,
        decoder_bias=-50.0,
        where_prior_scale=(0.1, 0.1, 0.1),  # q is wider, so weights are bounded
        count_decay=0.5,
    )
    air = AIR(config)
    log_p = tf.reduce_sum(tfd.Normal(0.0, 0.3).log_prob(images), [1, 2, 3])
    log_p = float(tf.reduce_mean(log_p))
    bounds = [iwae_bound(air, images, num_samples=k, batch_size=2) for k in _SAMPLES]
    assert bounds[0] < bounds[1] < bounds[2] + 0.01
    np.testing.assert_allclose(bounds[2], log_p, atol=0.02)
