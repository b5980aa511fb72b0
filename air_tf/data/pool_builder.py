"""What the TFDS builders of scenes from pictures of single objects share."""

import abc
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from air_tf.config.checks import one_of
from air_tf.data.pool_scenes import ObjectPool, compose_scene
from air_tf.data.scene_builder import SceneBuilder, SceneBuilderConfig, builder_configs
from air_tf.data.scene_config import SceneConfig
from air_tf.data.scenes import SPLITS, Scene


def scene_configs(
    num_scenes: Mapping[str, int],
    *,
    default: str = "0-2",
    shrink: tuple[float, float] = SceneConfig.shrink,
) -> list[SceneBuilderConfig]:
    """The configurations of every dataset of this kind.

    Args:
      num_scenes: how many scenes there are in each split.
      default: name of the configuration that comes first.
      shrink: see `SceneConfig`.
    """
    settings: dict[str, dict[str, Any]] = {
        "0-2": {"counts": (0, 1, 2)},
        "0-3": {"counts": (0, 1, 2, 3)},
        "0_1_3": {"counts": (0, 1, 3)},
        **{str(n): {"counts": (n,)} for n in range(1, 6)},
        "0-2_overlap": {"counts": (0, 1, 2), "overlap": True},
        "0-3_overlap": {"counts": (0, 1, 2, 3), "overlap": True},
        "0-2_half_size": {"counts": (0, 1, 2), "shrink": _times(2, shrink)},
        "1_double_size": {"counts": (1,), "shrink": _times(0.5, shrink)},
        "0-2_any_size": {"counts": (0, 1, 2), "enlarge": (0.5, 2.0)},
        "0-5_100x100": {"counts": (0, 1, 2, 3, 4, 5), "canvas_size": (100, 100)},
        "0-2_noisy": {"counts": (0, 1, 2), "pixel_range": (0.1, 0.9), "noise": 0.2},
        "0-2_grid": {"counts": (0, 1, 2), "grid": 0.4},
    }
    settings = {default: settings.pop(default), **settings}
    scenes = {
        name: SceneConfig(**{"shrink": shrink, **values})
        for name, values in settings.items()
    }
    return builder_configs(scenes, _describe, num_scenes)


def _times(factor: float, shrink: tuple[float, float]) -> tuple[float, float]:
    mean, deviation = shrink
    return factor * mean, factor * deviation


def _describe(scenes: SceneConfig) -> str:
    counts = one_of(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    may_overlap = "may overlap" if scenes.overlap else "do not overlap"
    text = (
        f"Number of objects: {counts}. Canvas: {height}x{width} pixels. Objects "
        f"{may_overlap}. Their pictures are divided in size by "
        f"N({scenes.shrink[0]:g}, {scenes.shrink[1]:g})."
    )
    if scenes.enlarge != SceneConfig.enlarge:
        text += " They are then multiplied by {:g} to {:g}.".format(*scenes.enlarge)
    if scenes.grid:
        text += (
            f" On every {scenes.grid_spacing}th row and column, the first of each at "
            f"random, pixels are at least {scenes.grid:g} bright."
        )
    if scenes.pixel_range != SceneConfig.pixel_range:
        text += " Brightness is mapped to [{:g}, {:g}].".format(*scenes.pixel_range)
    if scenes.noise:
        text += f" To each pixel N(0, {scenes.noise:g}) is added, then it is clipped."
    return text


class PoolBuilder(SceneBuilder):
    """Builds scenes from pictures of objects; no object is in two splits."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First version.",
        "1.1.0": "Adds segmentations; images are unchanged.",
    }

    @abc.abstractmethod
    def object_pools(self) -> dict[str, ObjectPool]:
        """The objects of each split; none is in two splits."""

    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        return {"label": tfds.features.ClassLabel(num_classes=10)}

    def composers(self) -> dict[str, Callable[[range], Iterable[Scene]]]:
        return {
            split: functools.partial(
                map,
                functools.partial(
                    compose_scene,
                    pool,
                    self.builder_config.scenes,
                    split=SPLITS.index(split),
                ),
            )
            for split, pool in self.object_pools().items()
        }
