"""How much estimates of a gradient vary."""

import numpy as np
import tensorflow as tf

from air_tf.config import RunConfig
from air_tf.model.air import AIR, to_float
from air_tf.objectives.baseline import Baseline
from air_tf.objectives.estimators import Draw, estimate
from air_tf.training.trainer import make_baseline_optimizer

_DRAWS, _BASELINE_STEPS = 100, 500


def gradient_variance(air: AIR, images: np.ndarray, config: RunConfig) -> dict:
    """How much the gradient varies with the samples of q, the batch being the same.

    It is the plain estimate, without what training adds about blank steps or the
    count, and without the scaling of `nvil`, whose baseline is fitted at these weights
    first. Concrete has its last temperature.

    Args:
      air: the model; it stays as it is.
      images: [B, H, W, C].
      config: with the objective and its particles.

    Returns:
      "variance", summed over all weights, of 100 draws; "noise_to_signal", its root
      over the length of the mean gradient.
    """
    settings = config.training
    images = to_float(images)
    baseline = None
    if settings.objective == "nvil":
        baseline = Baseline(air.config.image_shape, air.config.max_objects)
    variables = air.trainable_variables

    def draw(seed, *, training=False):
        return Draw(
            air=air,
            images=images,
            seed=seed,
            num_particles=settings.samples_per_image,
            progress=1.0,
            baseline=baseline,
            training=training,
        )

    if baseline is not None:
        _fit_baseline(baseline, draw)

    @tf.function
    def gradient(seed):
        with tf.GradientTape() as tape:
            result = estimate(settings.objective, draw(seed))
            loss = tf.reduce_mean(result.objective.loss)
        gradients = tape.gradient(loss, variables)
        return tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)

    mean = square = 0.0
    for i in range(_DRAWS):
        one = gradient(tf.constant([i, 1])).numpy().astype(np.float64)
        mean, square = mean + one / _DRAWS, square + one**2 / _DRAWS
    spread = np.maximum(square - mean**2, 0.0)  # rounding can make it negative
    variance = float(np.sum(spread) * _DRAWS / (_DRAWS - 1))
    # What is left of the noise in the mean is no signal.
    signal = max(float(np.sum(mean**2)) - variance / _DRAWS, 0.0)
    return {
        "variance": variance,
        "noise_to_signal": float(np.sqrt(variance / signal)) if signal else None,
    }


def _fit_baseline(baseline: Baseline, draw) -> None:
    optimizer = make_baseline_optimizer(baseline)

    @tf.function
    def step(seed):
        with tf.GradientTape() as tape:
            result = estimate("nvil", draw(seed, training=True))
            loss = tf.reduce_mean(result.baseline_loss)
        gradients = tape.gradient(loss, baseline.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, baseline.trainable_variables, strict=True)
        )

    for i in range(_BASELINE_STEPS):
        step(tf.constant([i, 2]))
