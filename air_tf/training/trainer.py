"""The training step and its optimizers."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from air_tf.config import RunConfig, TrainingConfig
from air_tf.config.objectives import TabletopObjectiveConfig
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.objectives.bound import TERMS
from air_tf.objectives.objective import Objective, make_objective
from air_tf.training.distribute import Replicas, replica_means


class Trainer(keras.Model):
    """Trains a model: call `compile` with an optimizer, then `fit`.

    Random numbers depend only on the seed and the optimizer's step, so a run that
    resumes gets the same samples as an uninterrupted one.

    Args:
      air: the model to train, made in the scope of the replicas.
      config: settings of training, including the objective.
      replicas: to train on; one device if omitted.
    """

    def __init__(
        self,
        air: AIR | AIR3D,
        config: TrainingConfig,
        replicas: Replicas | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.air = air
        self._config = config
        self._replicas = replicas or Replicas()
        with self._replicas.scope():
            # A variable, so that XLA compiles the same for all seeds; of 64 bits, as
            # TensorFlow keeps those of 32 on the host, where XLA can't read them.
            self._seed = tf.Variable(config.seed, trainable=False, dtype=tf.int64)
            self.objective = make_objective(
                RunConfig(model=air.config, training=config)
            )
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
        # Outside of the scope: every worker adds up the same means.
        self._trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True

    @property
    def state(self) -> list:
        """The variables that a checkpoint holds."""
        found = [*self.air.weights, *self.objective.weights, *self.optimizer.variables]
        if self.network_optimizer is not None:
            found += self.network_optimizer.variables
        return found

    @property
    def metrics(self):
        return list(self._trackers.values())

    # Without AutoGraph: loops are `tf.while_loop`s, and the conversion takes a second.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, images):
        """One training step on [B, H, W, C], uint8 or float in [0, 1]."""
        gradients, values = self.estimate(images, self.step)
        return self.track(self.update(gradients) | values)

    @property
    def step(self) -> tf.Tensor:
        """The number of steps done."""
        return tf.cast(self.optimizer.iterations, tf.int32)

    @property
    def learning_variables(self) -> tuple[list, list]:
        """The model's, and those of the objective's own networks."""
        return self.air.trainable_variables, self.objective.trainable_variables

    def estimate(self, images: tf.Tensor, step: tf.Tensor) -> tuple[Any, dict]:
        """Gradients, as `learning_variables`, and what is logged, by names."""
        images = to_float(images)
        objective = self.objective
        with tf.GradientTape() as tape:
            result = objective.estimate(
                self.air,
                images,
                seed=tf.stack([tf.cast(self._seed, tf.int32), step]),
                progress=tf.cast(step, tf.float32) / self._config.steps,
            )
            loss = result.loss
        gradients = tape.gradient(loss, self.learning_variables)
        repeated = tf.repeat(images, objective.samples_per_image, axis=0)
        values = {name: getattr(result.bound, name) for name in TERMS} | {
            "mean_count": result.bound.mean_count,
            "reconstruction_error": tf.square(repeated - result.output.canvas),
            **result.figures,
        }
        return gradients, values

    def update(self, gradients: Any) -> dict[str, tf.Tensor]:
        """Updates the variables; returns what is logged of it."""
        optimizers = (self.optimizer, self.network_optimizer)
        parts = zip(optimizers, gradients, self.learning_variables, strict=True)
        for optimizer, some, variables in parts:
            if optimizer is not None:
                optimizer.apply_gradients(zip(some, variables, strict=True))
        return {"gradient_norm": tf.linalg.global_norm(gradients[0])}

    def track(self, values: dict) -> dict[str, tf.Tensor]:
        """Adds what is logged of a step, by names, to the means of the epoch."""
        for name, value in values.items():
            self._trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    def make_train_function(self, force=False):
        """Keras' own for one device, else the same steps on all replicas."""
        if self._replicas.strategy is None:
            super().make_train_function(force)
        elif force or getattr(self, "train_function", None) is None:
            self.train_function = self._make_replicas_function(
                self._replicas.strategy, self.steps_per_execution
            )

    def _make_replicas_function(
        self, strategy: tf.distribute.Strategy, at_once: int
    ) -> Callable[[Any], dict[str, tf.Tensor]]:
        """From an iterator to the logs after `at_once` steps.

        Unlike Keras' own, it compiles what replicas do alone, since XLA has no sums
        over replicas on CPUs; clips the mean gradient instead of each one; and reduces
        gradients and logs together, once in a step.
        """
        estimate = self._estimate_means
        if self._config.jit_compile:
            estimate = tf.function(estimate, jit_compile=True, autograph=False)

        def replica_step(images, step):
            gradients, values = replica_means(estimate(images, step))
            return self.update(gradients) | values

        def one_step(images) -> None:
            found = strategy.run(replica_step, args=(images, self.step))
            # The same on all replicas: those of this worker's first one will do.
            self.track(
                {
                    name: strategy.experimental_local_results(value)[0]
                    for name, value in found.items()
                }
            )

        @tf.function(autograph=False)
        def steps(iterator):
            def body(done):
                one_step(next(iterator))
                return (done + 1,)

            with strategy.scope():
                tf.while_loop(lambda done: done < at_once, body, (tf.constant(0),))
            return {name: mean.result() for name, mean in self._trackers.items()}

        return steps

    def _estimate_means(self, images: tf.Tensor, step: tf.Tensor) -> tuple[Any, dict]:
        gradients, values = self.estimate(images, step)
        return gradients, tf.nest.map_structure(tf.reduce_mean, values)


class MeanAdam(keras.optimizers.Adam):
    """Takes gradients that are means over replicas already.

    Keras would clip the gradient of each replica, and then sum them.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


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
    return MeanAdam(schedule, global_clipnorm=clip)


def make_network_optimizer(objective: Objective) -> keras.optimizers.Optimizer:
    """Adam for the objective's own networks, with their constant learning rate."""
    optimizer = MeanAdam(objective.network_learning_rate)
    optimizer.build(objective.trainable_variables)
    return optimizer


def steps_per_execution(config: TrainingConfig) -> int:
    """Training steps between returns to Python, at most 10.

    A return takes a seventh of the time of a training step.
    """
    return math.gcd(config.steps, config.steps_per_evaluation, 10)
