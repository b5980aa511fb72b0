"""The training step."""

import math

import keras
import tensorflow as tf

from air_tf.config import TrainingConfig
from air_tf.model.air import AIR, to_float
from air_tf.objectives.baseline import Baseline
from air_tf.objectives.bound import TERMS
from air_tf.objectives.estimators import Draw, estimate


class Trainer(keras.Model):
    """Fits a model by gradient steps: `compile` with an optimizer, then `fit`.

    Random numbers are a function of the seed and the optimizer's step, so a
    run that resumes draws what an uninterrupted one would have drawn.

    Args:
      air: the model to fit.
      config: the objective, its samples and the seed.
    """

    def __init__(self, air: AIR, config: TrainingConfig, **kwargs):
        super().__init__(**kwargs)
        self.air = air
        self._config = config
        self.baseline = self.baseline_optimizer = None
        if config.objective == "nvil":
            # Foresight has an optimizer of its own, and is saved to resume, but it
            # is no part of the model.
            self.baseline = Baseline(air.config.image_shape, air.config.max_objects)
            self.baseline_optimizer = make_baseline_optimizer(self.baseline)
        names = (
            *TERMS,
            "mean_count",
            "reconstruction_error",
            "blanks",
            "gradient_norm",
        )
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @property
    def metrics(self):
        return list(self._trackers.values())

    # Loops are `tf.while_loop`s already; reading the code again takes a second.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, images):
        """One step on [B, H, W, C], uint8 or float in [0, 1]."""
        images = to_float(images)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        draw = Draw(
            air=self.air,
            images=images,
            seed=tf.stack([self._config.seed, step]),
            num_particles=self._config.samples_per_image,
            progress=tf.cast(step, tf.float32) / self._config.steps,
            baseline=self.baseline,
        )
        variables = self.air.trainable_variables
        foreseeing = [] if self.baseline is None else self.baseline.trainable_variables
        with tf.GradientTape() as tape:
            result = estimate(self._config.objective, draw)
            # The weights of the one are constants in the other: two losses in one.
            loss = tf.reduce_mean(result.objective.loss + result.lesson)
            loss += tf.reduce_mean(result.baseline_loss)
        gradients, baseline_gradients = tape.gradient(loss, [variables, foreseeing])
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if foreseeing:
            self.baseline_optimizer.apply_gradients(
                zip(baseline_gradients, foreseeing, strict=True)
            )

        repeated = tf.repeat(images, draw.num_particles, axis=0)
        values = {name: getattr(result.objective, name) for name in TERMS} | {
            "mean_count": result.objective.mean_count,
            "reconstruction_error": tf.square(repeated - result.output.canvas),
            "blanks": result.blanks,
            "gradient_norm": tf.linalg.global_norm(gradients),
        }
        for name, value in values.items():
            self._trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self._trackers.items()}


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba 2015): a constant rate, then a cosine to a tenth.

    `CosineDecay` warms up first; a warm-up from the rate to itself is what
    keeps it constant for half of the steps.
    """
    half = max(config.steps // 2, 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate,
        decay_steps=max(config.steps - half, 1),
        alpha=0.1,
        warmup_target=config.learning_rate,
        warmup_steps=half,
    )
    return keras.optimizers.Adam(schedule)


def make_baseline_optimizer(baseline: Baseline) -> keras.optimizers.Optimizer:
    """Adam, at a rate of its own."""
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(baseline.trainable_variables)
    return optimizer


def steps_per_execution(config: TrainingConfig) -> int:
    """Steps between returns to Python, which cost a seventh of a step: at most 10."""
    return math.gcd(config.steps, config.steps_per_evaluation, 10)
