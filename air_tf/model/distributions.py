"""The factors of p and of q as TFP distributions.

p(n) is a geometric distribution truncated to {0 .. T}; z_pres is its unary
code, so q(n) follows from the presence probabilities of the steps
(Eslami et al. 2016, section 2.1).
"""

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from air_tf.structs import Inference, NormalParams, Posterior


def count_prior(count_decay: float, max_objects: int) -> tfd.Categorical:
    """p(n), proportional to count_decay ** n on {0 .. max_objects}."""
    decay = tf.math.log(tf.constant(count_decay, tf.float32))
    return tfd.Categorical(logits=decay * tf.range(max_objects + 1, dtype=tf.float32))


def fitted_count_prior(
    probs: tf.Tensor, max_objects: int, min_prob: float
) -> tfd.Categorical:
    """p(n) as fitted, cut or extended to {0 .. max_objects}.

    Args:
      probs: fitted probabilities of {0 .. T}, [T + 1].
      max_objects: the largest count of the result.
      min_prob: lower bound of the probabilities before they are normalised, so that
        a count that was never inferred in training keeps a finite log probability.
    """
    probs = tf.pad(probs, [[0, max(0, max_objects + 1 - probs.shape[0])]])
    probs = tf.maximum(probs[: max_objects + 1], min_prob)
    return tfd.Categorical(logits=tf.math.log(probs))


def presence(presence_logits: tf.Tensor) -> tfd.Bernoulli:
    """q(z_pres_t | z_pres_{t-1} = 1) of every step; batch shape [B, T]."""
    return tfd.Bernoulli(logits=presence_logits)


def relaxed_presence(
    presence_logits: tf.Tensor, uniform: tf.Tensor, temperature: tf.Tensor | float
) -> tf.Tensor:
    """Relaxed samples of `presence` in (0, 1): binary Concrete, [B, T].

    In the limit of temperature 0, a sample is 1 where `uniform` is below the
    probability, else 0 (Maddison et al. 2017, appendix B).
    """
    logistic = tf.math.log1p(-uniform) - tf.math.log(uniform)
    return tf.sigmoid((presence_logits + logistic) / temperature)


def log_count_probs(presence_logits: tf.Tensor) -> tf.Tensor:
    """log q(n), [B, T + 1].

    q(n) = p_1 .. p_n (1 - p_{n+1}) for n < T and q(T) = p_1 .. p_T: step n + 1
    is the first without an object. Computed in log space, so that probabilities
    that underflow keep finite logarithms.
    """
    log_present = tf.math.log_sigmoid(presence_logits)  # [B, T]
    log_absent = tf.math.log_sigmoid(-presence_logits)  # [B, T]
    zero = tf.zeros_like(log_present[:, :1])
    log_reached = tf.concat([zero, tf.cumsum(log_present, axis=1)], axis=1)
    return log_reached + tf.concat([log_absent, zero], axis=1)


def most_probable_count(presence_logits: tf.Tensor) -> tf.Tensor:
    """argmax of q(n), [B] int32; of equal probabilities, the smaller count."""
    return tf.argmax(log_count_probs(presence_logits), axis=1, output_type=tf.int32)


def unary_code(num_objects: tf.Tensor, steps: int) -> tf.Tensor:
    """Counts [B] to z_pres [B, T]: 1 for the first `num_objects` steps, then 0."""
    return tf.sequence_mask(num_objects, steps, dtype=tf.float32)


def count_posterior(presence_logits: tf.Tensor) -> tfd.Categorical:
    """q(n) of presence logits [B, T]: batch shape [B] over {0 .. T}."""
    return tfd.Categorical(logits=log_count_probs(presence_logits))


def diagonal_normal(params: NormalParams) -> tfd.Independent:
    """Normal distributions, independent along the last axis."""
    return tfd.Independent(
        tfd.Normal(loc=params.loc, scale=params.scale), reinterpreted_batch_ndims=1
    )


def where_prior(loc: tuple[float, ...], scale: tuple[float, ...]) -> tfd.Independent:
    """p(z_where): event shape [3]."""
    return diagonal_normal(NormalParams(loc=tf.constant(loc), scale=tf.constant(scale)))


def what_prior(size: int) -> tfd.Independent:
    """p(z_what), standard normal: event shape [D]."""
    return diagonal_normal(NormalParams(loc=tf.zeros([size]), scale=tf.ones([size])))


def posterior(inference: Inference) -> Posterior:
    """The factors of q(z | x), each of batch shape [B] or [B, T]."""
    return Posterior(
        count=count_posterior(inference.presence_logits),
        presence=presence(inference.presence_logits),
        where=diagonal_normal(inference.q_where_params),
        what=diagonal_normal(inference.q_what_params),
    )
