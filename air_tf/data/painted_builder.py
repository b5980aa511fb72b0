"""What the TFDS builders of coloured shapes share."""

import abc
import functools
from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from air_tf.data.scene_builder import SceneBuilder
from air_tf.data.scenes import SPLITS, Scene


class PaintedBuilder(SceneBuilder):
    """Builds scenes of shapes, each with its class and its colour."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    # Names of the classes.
    SHAPES: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def _compose(self, index: int, *, split: int) -> Scene:
        """Draws scene number `index` of a split."""

    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        channels = self.builder_config.scenes.channels
        return {
            "label": tfds.features.ClassLabel(names=list(self.SHAPES)),
            "color": tfds.features.Tensor(shape=(channels,), dtype=np.uint8),
        }

    def composers(self) -> dict[str, Callable[[range], Iterable[Scene]]]:
        return {
            split: functools.partial(
                map, functools.partial(self._compose, split=number)
            )
            for number, split in enumerate(SPLITS)
        }
