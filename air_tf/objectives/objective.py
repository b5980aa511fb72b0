"""Interface of an objective.

To add an objective, write a file `NAME.py` in this folder with a class `Estimator`,
and add its settings and a line to the registry in `air_tf.config.objectives`. An
objective may have its own networks, which are trained with the model but are not part
of it.
"""

import abc
import importlib
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from air_tf.config import RunConfig, objective_name
from air_tf.model.air import AIR
from air_tf.objectives.bound import BoundEstimate
from air_tf.structs import AIROutput


class Estimate(NamedTuple):
    """The losses of a training step, and the model output they are computed from."""

    bound: BoundEstimate
    # `AIROutput` or, for 3D scenes, `Output3D`, of S samples as in `BoundEstimate`.
    output: Any
    # [B], nats: auxiliary (wake-phase) losses, added to that of the bound.
    auxiliary_loss: Any = 0.0
    # [B], loss of the objective's own networks.
    network_loss: Any = 0.0
    # Further tensors [B] whose means are logged, by their names in `FIGURES`.
    figures: Any = {}  # noqa: RUF012, never changed

    @property
    def loss(self) -> tf.Tensor:
        """The scalar that is differentiated: the sum of all losses, mean over images.

        `network_loss` has no gradient for the model's weights, and the other losses
        have none for the objective's networks, so the two do not interact.
        """
        of_model = tf.reduce_mean(self.bound.loss + self.auxiliary_loss)
        return of_model + tf.reduce_mean(self.network_loss)


class Objective(keras.layers.Layer, abc.ABC):
    """Base class: estimates the loss that training minimises.

    Args:
      config: of the run.

    Attributes:
      FIGURES: names of the figures that `estimate` returns for the logs.
      samples_per_image: K, number of samples of q for each image in a training step.
      network_learning_rate: of the objective's own networks, if it has any.
    """

    FIGURES: tuple[str, ...] = ()
    samples_per_image = 1
    network_learning_rate = 0.0

    def __init__(self, config: RunConfig):
        super().__init__(name="objective")
        self.settings: Any = config.objective
        unroll = config.model.max_objects <= config.training.max_unrolled_steps
        # The loop of `_all_steps`.
        self._loop = "unrolled" if unroll else "full"
        self.built = True

    @abc.abstractmethod
    def estimate(
        self,
        air: AIR,
        images: tf.Tensor,
        *,
        seed: tf.Tensor,
        progress: tf.Tensor | float = 0.0,
        plain: bool = False,
    ) -> Estimate:
        """Infers the objects of a batch and estimates the losses.

        Args:
          air: the model.
          images: [B, H, W, C], float32 in [0, 1].
          seed: [2] int32; the same seed gives the same samples.
          progress: share of the training steps that are done, from 0 to 1.
          plain: whether to estimate only the bound: without auxiliary losses, and
            without updating the state of the objective (the moments of `nvil`).
        """

    def _all_steps(self, air: AIR, images: tf.Tensor, seed: tf.Tensor) -> AIROutput:
        """Samples of all T attend steps, as if every object were present."""
        return air(images, sample=True, seed=seed, loop=self._loop)

    def _until_absent(self, air: AIR, images: tf.Tensor, seed: tf.Tensor) -> AIROutput:
        """Samples of a loop that ends when all images have ended, as in the paper."""
        return air(images, sample=True, seed=seed, loop="early_stop")


class MultiSampleObjective(Objective):
    """An objective of `num_particles` samples for each image."""

    def __init__(self, config: RunConfig):
        super().__init__(config)
        self.samples_per_image = self.settings.num_particles

    def repeated(self, images: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] to [B K, H, W, C], each image K times in a row."""
        return tf.repeat(images, self.samples_per_image, axis=0)


def make_objective(config: RunConfig) -> Objective:
    """Creates the objective of a run, with its networks."""
    name = objective_name(config.objective)
    return importlib.import_module(f"air_tf.objectives.{name}").Estimator(config)
