"""The baseline network of `nvil`, which predicts the learning signal."""

import keras
import tensorflow as tf

from air_tf.config import NVILConfig
from air_tf.model import replicas
from air_tf.model.layers import MLP


class Baseline(keras.layers.Layer):
    """Predicts R_t from the residual image before attend step t, and from t.

    Keeps running moments of its error R_t - b_t, which centre and scale the learning
    signal (Mnih and Gregor 2014, sections 2.3.1 and 2.3.2).

    Args:
      image_shape: (H, W, C).
      max_objects: T.
      settings: of the objective.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        max_objects: int,
        settings: NVILConfig,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._settings = settings
        self._pool = keras.layers.AveragePooling2D(
            settings.baseline_pooling, padding="same"
        )
        pooled = self._pool.compute_output_shape((None, *image_shape))
        self._features = pooled[1] * pooled[2] * pooled[3]
        self._steps = max_objects
        self._mlp = MLP(
            hidden_units=settings.baseline_units, output_units=1, output_gain=0.1
        )
        self._mlp.build((None, self._features + max_objects))
        self._mean, self._square, self._total = (
            self.add_weight(
                name=name,
                shape=(),
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",  # all compute the same
            )
            for name in ("mean", "square", "total")
        )
        self.built = True

    @property
    def _weight(self) -> tf.Tensor:
        """Total weight of the moments, above 0 before the first update."""
        return tf.maximum(self._total, 1e-6)

    @property
    def mean(self) -> tf.Tensor:
        """Running mean of R_t - b_t, in nats."""
        return self._mean / self._weight

    @property
    def scale(self) -> tf.Tensor:
        """Running standard deviation of R_t - b_t, at least `min_signal_scale`."""
        variance = self._square / self._weight - self.mean**2
        least = self._settings.min_signal_scale
        return tf.sqrt(tf.maximum(variance, least**2))

    def call(self, images: tf.Tensor, canvases: tf.Tensor) -> tf.Tensor:
        """Baseline values.

        Args:
          images: [B, H, W, C].
          canvases: [B, T, H, W, C], before each attend step. They get no gradient.

        Returns:
          b_t in nats, [B, T].
        """
        residuals = tf.stop_gradient(images[:, tf.newaxis] - canvases)
        residuals = tf.reshape(residuals, [-1, *images.shape[1:]])
        pooled = tf.reshape(self._pool(residuals), [-1, self._features])  # [B * T, ...]
        steps = tf.tile(tf.eye(self._steps), [tf.shape(images)[0], 1])
        values = self._mlp(tf.concat([pooled, steps], axis=1))
        return self._settings.baseline_unit * tf.reshape(values, [-1, self._steps])

    def update(self, error: tf.Tensor, decided: tf.Tensor) -> None:
        """Updates the running moments.

        Args:
          error: R_t - b_t in nats, [B, T].
          decided: [B, T], 1 for attend steps that were taken; the others do not count.
        """
        num, error_sum, square_sum = replicas.sums(
            [
                tf.reduce_sum(decided),
                tf.reduce_sum(decided * error),
                tf.reduce_sum(decided * error**2),
            ]
        )
        decay = self._settings.signal_decay
        for moment, value in (
            (self._mean, error_sum / num),
            (self._square, square_sum / num),
            (self._total, 1.0),  # corrects the bias of the initial 0, as in Adam
        ):
            moment.assign(decay * moment + (1.0 - decay) * value)
