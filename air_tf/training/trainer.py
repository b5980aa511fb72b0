"""The training step."""

import keras
import tensorflow as tf

from air_tf.config import TrainingConfig
from air_tf.model.air import AIR, to_float
from air_tf.objectives.blank_steps import without_blanks
from air_tf.objectives.enumeration import TERMS, enumeration


class Trainer(keras.Model):
    """Fits a model by gradient steps: `compile` with an optimizer, then `fit`.

    Random numbers are a function of the seed and the optimizer's step, so a
    run that resumes draws what an uninterrupted one would have drawn.

    Args:
      air: the model to fit.
      seed: of the samples of q.
    """

    def __init__(self, air: AIR, *, seed: int, **kwargs):
        super().__init__(**kwargs)
        self.air = air
        self._seed = seed
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

    def train_step(self, images):
        """One step on [B, H, W, C], uint8 or float in [0, 1]."""
        images = to_float(images)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        p = self.air.densities()
        with tf.GradientTape() as tape:
            output = self.air(images, sample=True, seed=tf.stack([self._seed, step]))
            better = without_blanks(output, images, p)
            objective = enumeration(better.output, images, p)
            loss = tf.reduce_mean(objective.loss + better.lesson)
        variables = self.air.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))

        counts = tf.range(objective.count_probs.shape[1], dtype=tf.float32)
        values = {name: getattr(objective, name) for name in TERMS} | {
            "mean_count": tf.linalg.matvec(objective.count_probs, counts),
            "reconstruction_error": tf.square(images - output.canvas),
            "blanks": tf.reduce_sum(better.blank, axis=1),
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
