"""Scenes of coloured shapes."""

from collections.abc import Mapping
from typing import Any

from air_tf.config.checks import one_of
from air_tf.data.painted_builder import PaintedBuilder
from air_tf.data.scene_builder import SceneBuilderConfig, builder_configs
from air_tf.data.scene_config import SpriteConfig
from air_tf.data.scenes import Scene
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
    scenes = {name: SpriteConfig(**values) for name, values in _SETTINGS.items()}
    return builder_configs(scenes, _describe, num_scenes)


def _describe(scenes: SpriteConfig) -> str:
    counts = one_of(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    may_overlap = "may overlap" if scenes.overlap else "do not overlap"
    rotated = "rotated by random angles" if scenes.rotation else "not rotated"
    return (
        f"Number of shapes: {counts}. Canvas: {height}x{width} pixels. Background: "
        f"{scenes.background}. Shapes {may_overlap} and are {rotated}."
    )


class Builder(PaintedBuilder):
    """TFDS builder `sprites`: needs no download."""

    BUILDER_CONFIGS = sprite_configs({"train": 20000, "validation": 2000, "test": 5000})
    SHAPES = SHAPES

    def _compose(self, index: int, *, split: int) -> Scene:
        return compose_sprites(self.builder_config.scenes, index, split=split)
