"""Scenes of coloured shapes."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from air_tf.config.checks import one_of
from air_tf.data.scene_builder import SceneBuilder, SceneBuilderConfig
from air_tf.data.scene_config import SpriteConfig
from air_tf.data.scenes import SPLITS, Scene
from air_tf.data.sprite_scenes import SHAPES, compose_sprites

_SETTINGS: dict[str, dict[str, Any]] = {
    "0-3": {},
    "0-2": {"counts": (0, 1, 2)},
    "0_1_3": {"counts": (0, 1, 3)},
    **{str(n): {"counts": (n,)} for n in range(1, 6)},
    "0-3_rotated": {"rotation": True},
    "0-3_overlap": {"overlap": True},
    "0-3_plain": {"background": "plain"},
    "0-3_gradient": {"background": "gradient"},
    "0-3_texture": {"background": "texture"},
    "0-5_100x100": {"counts": (0, 1, 2, 3, 4, 5), "canvas_size": (100, 100)},
}


def sprite_configs(num_scenes: Mapping[str, int]) -> list[SceneBuilderConfig]:
    """The configurations of the dataset; the first is the default.

    Args:
      num_scenes: how many scenes there are in each split.
    """
    return [
        SceneBuilderConfig(
            name=name,
            description=_describe(SpriteConfig(**values)),
            scenes=SpriteConfig(**values),
            num_scenes=num_scenes,
        )
        for name, values in _SETTINGS.items()
    ]


def _describe(scenes: SpriteConfig) -> str:
    counts = one_of(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    may_overlap = "may overlap" if scenes.overlap else "do not overlap"
    rotated = "rotated by random angles" if scenes.rotation else "not rotated"
    return (
        f"Number of shapes: {counts}. Canvas: {height}x{width} pixels. Background: "
        f"{scenes.background}. Shapes {may_overlap} and are {rotated}."
    )


class Builder(SceneBuilder):
    """TFDS builder `sprites`: needs no download."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    BUILDER_CONFIGS = sprite_configs({"train": 20000, "validation": 2000, "test": 5000})
    CHANNELS = 3

    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        return {
            "label": tfds.features.ClassLabel(names=list(SHAPES)),
            "color": tfds.features.Tensor(shape=(3,), dtype=np.uint8),
        }

    def _composers(self) -> dict[str, Callable[[range], Iterable[Scene]]]:
        return {
            split: functools.partial(
                map,
                functools.partial(
                    compose_sprites, self.builder_config.scenes, split=number
                ),
            )
            for number, split in enumerate(SPLITS)
        }
