"""The methods that learn a second task, compared by what their networks start from."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.structs import ImageSet
from studies.few_labels import contrastive, networks
from studies.few_labels.config import FewLabelsConfig
from studies.few_labels.objects import FoundObjects, find_objects
from studies.few_labels.tasks import TASKS, answers

METHODS = {
    "majority": "no network: the majority class of the labels",
    "codes": "AIR's z_what and z_where, frozen",
    "contrastive": "contrastive codes of AIR's objects, and z_where, frozen",
    "fine_tuned": "the same, then the contrastive encoder is trained as well, with "
    "warped glimpses",
    "cnn": "pixels, warped",
    "autoencoder": "a convolutional autoencoder's code of the image, frozen",
}
# Methods that need images alone, without AIR.
BASELINES = ("majority", "cnn", "autoencoder")


class _Inputs(NamedTuple):
    """The inputs of a network, for training and for test scenes."""

    train: Sequence[np.ndarray]  # [M, ...] each
    test: Sequence[np.ndarray]


class Methods:
    """`METHODS` with one trained model; what they share is computed when needed.

    Args:
      air: the model; None if only `BASELINES` are used.
      unlabelled: images that AIR was trained on, for the contrastive codes and the
        autoencoder, [N, H, W, C] uint8.
      train: scenes of two digits, some of which are chosen as labelled.
      test: likewise, to test on.
      config: settings of all methods.
      seed: of all networks and batches.
    """

    def __init__(
        self,
        air: AIR | None,
        unlabelled: np.ndarray,
        *,
        train: ImageSet,
        test: ImageSet,
        config: FewLabelsConfig,
        seed: int,
    ):
        self._air, self._unlabelled, self._seed = air, unlabelled, seed
        self._config = config
        self._scenes = [train, test]
        self._inputs = functools.cache(self._make_inputs)

    @property
    def num_train(self) -> int:
        """The number of training scenes."""
        return len(self._scenes[0].images)

    def accuracy(self, method: str, task: str, chosen: np.ndarray) -> float:
        """Trains with some labelled scenes; the share of test scenes answered right.

        Args:
          method: one of `METHODS`.
          task: one of `TASKS`.
          chosen: indices of the training scenes whose labels are used.

        Raises:
          InputError: if AIR finds too few objects for contrastive codes.
        """
        config = self._config
        right = [answers(task, scenes) for scenes in self._scenes]
        if method == "majority":
            majority = np.bincount(right[0][chosen]).argmax()
            return float(np.mean(right[1] == majority))

        def fit(network: keras.Model, inputs: _Inputs, **shares: float) -> None:
            keras.utils.set_random_seed(self._seed)
            few = [x[chosen] for x in inputs.train]
            labels = right[0][chosen]
            _fit(network, few, labels, config=config, seed=self._seed, **shares)

        # Before the seed is set: what is computed once uses random numbers.
        inputs = self._inputs(method)
        keras.utils.set_random_seed(self._seed)
        classes = TASKS[task]
        if method == "cnn":
            shape = inputs.train[0].shape[1:]
            network = networks.pixels_network(shape, classes, config)
        elif method == "autoencoder":
            size = inputs.train[0].shape[1]
            network = networks.codes_network(size, classes, config)
        else:
            network = networks.SetNetwork(classes, config)
        if method == "fine_tuned":
            # From what was learnt with frozen codes (Kumar et al. 2022).
            fit(network, self._inputs("contrastive"))
            encoder = keras.models.clone_model(self._encoder)
            encoder.set_weights(self._encoder.get_weights())
            network = networks.EncodedSetNetwork(encoder, network, config)
            fit(
                network,
                inputs,
                steps_share=config.tuning_steps_share,
                rate_share=config.tuning_rate_share,
            )
        elif method == "cnn":
            fit(network, inputs, steps_share=config.cnn_steps_share)
        else:
            fit(network, inputs)
        answered = network.predict(_arrays(inputs.test), batch_size=500, verbose=0)
        return float(np.mean(answered.argmax(axis=1) == right[1]))

    def _make_inputs(self, method: str) -> _Inputs:
        if method == "cnn":
            return _Inputs(*([scenes.images] for scenes in self._scenes))
        if method == "autoencoder":
            encoder = networks.learn_autoencoder(
                self._unlabelled, config=self._config, seed=self._seed
            )
            codes = [_apply(encoder, scenes.images) for scenes in self._scenes]
            return _Inputs(*([one] for one in _standardised(codes, codes[0])))
        what = [found.glimpses for found in self._found]
        if method == "contrastive":
            what = [self._encode(found) for found in self._found]
        elif method == "codes":
            codes = [found.z_what for found in self._found]
            what = _standardised(codes, codes[0][self._found[0].presence > 0])
        return _Inputs(
            *(
                [one, found.z_where, found.presence]
                for one, found in zip(what, self._found, strict=True)
            )
        )

    @functools.cached_property
    def _found(self) -> list[FoundObjects]:
        return [self._find(scenes.images) for scenes in self._scenes]

    def _find(self, images: np.ndarray) -> FoundObjects:
        assert self._air is not None, "only BASELINES work without a model"
        return find_objects(self._air, images)

    @functools.cached_property
    def _encoder(self) -> keras.Model:
        """The contrastive encoder."""
        found = self._find(self._unlabelled)
        present = found.presence > 0
        num = int(present.sum())
        if num < 2:
            raise InputError(
                f"AIR finds {num} objects in {len(self._unlabelled)} training images; "
                "expected at least 2 to learn contrastive codes"
            )
        logging.info("Learning contrastive codes from %d objects.", num)
        return contrastive.learn_codes(
            found.z_what[present],
            found.glimpses[present],
            config=self._config,
            seed=self._seed,
        )

    def _encode(self, found: FoundObjects) -> np.ndarray:
        """Contrastive codes of present objects, [N, T, E]; 0 for absent ones."""
        present = found.presence > 0
        size = self._config.contrastive_size
        codes = np.zeros((*present.shape, size), np.float32)
        codes[present] = _apply(self._encoder, found.glimpses[present])
        return codes


def _apply(network: keras.Model, images: np.ndarray) -> np.ndarray:
    return network.predict(images, batch_size=500, verbose=0)


def _standardised(codes: Sequence[np.ndarray], by: np.ndarray) -> list[np.ndarray]:
    """Each of [..., E], by the mean and standard deviation of [K, E]."""
    mean, scale = by.mean(axis=0), by.std(axis=0) + 1e-6
    return [((one - mean) / scale).astype(np.float32) for one in codes]


def _arrays(inputs: Sequence[np.ndarray]) -> Any:
    """As Keras takes them: a single input is not in a tuple."""
    return tuple(inputs) if len(inputs) > 1 else inputs[0]


def _fit(
    network: keras.Model,
    inputs: Sequence[np.ndarray],
    labels: np.ndarray,
    *,
    config: FewLabelsConfig,
    seed: int,
    steps_share: float = 1.0,
    rate_share: float = 1.0,
) -> None:
    batch_size = config.task_batch_size
    steps = max(config.task_min_steps, config.task_epochs * len(labels) // batch_size)
    steps = max(int(steps_share * steps), 1)
    rate = keras.optimizers.schedules.CosineDecay(
        rate_share * config.task_learning_rate, steps
    )
    network.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
        steps_per_execution=50,
    )
    scenes = tf.data.Dataset.from_tensor_slices((_arrays(inputs), labels))
    batches = scenes.shuffle(len(labels), seed=seed).repeat().batch(batch_size)
    network.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
