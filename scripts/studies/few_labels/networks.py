"""Networks that answer a second task, from objects or from pixels."""

import keras
import numpy as np
import tensorflow as tf

from studies.few_labels.contrastive import warp

_UNITS, _KINDS = 256, 32
_AUTOENCODER_SIZE = 100
_AUTOENCODER_STEPS, _BATCH_SIZE = 2000, 64


class _Warp(keras.layers.Layer):
    """Warps images in training, as `kinds` does."""

    def call(self, images, training=False):
        return warp(images) if training else images


class _Coordinates(keras.layers.Layer):
    """Adds channels that say where a pixel is (Liu et al. 2018, "CoordConv")."""

    def call(self, images):
        num, (height, width) = tf.shape(images)[0], images.shape[1:3]
        rows, columns = tf.linspace(-1.0, 1.0, height), tf.linspace(-1.0, 1.0, width)
        places = tf.stack(tf.meshgrid(rows, columns, indexing="ij"), axis=-1)
        return tf.concat([images, tf.tile(places[tf.newaxis], [num, 1, 1, 1])], axis=-1)


class SetNetwork(keras.Model):
    """Answers from a set of objects, in whatever order they were found.

    What each object is goes through a softmax bottleneck; every ordered pair of
    objects, with what lies between their places, through a network whose outputs
    are summed: a relation network (Santoro et al. 2017, equation 1).

    Args:
      num_classes: of the task.
    """

    def __init__(self, num_classes: int):
        super().__init__()
        self._kind = _mlp(_UNITS, _KINDS, last="softmax")
        self._relation = _mlp(_UNITS, _UNITS, last="relu")
        self._answer = _mlp(_UNITS, num_classes)

    def call(self, inputs):
        """Codes [B, T, E], z_where [B, T, 3], presence [B, T] to logits [B, K]."""
        codes, z_where, presence = inputs
        steps = presence.shape[1]
        kinds = self._kind(codes)  # [B, T, kinds]
        first, second = np.nonzero(~np.eye(steps, dtype=bool))  # of ordered pairs
        place = z_where[:, :, 1:]
        pairs = tf.concat(
            [
                tf.gather(kinds, first, axis=1),
                tf.gather(kinds, second, axis=1),
                2.0
                * (tf.gather(place, second, axis=1) - tf.gather(place, first, axis=1)),
            ],
            axis=-1,
        )  # [B, T (T - 1), ...]
        both = tf.gather(presence, first, axis=1) * tf.gather(presence, second, axis=1)
        related = self._relation(pairs) * both[:, :, tf.newaxis]
        return self._answer(tf.reduce_sum(related, axis=1))


class EncodedSetNetwork(keras.Model):
    """Encodes what each object looks like, and answers from the set.

    In training, glimpses are warped as when the encoder was first trained.

    Args:
      encoder: glimpses [N, h, w, C], 0 to 255, to codes [N, E].
      answer: the `SetNetwork` of such codes.
    """

    def __init__(self, encoder: keras.Model, answer: SetNetwork):
        super().__init__()
        self._encoder, self._answer = encoder, answer

    def call(self, inputs, training=False):
        """Glimpses [B, T, h, w, C], z_where, presence to logits [B, K]."""
        glimpses, z_where, presence = inputs
        steps = presence.shape[1]
        flat = tf.cast(tf.reshape(glimpses, [-1, *glimpses.shape[2:]]), tf.float32)
        codes = self._encoder(warp(flat) if training else flat)
        codes = tf.reshape(codes, [-1, steps, codes.shape[1]])
        return self._answer((codes, z_where, presence))


def pixels_network(image_shape, num_classes: int) -> keras.Model:
    """A convolutional network from pixels, 0 to 255, to logits.

    Batch normalisation, and averages over places whose coordinates are among the
    channels (Ioffe and Szegedy 2015; Lin et al. 2014): without them it learns thousands
    of scenes by heart. In training, scenes are warped as glimpses are in `kinds`.
    """
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Rescaling(1.0 / 255.0),
            _Warp(),
            _Coordinates(),
            *(
                layer
                for filters in (16, 32, 64)
                for layer in (
                    layers.Conv2D(
                        filters, 4, strides=2, padding="same", use_bias=False
                    ),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                )
            ),
            layers.Conv2D(96, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(_UNITS, activation="relu"),
            layers.Dense(num_classes),
        ]
    )


def codes_network(size: int, num_classes: int) -> keras.Model:
    """From one code of the whole image to logits."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input([size]),
            layers.Dense(_UNITS, activation="relu"),
            layers.Dense(_UNITS, activation="relu"),
            layers.Dense(num_classes),
        ]
    )


def learn_autoencoder(images: np.ndarray, *, seed: int) -> keras.Model:
    """The encoder of a convolutional autoencoder, fitted to [N, H, W, C] uint8.

    Returns:
      The network from pixels, 0 to 255, to codes [N, 100].
    """
    keras.utils.set_random_seed(seed)
    height, width, channels = images.shape[1:]
    rows, columns = -(-height // 4), -(-width // 4)
    layers = keras.layers
    encoder = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            layers.Rescaling(1.0 / 255.0),
            layers.Conv2D(16, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(_AUTOENCODER_SIZE),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input([_AUTOENCODER_SIZE]),
            layers.Dense(rows * columns * 32, activation="relu"),
            layers.Reshape([rows, columns, 32]),
            layers.Conv2DTranspose(16, 4, 2, padding="same", activation="relu"),
            layers.Conv2DTranspose(channels, 4, 2, padding="same"),
            layers.CenterCrop(height, width),
            layers.Activation("sigmoid"),
        ]
    )
    autoencoder = keras.Sequential([encoder, decoder])
    autoencoder.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="binary_crossentropy",
        jit_compile=False,
    )
    batches = (
        tf.data.Dataset.from_tensor_slices(images)
        .shuffle(len(images), seed=seed)
        .repeat()
        .batch(_BATCH_SIZE)
        .map(lambda x: (x, tf.cast(x, tf.float32) / 255.0))
    )
    autoencoder.fit(
        batches, steps_per_epoch=_AUTOENCODER_STEPS, verbose=0, shuffle=False
    )
    return encoder


def _mlp(hidden: int, out: int, last: str | None = None) -> keras.Sequential:
    dense = keras.layers.Dense
    return keras.Sequential([dense(hidden, activation="relu"), dense(out, last)])
