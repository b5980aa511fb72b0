"""Contrastive codes: close together for objects of one class, learnt without labels.

z_what describes how an object looks, so that it can be drawn: a 4 and a 9 in one
handwriting may be closer than two 4s. A second network learns which differences do not
matter. The code of a warped object is trained to be close to those of its nearest
neighbours by z_what, and far from those of other objects (Chen et al. 2020, "SimCLR",
section 2; neighbours as positives: Dwibedi et al. 2021, section 3).
"""

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

from studies.few_labels.config import FewLabelsConfig
from studies.few_labels.warps import warp


def contrastive_loss(a: tf.Tensor, b: tf.Tensor, temperature: float) -> tf.Tensor:
    """The cross-entropy of finding each code's partner among all codes (NT-Xent).

    Chen et al. 2020, equation 1.

    Args:
      a: codes [N, D].
      b: those of the partners, [N, D].
      temperature: of the softmax over cosines.

    Returns:
      Mean over the 2 N codes, nats.
    """
    num = tf.shape(a)[0]
    codes = tf.math.l2_normalize(tf.concat([a, b], axis=0), axis=1)
    logits = tf.matmul(codes, codes, transpose_b=True) / temperature  # [2 N, 2 N]
    logits = tf.linalg.set_diag(logits, tf.fill([2 * num], -1e9))  # not itself
    partner = tf.concat([tf.range(num) + num, tf.range(num)], axis=0)
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=logits)
    )


def learn_codes(
    z_what: np.ndarray, glimpses: np.ndarray, *, config: FewLabelsConfig, seed: int
) -> keras.Model:
    """Trains the contrastive encoder.

    Args:
      z_what: of K objects, [K, D].
      glimpses: of the same objects, [K, h, w, C] uint8.
      config: `contrastive_...` and `warp_...`.
      seed: of weights, batches and warps.

    Returns:
      The network from glimpses [N, h, w, C], 0 to 255, to codes
      [N, `contrastive_size`], of mean 0 and standard deviation 1 over these objects.
    """
    keras.utils.set_random_seed(seed)
    network = _network(glimpses.shape[1:], config)
    rng = np.random.default_rng(seed)
    near = _neighbours(z_what, config.contrastive_neighbours)
    batch_size, steps = config.contrastive_batch_size, config.contrastive_steps

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            index = rng.integers(0, len(glimpses), batch_size)
            other = near[index, rng.integers(0, near.shape[1], batch_size)]
            yield glimpses[index], glimpses[other]

    spec = tf.TensorSpec([batch_size, *glimpses.shape[1:]], tf.uint8)
    trainer = _Contrast(network, config)
    trainer.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                config.contrastive_learning_rate, steps
            )
        ),
        jit_compile=False,
    )
    trainer.fit(
        tf.data.Dataset.from_generator(pairs, output_signature=(spec, spec)),
        steps_per_epoch=steps,
        verbose=0,
        shuffle=False,
    )
    codes = network.predict(glimpses, batch_size=500, verbose=0)
    # As constants: cloning a model loses what `adapt` has learnt.
    standardise = keras.layers.Normalization(
        mean=codes.mean(axis=0), variance=codes.var(axis=0)
    )
    return keras.Sequential([network, standardise])


def _neighbours(z_what: np.ndarray, most: int) -> np.ndarray:
    """Indices of the nearest others of each of [K, D]: [K, `most`]."""
    num = min(most, len(z_what) - 1)
    search = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(z_what)
    return search.kneighbors(return_distance=False)


def _network(
    glimpse_shape: tuple[int, int, int], config: FewLabelsConfig
) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(glimpse_shape),
            layers.Rescaling(1.0 / 255.0),
            *(
                layers.Conv2D(filters, 4, strides=2, padding="same", activation="relu")
                for filters in config.contrastive_filters
            ),
            layers.Flatten(),
            layers.Dense(config.contrastive_units, activation="relu"),
            layers.Dense(config.contrastive_size),
        ]
    )


class _Contrast(keras.Model):
    """Trains the encoder with a projection that is discarded (section 2.1)."""

    def __init__(self, network: keras.Model, config: FewLabelsConfig):
        super().__init__()
        self._network, self._settings = network, config
        size = config.contrastive_size
        self._projection = keras.Sequential(
            [keras.Input([size]), keras.layers.ReLU(), keras.layers.Dense(size)]
        )
        self.built = True

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """A training step on pairs, each [B, h, w, C] uint8."""
        pairs = tf.concat([tf.cast(one, tf.float32) for one in data], axis=0)
        with tf.GradientTape() as tape:
            codes = self._projection(self._network(warp(pairs, self._settings)))
            a, b = tf.split(codes, 2)
            loss = contrastive_loss(a, b, self._settings.contrastive_temperature)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        return {"loss": loss}
