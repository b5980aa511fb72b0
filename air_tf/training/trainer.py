"""The training step and its optimizers."""

import math

import keras
import tensorflow as tf

from air_tf.config import RunConfig, TrainingConfig
from air_tf.config.objectives import TabletopObjectiveConfig
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.objectives.bound import TERMS
from air_tf.objectives.objective import Objective, make_objective


class Trainer(keras.Model):
    """Trains a model: call `compile` with an optimizer, then `fit`.

    Random numbers depend only on the seed and the optimizer's step, so a run that
    resumes gets the same samples as an uninterrupted one.

    Args:
      air: the model to train.
      config: settings of training, including the objective.
    """

    def __init__(self, air: AIR | AIR3D, config: TrainingConfig, **kwargs):
        super().__init__(**kwargs)
        self.air = air
        self._config = config
        self.objective = make_objective(RunConfig(model=air.config, training=config))
        self.network_optimizer = None
        if self.objective.trainable_variables:
            self.network_optimizer = make_network_optimizer(self.objective)
        names = (
            *TERMS,
            "mean_count",
            "reconstruction_error",
            *self.objective.FIGURES,
            "gradient_norm",
        )
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @property
    def metrics(self):
        return list(self._trackers.values())

    # Without AutoGraph: loops are `tf.while_loop`s, and the conversion takes a second.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, images):
        """One training step on [B, H, W, C], uint8 or float in [0, 1]."""
        images = to_float(images)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        objective = self.objective
        progress = tf.cast(step, tf.float32) / self._config.steps
        variables = [self.air.trainable_variables, objective.trainable_variables]
        with tf.GradientTape() as tape:
            result = objective.estimate(
                self.air,
                images,
                seed=tf.stack([self._config.seed, step]),
                progress=progress,
            )
            loss = result.loss
        gradients, network_gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables[0], strict=True))
        if self.network_optimizer is not None:
            self.network_optimizer.apply_gradients(
                zip(network_gradients, variables[1], strict=True)
            )

        repeated = tf.repeat(images, objective.samples_per_image, axis=0)
        values = {name: getattr(result.bound, name) for name in TERMS} | {
            "mean_count": result.bound.mean_count,
            "reconstruction_error": tf.square(repeated - result.output.canvas),
            **result.figures,
            "gradient_norm": tf.linalg.global_norm(gradients),
        }
        for name, value in values.items():
            self._trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self._trackers.items()}


def make_optimizer(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam (Kingma and Ba 2015) with a constant learning rate, then a cosine decay.

    The constant part is the warm-up of `CosineDecay`, from the learning rate to the
    same value.
    """
    constant = max(int(config.steps * config.constant_rate_share), 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate,
        decay_steps=max(config.steps - constant, 1),
        alpha=config.final_rate_share,
        warmup_target=config.learning_rate,
        warmup_steps=constant,
    )
    clip = None
    if isinstance(config.objective, TabletopObjectiveConfig):
        clip = config.objective.max_gradient_norm
    return keras.optimizers.Adam(schedule, global_clipnorm=clip)


def make_network_optimizer(objective: Objective) -> keras.optimizers.Optimizer:
    """Adam for the objective's own networks, with their constant learning rate."""
    optimizer = keras.optimizers.Adam(objective.network_learning_rate)
    optimizer.build(objective.trainable_variables)
    return optimizer


def steps_per_execution(config: TrainingConfig) -> int:
    """Training steps between returns to Python, at most 10.

    A return takes a seventh of the time of a training step.
    """
    return math.gcd(config.steps, config.steps_per_evaluation, 10)
