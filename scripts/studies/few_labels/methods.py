"""Ways to learn a second task, side by side: what their networks start from."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.structs import ImageSet
from studies.few_labels import contrastive, networks
from studies.few_labels.objects import FoundObjects, find_objects
from studies.few_labels.tasks import TASKS, answers

METHODS = {
    "commonest": "no network: the commonest of the answers that were seen",
    "codes": "AIR's z_what and places, frozen",
    "kinds": "codes of kinds, learnt without labels from AIR's objects, and places",
    "fine_tuned": "the same; encoder of kinds and network trained on, glimpses warped",
    "cnn": "pixels, warped",
    "autoencoder": "a convolutional autoencoder's code of the image, frozen",
}
# That need nothing but images.
BASELINES = ("commonest", "cnn", "autoencoder")
_BATCH_SIZE, _LEARNING_RATE = 64, 1e-3
# Whichever is more.
_MIN_STEPS, _EPOCHS = 2000, 5
# Of the network from pixels, share of the steps: since images are warped, none is seen
# twice, and after as many steps as others take it has learnt half of what it can.
_PIXELS_STEPS = 3.0
# Of fine-tuning, which starts from what was learnt with frozen codes (Kumar et al.
# 2022): shares of the steps, and of the learning rate.
_TUNING_STEPS, _TUNING_RATE = 0.25, 0.1


class _Inputs(NamedTuple):
    """What a network is given, of training and of test scenes."""

    train: Sequence[np.ndarray]  # [M, ...] each
    test: Sequence[np.ndarray]


class Methods:
    """`METHODS` on one trained model; what they share is made when it is needed.

    Args:
      air: the model; None if only `BASELINES` are asked for.
      unlabelled: images it was trained on, for the kinds and the autoencoder,
        [N, H, W, C] uint8.
      train: scenes of two digits to choose labelled ones from.
      test: likewise, to answer.
      seed: of all networks and batches.
    """

    def __init__(
        self,
        air: AIR | None,
        unlabelled: np.ndarray,
        *,
        train: ImageSet,
        test: ImageSet,
        seed: int,
    ):
        self._air, self._unlabelled, self._seed = air, unlabelled, seed
        self._scenes = [train, test]
        self._inputs = functools.cache(self._make_inputs)

    @property
    def num_train(self) -> int:
        """How many scenes there are to choose from."""
        return len(self._scenes[0].images)

    def accuracy(self, method: str, task: str, chosen: np.ndarray) -> float:
        """Share of right answers to the test scenes.

        Args:
          method: one of `METHODS`.
          task: one of `TASKS`.
          chosen: indices of the training scenes whose answers may be seen.
        """
        right = [answers(task, scenes) for scenes in self._scenes]
        if method == "commonest":
            commonest = np.bincount(right[0][chosen]).argmax()
            return float(np.mean(right[1] == commonest))

        def fit(network, inputs, **shares):
            keras.utils.set_random_seed(self._seed)
            few = [x[chosen] for x in inputs.train]
            _fit(network, few, right[0][chosen], seed=self._seed, **shares)

        # First: what is made once leaves its mark on random numbers.
        inputs = self._inputs(method)
        keras.utils.set_random_seed(self._seed)
        if method == "cnn":
            network = networks.pixels_network(inputs.train[0].shape[1:], TASKS[task])
        elif method == "autoencoder":
            network = networks.codes_network(inputs.train[0].shape[1], TASKS[task])
        else:
            network = networks.SetNetwork(TASKS[task])
        if method == "fine_tuned":
            fit(network, self._inputs("kinds"))
            encoder = keras.models.clone_model(self._kinds)
            encoder.set_weights(self._kinds.get_weights())
            network = networks.EncodedSetNetwork(encoder, network)
            fit(network, inputs, steps_share=_TUNING_STEPS, rate_share=_TUNING_RATE)
        elif method == "cnn":
            fit(network, inputs, steps_share=_PIXELS_STEPS)
        else:
            fit(network, inputs)
        answered = network.predict(_arrays(inputs.test), batch_size=500, verbose=0)
        return float(np.mean(answered.argmax(axis=1) == right[1]))

    def _make_inputs(self, method: str) -> _Inputs:
        if method == "cnn":
            return _Inputs(*([scenes.images] for scenes in self._scenes))
        if method == "autoencoder":
            encoder = networks.learn_autoencoder(self._unlabelled, seed=self._seed)
            codes = [_apply(encoder, scenes.images) for scenes in self._scenes]
            return _Inputs(*([one] for one in _standardised(codes, codes[0])))
        what = [found.glimpses for found in self._found]
        if method == "kinds":
            what = [_of_each(self._kinds, found) for found in self._found]
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
        return [find_objects(self._air, scenes.images) for scenes in self._scenes]

    @functools.cached_property
    def _kinds(self) -> keras.Model:
        found = find_objects(self._air, self._unlabelled)
        present = found.presence > 0
        if present.sum() < 2:
            raise InputError(
                f"AIR finds {int(present.sum())} objects in {len(self._unlabelled)} "
                "training images; expected at least 2 to learn their kinds from"
            )
        print(f"Learning kinds from {int(present.sum())} objects.", flush=True)
        return contrastive.learn_kinds(
            found.z_what[present], found.glimpses[present], seed=self._seed
        )


def _apply(network: keras.Model, images: np.ndarray) -> np.ndarray:
    return network.predict(images, batch_size=500, verbose=0)


def _of_each(network: keras.Model, found: FoundObjects) -> np.ndarray:
    """Codes of the objects that are present, [N, T, E]; 0 elsewhere."""
    present = found.presence > 0
    codes = np.zeros((*present.shape, contrastive.SIZE), np.float32)
    codes[present] = _apply(network, found.glimpses[present])
    return codes


def _standardised(codes: Sequence[np.ndarray], by: np.ndarray) -> list[np.ndarray]:
    """Each of [..., E], by mean and deviation of [K, E]."""
    mean, scale = by.mean(axis=0), by.std(axis=0) + 1e-6
    return [((one - mean) / scale).astype(np.float32) for one in codes]


def _arrays(inputs: Sequence[np.ndarray]) -> Any:
    """As Keras wants them: a network of one input takes it bare."""
    return tuple(inputs) if len(inputs) > 1 else inputs[0]


def _fit(
    network: keras.Model,
    inputs: Sequence[np.ndarray],
    labels: np.ndarray,
    *,
    seed: int,
    steps_share: float = 1.0,
    rate_share: float = 1.0,
) -> None:
    steps = max(_MIN_STEPS, _EPOCHS * len(labels) // _BATCH_SIZE)
    steps = int(steps_share * steps)
    rate = keras.optimizers.schedules.CosineDecay(rate_share * _LEARNING_RATE, steps)
    network.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
        steps_per_execution=50,
    )
    scenes = tf.data.Dataset.from_tensor_slices((_arrays(inputs), labels))
    batches = scenes.shuffle(len(labels), seed=seed).repeat().batch(_BATCH_SIZE)
    network.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)
