"""What `nvil` foresees of the learning signal; no part of the model."""

import keras
import tensorflow as tf

from air_tf.model.networks import MLP
from air_tf.structs import AIROutput

_POOLING = 2
_UNITS = 200
# Nats of an output of 1: what the network starts out from.
_UNIT = 50.0
# Of the running moments, as in Mnih and Gregor 2014, section 4.
_KEPT = 0.8


class Baseline(keras.layers.Layer):
    """A network of what is left to explain before a step, and of the step.

    Args:
      image_shape: (H, W, C).
      max_objects: T.
    """

    def __init__(self, image_shape: tuple[int, int, int], max_objects: int, **kwargs):
        super().__init__(**kwargs)
        self._pool = keras.layers.AveragePooling2D(_POOLING, padding="same")
        pooled = self._pool.compute_output_shape((None, *image_shape))
        self._features = pooled[1] * pooled[2] * pooled[3]
        self._steps = max_objects
        self._mlp = MLP(hidden_units=(_UNITS,), output_units=1, output_gain=0.1)
        self._mlp.build((None, self._features + max_objects))
        self._mean, self._square, self._total = (
            self.add_weight(name=name, shape=(), initializer="zeros", trainable=False)
            for name in ("mean", "square", "total")
        )
        self.built = True

    @property
    def mean(self) -> tf.Tensor:
        """Of what is not foreseen, in nats."""
        return self._mean / self._total

    @property
    def scale(self) -> tf.Tensor:
        """Standard deviation of what is not foreseen, at least 1 nat."""
        variance = self._square / self._total - self.mean**2
        return tf.sqrt(tf.maximum(variance, 1.0))

    def call(self, images: tf.Tensor, output: AIROutput) -> tf.Tensor:
        """[B, H, W, C] and what was inferred of it to baselines [B, T], in nats."""
        drawn = output.object_image * tf.reshape(
            output.inference.z_pres, [-1, self._steps, 1, 1, 1]
        )
        left = images[:, tf.newaxis] - tf.cumsum(drawn, axis=1, exclusive=True)
        left = tf.stop_gradient(tf.reshape(left, [-1, *images.shape[1:]]))
        looks = tf.reshape(self._pool(left), [-1, self._features])  # [B * T, ...]
        steps = tf.tile(tf.eye(self._steps), [tf.shape(images)[0], 1])
        values = self._mlp(tf.concat([looks, steps], axis=1))
        return _UNIT * tf.reshape(values, [-1, self._steps])

    def update(self, unforeseen: tf.Tensor, decided: tf.Tensor) -> None:
        """Moves the moments towards those of R_t - b_t at the steps that were taken."""
        num = tf.reduce_sum(decided)
        for moment, value in (
            (self._mean, tf.reduce_sum(decided * unforeseen) / num),
            (self._square, tf.reduce_sum(decided * unforeseen**2) / num),
            (self._total, 1.0),  # so that the first steps are not drawn to 0
        ):
            moment.assign(_KEPT * moment + (1.0 - _KEPT) * value)
