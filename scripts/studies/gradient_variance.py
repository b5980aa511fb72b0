"""How much estimates of a gradient vary."""

import dataclasses

import numpy as np
import tensorflow as tf

from air_tf.config import RunConfig
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.objectives.objective import Objective, make_objective
from air_tf.training.trainer import make_network_optimizer

_DRAWS, _NETWORK_STEPS = 100, 500


def gradient_variance(
    air: AIR | AIR3D, images: np.ndarray, config: RunConfig
) -> dict[str, float | None]:
    """The variance of the gradient over samples of q, for one batch.

    Of the plain estimator of the bound: without auxiliary losses, and without the
    scaling of `nvil`, whose baseline is fitted at these weights first. `concrete` has
    its final temperature.

    Args:
      air: the model, which is not changed.
      images: [B, H, W, C], float in [0, 1] or uint8.
      config: of the run, with the objective; its model is that of `air`.

    Returns:
      "variance", in nats squared, summed over all weights, over 100 draws;
      "noise_to_signal", its square root over the norm of the mean gradient, or None
      if the mean can't be told from 0.
    """
    images = to_float(images)
    # The canvas of a prepared dataset is its own.
    objective = make_objective(dataclasses.replace(config, model=air.config))
    if objective.trainable_variables:
        _fit_networks(objective, air, images)
    variables = air.trainable_variables

    @tf.function(autograph=False)
    def gradient(seed: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            result = objective.estimate(
                air, images, seed=seed, progress=1.0, plain=True
            )
            loss = tf.reduce_mean(result.bound.loss)
        gradients = tape.gradient(loss, variables)
        # The bound has no gradient for the masks of 3D scenes.
        known = [
            tf.zeros_like(variable) if one is None else one
            for one, variable in zip(gradients, variables, strict=True)
        ]
        return tf.concat([tf.reshape(one, [-1]) for one in known], axis=0)

    mean = square = 0.0
    for i in range(_DRAWS):
        one = gradient(tf.constant([i, 1])).numpy().astype(np.float64)
        mean, square = mean + one / _DRAWS, square + one**2 / _DRAWS
    spread = np.maximum(square - mean**2, 0.0)  # rounding can make it negative
    variance = float(np.sum(spread) * _DRAWS / (_DRAWS - 1))
    # The squared norm of the mean includes this share of the variance.
    signal = max(float(np.sum(mean**2)) - variance / _DRAWS, 0.0)
    return {
        "variance": variance,
        "noise_to_signal": float(np.sqrt(variance / signal)) if signal else None,
    }


def _fit_networks(objective: Objective, air: AIR | AIR3D, images: tf.Tensor) -> None:
    """Fits an objective's own networks, with the weights of the model fixed."""
    variables = objective.trainable_variables
    optimizer = make_network_optimizer(objective)

    @tf.function(autograph=False)
    def step(seed: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            result = objective.estimate(air, images, seed=seed, progress=1.0)
            loss = tf.reduce_mean(result.network_loss)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    for i in range(_NETWORK_STEPS):
        step(tf.constant([i, 2]))
