"""Scenes of objects on a table, seen by a camera that does not move."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from air_tf.config.checks import one_of
from air_tf.config.tabletop import TABLETOPS
from air_tf.data.scene_builder import SceneBuilder, SceneBuilderConfig, builder_configs
from air_tf.data.scene_config import TabletopSceneConfig
from air_tf.data.scenes import SPLITS, Scene
from air_tf.data.tabletop_painters import open_painter
from air_tf.data.tabletop_scenes import arrange, draw

# Height and width of pictures; tables with small parts need large ones by default.
_SIDES = (32, 48, 64)
_DEFAULT_SIDES = {"crockery": 48}
_COUNTS = {"one": (1,)}


def tabletop_configs(num_scenes: Mapping[str, int]) -> list[SceneBuilderConfig]:
    """The configurations of the dataset; the first is the default.

    Args:
      num_scenes: how many scenes there are in each split.
    """
    found = {}
    for name, tabletop in TABLETOPS.items():
        counts = _COUNTS.get(name, TabletopSceneConfig.counts)
        default = _DEFAULT_SIDES.get(name, _SIDES[0])
        for side in sorted(_SIDES, key=lambda side: side != default):
            size = "" if side == default else f"_{side}x{side}"
            found[f"{name}{size}"] = TabletopSceneConfig(
                counts=counts, canvas_size=(side, side), tabletop=tabletop
            )
    return builder_configs(found, _describe, num_scenes)


def _describe(scenes: TabletopSceneConfig) -> str:
    counts = one_of(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    return (
        f"Number of objects: {counts}. Kinds: {one_of(scenes.tabletop.kind_names)}. "
        f"Pictures: {height}x{width} pixels. The renderer that drew them is in "
        '`info.metadata["renderer"]`.'
    )


class Builder(SceneBuilder):
    """TFDS builder `tabletop`: needs no download."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First version.",
        "2.0.0": "Edges are smoother with MuJoCo, and sharper without; scenes are the "
        "same.",
    }
    BUILDER_CONFIGS = tabletop_configs(
        {"train": 20000, "validation": 1000, "test": 2000}
    )

    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        kinds = list(self.builder_config.scenes.tabletop.kind_names)
        return {
            "label": tfds.features.ClassLabel(names=kinds),
            "position": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            "yaw": tfds.features.Scalar(dtype=np.float32),
        }

    def composers(self) -> dict[str, Callable[[range], Iterable[Scene]]]:
        with open_painter(self.builder_config.scenes) as painter:
            self.info.metadata["renderer"] = painter.name
        return {
            split: functools.partial(self._draw, split=number)
            for number, split in enumerate(SPLITS)
        }

    def _draw(self, numbers: range, *, split: int) -> Iterator[Scene]:
        config = self.builder_config.scenes
        with open_painter(config) as painter:
            logging.info("%s draws %d scenes.", painter.name, len(numbers))
            # A picture's place among others can change single values by 1, see
            # `MuJoCoPainter`.
            for start in range(0, len(numbers), self.CHUNK):
                chunk = numbers[start : start + self.CHUNK]
                objects = [arrange(config, index, split=split) for index in chunk]
                yield from draw(painter, objects)
