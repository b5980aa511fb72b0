"""Scenes of the shapes of dSprites."""

from collections.abc import Mapping
from typing import Any

from air_tf.config.checks import one_of
from air_tf.data.dsprite_scenes import SHAPES, compose_dsprites
from air_tf.data.painted_builder import PaintedBuilder
from air_tf.data.scene_builder import SceneBuilderConfig, builder_configs
from air_tf.data.scene_config import DSpriteConfig
from air_tf.data.scenes import Scene

_SETTINGS: dict[str, dict[str, Any]] = {
    "coloured_on_grey": {"counts": (2, 3, 4, 5), "color": "hsv", "background": "grey"},
    "coloured_on_coloured": {
        "counts": (1, 2, 3, 4),
        "color": "rgb",
        "background": "rgb",
    },
    "binarised": {"counts": (2, 3), "color": "white", "background": "black"},
}


def dsprite_configs(num_scenes: Mapping[str, int]) -> list[SceneBuilderConfig]:
    """The configurations of the dataset; the first is the default.

    Args:
      num_scenes: how many scenes there are in each split.
    """
    scenes = {name: DSpriteConfig(**values) for name, values in _SETTINGS.items()}
    return builder_configs(scenes, _describe, num_scenes)


def _describe(scenes: DSpriteConfig) -> str:
    counts = one_of(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    return (
        f"Number of shapes: {counts}. Canvas: {height}x{width} pixels. Colours: "
        f"{scenes.color}. Background: {scenes.background}. Of each shape, at least "
        f"{scenes.min_visible:.0%} is visible."
    )


class Builder(PaintedBuilder):
    """TFDS builder `multi_dsprites`: needs no download."""

    BUILDER_CONFIGS = dsprite_configs(
        {"train": 20000, "validation": 2000, "test": 5000}
    )
    SHAPES = SHAPES

    def _compose(self, index: int, *, split: int) -> Scene:
        return compose_dsprites(self.builder_config.scenes, index, split=split)
