"""What the TFDS builders of scenes from pictures of single objects share."""

import abc
import functools
from collections.abc import Callable, Mapping
from typing import ClassVar

import tensorflow_datasets as tfds

from air_tf.config import SceneConfig
from air_tf.data.scene_builder import SceneBuilder, SceneBuilderConfig
from air_tf.data.scenes import SPLITS, ObjectPool, Scene, compose_scene


def scene_configs(
    num_scenes: Mapping[str, int],
    *,
    default: str = "0-2",
    shrink: tuple[float, float] = SceneConfig.shrink,
) -> list[SceneBuilderConfig]:
    """The forms that every kind of object comes in.

    Args:
      num_scenes: for each split.
      default: the form that comes first.
      shrink: mean and deviation of what a picture's size is divided by.
    """
    counts = {
        "0-2": (0, 1, 2),
        "0-3": (0, 1, 2, 3),
        "0_1_3": (0, 1, 3),
        **{str(n): (n,) for n in range(1, 6)},
    }
    settings = {name: {"counts": value} for name, value in counts.items()}
    settings["0-2_overlap"] = {"counts": (0, 1, 2), "overlap": True}
    settings["0-3_overlap"] = {"counts": (0, 1, 2, 3), "overlap": True}
    half, double = (tuple(by * value for value in shrink) for by in (2, 0.5))
    settings["0-2_half_size"] = {"counts": (0, 1, 2), "shrink": half}
    settings["1_double_size"] = {"counts": (1,), "shrink": double}
    settings["0-5_100x100"] = {
        "counts": (0, 1, 2, 3, 4, 5),
        "canvas_size": (100, 100),
    }
    settings = {default: settings.pop(default), **settings}
    return [
        SceneBuilderConfig(
            name=name,
            description=_describe(scenes),
            scenes=scenes,
            num_scenes=num_scenes,
        )
        for name, scenes in (
            (name, SceneConfig(**{"shrink": shrink, **values}))
            for name, values in settings.items()
        )
    ]


def _describe(scenes: SceneConfig) -> str:
    counts = ", ".join(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    place = "may overlap" if scenes.overlap else "apart, anywhere"
    return f"{counts} objects on {height}x{width}; {place}."


class PoolBuilder(SceneBuilder, skip_registration=True):
    """Builds scenes of objects that the train, validation and test splits
    do not share."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "First version.",
        "1.1.0": "With a segmentation; images are the same.",
    }

    @abc.abstractmethod
    def _object_pools(self) -> dict[str, ObjectPool]:
        """Objects of each split; none is in two of them."""

    def _object_features(self):
        return {"label": tfds.features.ClassLabel(num_classes=10)}

    def _composers(self) -> dict[str, Callable[[int], Scene]]:
        return {
            split: functools.partial(
                compose_scene,
                pool,
                self.builder_config.scenes,
                split=SPLITS.index(split),
            )
            for split, pool in self._object_pools().items()
        }
