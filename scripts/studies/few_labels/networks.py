"""Networks that answer a second task, from objects or from pixels."""

import keras
import numpy as np
import tensorflow as tf

from studies.few_labels.config import FewLabelsConfig
from studies.few_labels.warps import warp


class _Warp(keras.layers.Layer):
    """Warps images in training."""

    def __init__(self, config: FewLabelsConfig):
        super().__init__()
        self._settings = config

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return warp(images, self._settings) if training else images


class _Coordinates(keras.layers.Layer):
    """Adds channels with the coordinates of each pixel (Liu et al. 2018, CoordConv)."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        num, (height, width) = tf.shape(images)[0], images.shape[1:3]
        rows, columns = tf.linspace(-1.0, 1.0, height), tf.linspace(-1.0, 1.0, width)
        places = tf.stack(tf.meshgrid(rows, columns, indexing="ij"), axis=-1)
        return tf.concat([images, tf.tile(places[tf.newaxis], [num, 1, 1, 1])], axis=-1)


class SetNetwork(keras.Model):
    """Answers from a set of objects, whose order does not matter.

    A relation network (Santoro et al. 2017, equation 1): each object's code goes
    through a softmax bottleneck; every ordered pair of objects, with the difference of
    their positions, through a network whose outputs are summed.

    Args:
      num_classes: of the task.
      config: `task_units` and `class_units`.
    """

    def __init__(self, num_classes: int, config: FewLabelsConfig):
        super().__init__()
        units = config.task_units
        self._bottleneck = _mlp(units, config.class_units, last="softmax")
        self._relation = _mlp(units, units, last="relu")
        self._answer = _mlp(units, num_classes)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Codes [B, T, E], z_where [B, T, 3], presence [B, T] to logits [B, K]."""
        codes, z_where, presence = inputs
        steps = presence.shape[1]
        classes = self._bottleneck(codes)  # [B, T, class_units]
        first, second = np.nonzero(~np.eye(steps, dtype=bool))  # ordered pairs
        shift = z_where[:, :, 1:]
        pairs = tf.concat(
            [
                tf.gather(classes, first, axis=1),
                tf.gather(classes, second, axis=1),
                2.0
                * (tf.gather(shift, second, axis=1) - tf.gather(shift, first, axis=1)),
            ],
            axis=-1,
        )  # [B, T (T - 1), ...]
        both = tf.gather(presence, first, axis=1) * tf.gather(presence, second, axis=1)
        related = self._relation(pairs) * both[:, :, tf.newaxis]
        return self._answer(tf.reduce_sum(related, axis=1))


class EncodedSetNetwork(keras.Model):
    """Encodes the glimpse of each object, and answers from the set of codes.

    In training, glimpses are warped, as they were when the encoder was trained.

    Args:
      encoder: the network from glimpses [N, h, w, C], 0 to 255, to codes [N, E].
      answer: the `SetNetwork` that takes such codes.
      config: `warp_...`.
    """

    def __init__(
        self, encoder: keras.Model, answer: SetNetwork, config: FewLabelsConfig
    ):
        super().__init__()
        self._encoder, self._answer, self._settings = encoder, answer, config

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Glimpses [B, T, h, w, C], z_where, presence to logits [B, K]."""
        glimpses, z_where, presence = inputs
        steps = presence.shape[1]
        flat = tf.cast(tf.reshape(glimpses, [-1, *glimpses.shape[2:]]), tf.float32)
        codes = self._encoder(warp(flat, self._settings) if training else flat)
        codes = tf.reshape(codes, [-1, steps, codes.shape[1]])
        return self._answer((codes, z_where, presence))


def pixels_network(
    image_shape: tuple[int, int, int], num_classes: int, config: FewLabelsConfig
) -> keras.Model:
    """A convolutional network from pixels, 0 to 255, to logits.

    In training, scenes are warped. Without batch normalisation, average pooling and
    coordinate channels (Ioffe and Szegedy 2015; Lin et al. 2014) it memorises
    thousands of scenes.

    Args:
      image_shape: (H, W, C).
      num_classes: of the task.
      config: `cnn_filters`, `task_units` and `warp_...`.
    """
    layers = keras.layers
    *strided, last = config.cnn_filters
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Rescaling(1.0 / 255.0),
            _Warp(config),
            _Coordinates(),
            *(
                layer
                for filters in strided
                for layer in (
                    layers.Conv2D(
                        filters, 4, strides=2, padding="same", use_bias=False
                    ),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                )
            ),
            layers.Conv2D(last, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(config.task_units, activation="relu"),
            layers.Dense(num_classes),
        ]
    )


def codes_network(size: int, num_classes: int, config: FewLabelsConfig) -> keras.Model:
    """A network from one code of the whole image, [N, `size`], to logits."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input([size]),
            layers.Dense(config.task_units, activation="relu"),
            layers.Dense(config.task_units, activation="relu"),
            layers.Dense(num_classes),
        ]
    )


def learn_autoencoder(
    images: np.ndarray, *, config: FewLabelsConfig, seed: int
) -> keras.Model:
    """Trains a convolutional autoencoder.

    Args:
      images: [N, H, W, C] uint8.
      config: `autoencoder_...`.
      seed: of weights and batches.

    Returns:
      The encoder, from pixels, 0 to 255, to codes [N, `autoencoder_size`].
    """
    keras.utils.set_random_seed(seed)
    height, width, channels = images.shape[1:]
    rows, columns = -(-height // 4), -(-width // 4)
    size, (first, second) = config.autoencoder_size, config.autoencoder_filters
    layers = keras.layers
    encoder = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Rescaling(1.0 / 255.0),
            layers.Conv2D(first, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(second, 4, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(size),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input([size]),
            layers.Dense(rows * columns * second, activation="relu"),
            layers.Reshape([rows, columns, second]),
            layers.Conv2DTranspose(first, 4, 2, padding="same", activation="relu"),
            layers.Conv2DTranspose(channels, 4, 2, padding="same"),
            layers.CenterCrop(height, width),
            layers.Activation("sigmoid"),
        ]
    )
    autoencoder = keras.Sequential([encoder, decoder])
    autoencoder.compile(
        optimizer=keras.optimizers.Adam(config.autoencoder_learning_rate),
        loss="binary_crossentropy",
        jit_compile=False,
    )
    batches = (
        tf.data.Dataset.from_tensor_slices(images)
        .shuffle(len(images), seed=seed)
        .repeat()
        .batch(config.autoencoder_batch_size)
        .map(lambda x: (x, tf.cast(x, tf.float32) / 255.0))
    )
    autoencoder.fit(
        batches, steps_per_epoch=config.autoencoder_steps, verbose=0, shuffle=False
    )
    return encoder


def _mlp(hidden: int, out: int, last: str | None = None) -> keras.Sequential:
    dense = keras.layers.Dense
    return keras.Sequential([dense(hidden, activation="relu"), dense(out, last)])
