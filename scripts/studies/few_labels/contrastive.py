"""Codes in which objects of a kind lie together, learnt without labels.

z_what says how an object looks, so that it can be drawn: a 4 and a 9 of one hand may
be closer than two 4s. A second network learns which differences don't matter from
what AIR has found: an object, warped a little, is to get the code of its neighbours
by z_what, and of no other objects (Chen et al. 2020, "SimCLR", section 2; neighbours
as positives: Dwibedi et al. 2021, section 3).
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

SIZE = 64
_NUM_NEIGHBOURS = 5
_TEMPERATURE = 0.5
_BATCH_SIZE, _STEPS, _LEARNING_RATE = 256, 2000, 2e-3
# Largest warps: radians, shear, log of the size each way, and shares of the glimpse.
_ROTATION, _SHEAR, _LOG_SIZE, _SHIFT = 0.17, 0.15, 0.1, 0.05


def contrastive_loss(a: tf.Tensor, b: tf.Tensor, temperature: float) -> tf.Tensor:
    """How badly each code tells its partner from all the others (NT-Xent).

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


def learn_kinds(z_what: np.ndarray, glimpses: np.ndarray, *, seed: int) -> keras.Model:
    """Learns the codes from objects alone.

    Args:
      z_what: [K, D].
      glimpses: of the same objects, [K, h, w, C] uint8.
      seed: of weights, batches and warps.

    Returns:
      The network from glimpses [N, h, w, C], 0 to 255, to codes [N, `SIZE`], of mean
      0 and deviation 1 over these objects.
    """
    keras.utils.set_random_seed(seed)
    network = _network(glimpses.shape[1:])
    rng = np.random.default_rng(seed)
    near = _neighbours(z_what)

    def pairs():
        while True:
            index = rng.integers(0, len(glimpses), _BATCH_SIZE)
            other = near[index, rng.integers(0, near.shape[1], _BATCH_SIZE)]
            yield glimpses[index], glimpses[other]

    spec = tf.TensorSpec([_BATCH_SIZE, *glimpses.shape[1:]], tf.uint8)
    trainer = _Contrast(network)
    trainer.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, _STEPS)
        ),
        jit_compile=False,
    )
    trainer.fit(
        tf.data.Dataset.from_generator(pairs, output_signature=(spec, spec)),
        steps_per_epoch=_STEPS,
        verbose=0,
        shuffle=False,
    )
    codes = network.predict(glimpses, batch_size=500, verbose=0)
    # As constants: what `adapt` learns is lost when a model is cloned.
    standardise = keras.layers.Normalization(
        mean=codes.mean(axis=0), variance=codes.var(axis=0)
    )
    return keras.Sequential([network, standardise])


def _neighbours(z_what: np.ndarray) -> np.ndarray:
    """Of each of [K, D], the indices of its nearest others: [K, 5]."""
    num = min(_NUM_NEIGHBOURS, len(z_what) - 1)
    search = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(z_what)
    return search.kneighbors(return_distance=False)


def _network(glimpse_shape) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(glimpse_shape),
            layers.Rescaling(1.0 / 255.0),
            layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 4, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(SIZE),
        ]
    )


def warp(images: tf.Tensor) -> tf.Tensor:
    """Turns, shears, stretches and shifts each of [N, h, w, C] at random."""
    num = tf.shape(images)[0]
    height, width = images.shape[1], images.shape[2]

    def up_to(most):
        return tf.random.uniform([num], -most, most)

    angle, shear = up_to(_ROTATION), up_to(_SHEAR)
    high, wide = tf.exp(up_to(_LOG_SIZE)), tf.exp(up_to(_LOG_SIZE))
    cos, sin = tf.cos(angle), tf.sin(angle)
    # From places in the output to places in the input, (x, y), about the centre.
    xx, xy = wide * cos, wide * (shear * cos - sin)
    yx, yy = high * sin, high * (shear * sin + cos)
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    shift_x = x - xx * x - xy * y + width * up_to(_SHIFT)
    shift_y = y - yx * x - yy * y + height * up_to(_SHIFT)
    zero = tf.zeros([num])
    transforms = tf.stack([xx, xy, shift_x, yx, yy, shift_y, zero, zero], axis=1)
    return keras.ops.image.affine_transform(
        images, transforms, interpolation="bilinear", fill_mode="constant"
    )


class _Contrast(keras.Model):
    """Trains the network, and a projection that is thrown away (section 2.1)."""

    def __init__(self, network: keras.Model):
        super().__init__()
        self._network = network
        self._projection = keras.Sequential(
            [keras.Input([SIZE]), keras.layers.ReLU(), keras.layers.Dense(SIZE)]
        )
        self.built = True

    def train_step(self, data):
        """One step on pairs, each [B, h, w, C] uint8."""
        pairs = tf.concat([tf.cast(one, tf.float32) for one in data], axis=0)
        with tf.GradientTape() as tape:
            codes = self._projection(self._network(warp(pairs)))
            a, b = tf.split(codes, 2)
            loss = contrastive_loss(a, b, _TEMPERATURE)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        return {"loss": loss}
