"""Scenes of tetrominoes."""

from collections.abc import Mapping

from air_tf.config.checks import one_of
from air_tf.data.painted_builder import PaintedBuilder
from air_tf.data.scene_builder import SceneBuilderConfig, builder_configs
from air_tf.data.scene_config import TetrominoConfig
from air_tf.data.scenes import Scene
from air_tf.data.tetromino_scenes import SHAPES, compose_tetrominoes


def tetromino_configs(num_scenes: Mapping[str, int]) -> list[SceneBuilderConfig]:
    """The configurations of the dataset; the first is the default.

    Args:
      num_scenes: how many scenes there are in each split.
    """
    scenes = {
        "3": TetrominoConfig(),
        "3_aligned": TetrominoConfig(step=TetrominoConfig.block),
        "0-3": TetrominoConfig(counts=(0, 1, 2, 3)),
    }
    return builder_configs(scenes, _describe, num_scenes)


def _describe(scenes: TetrominoConfig) -> str:
    counts = one_of(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    anywhere = "any pixel" if scenes.step == 1 else f"multiples of {scenes.step} pixels"
    return (
        f"Number of pieces: {counts}. Canvas: {height}x{width} pixels. Squares: "
        f"{scenes.block}x{scenes.block} pixels. Pieces begin at {anywhere}."
    )


class Builder(PaintedBuilder):
    """TFDS builder `tetrominoes`: needs no download."""

    BUILDER_CONFIGS = tetromino_configs(
        {"train": 20000, "validation": 2000, "test": 5000}
    )
    SHAPES = SHAPES

    def _compose(self, index: int, *, split: int) -> Scene:
        return compose_tetrominoes(self.builder_config.scenes, index, split=split)
