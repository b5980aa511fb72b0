"""What the TFDS builders of composed scenes share."""

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from air_tf.config import SceneConfig
from air_tf.data.scenes import SPLITS, ObjectPool, compose_scene


@dataclasses.dataclass(eq=False, kw_only=True)
class SceneBuilderConfig(tfds.core.BuilderConfig):
    """One form of the scenes.

    Attributes:
      scenes: how they are composed.
      num_scenes: how many, for each split.
    """

    scenes: SceneConfig
    num_scenes: Mapping[str, int]


def scene_configs(num_scenes: Mapping[str, int]) -> list[SceneBuilderConfig]:
    """The forms that every kind of object comes in; the first is the default."""
    counts = {
        "0-2": (0, 1, 2),
        "0-3": (0, 1, 2, 3),
        "0_1_3": (0, 1, 3),
        **{str(n): (n,) for n in range(1, 6)},
    }
    settings = {name: {"counts": value} for name, value in counts.items()}
    settings["0-2_overlap"] = {"counts": (0, 1, 2), "overlap": True}
    settings["0-3_overlap"] = {"counts": (0, 1, 2, 3), "overlap": True}
    settings["0-2_half_size"] = {"counts": (0, 1, 2), "shrink": (2.6, 0.2)}
    settings["0-5_100x100"] = {
        "counts": (0, 1, 2, 3, 4, 5),
        "canvas_size": (100, 100),
    }
    return [
        SceneBuilderConfig(
            name=name,
            description=_describe(SceneConfig(**values)),
            scenes=SceneConfig(**values),
            num_scenes=num_scenes,
        )
        for name, values in settings.items()
    ]


def _describe(scenes: SceneConfig) -> str:
    counts = ", ".join(str(n) for n in scenes.counts)
    height, width = scenes.canvas_size
    place = "may overlap" if scenes.overlap else "apart, anywhere"
    return f"{counts} objects on {height}x{width}; {place}."


class SceneBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
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

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (*self.builder_config.scenes.canvas_size, 1)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=shape),
                    # 0 is the background, k object k of `objects`, from 1 on.
                    "segmentation": tfds.features.Image(shape=shape),
                    "count": tfds.features.Scalar(dtype=np.int64),
                    "objects": tfds.features.Sequence(
                        {
                            "bbox": tfds.features.BBoxFeature(),
                            "label": tfds.features.ClassLabel(num_classes=10),
                        }
                    ),
                }
            ),
            supervised_keys=("image", "count"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            split: self._generate_examples(pool, split)
            for split, pool in self._object_pools().items()
        }

    def _generate_examples(self, pool: ObjectPool, split: str) -> Iterator:
        config = self.builder_config
        for index in range(config.num_scenes[split]):
            scene = compose_scene(
                pool, config.scenes, split=SPLITS.index(split), index=index
            )
            objects = [
                {"bbox": tfds.features.BBox(*box.tolist()), "label": label}
                for box, label in zip(scene.boxes, scene.labels, strict=True)
            ]
            yield (
                index,
                {
                    "image": scene.image,
                    "segmentation": scene.segmentation,
                    "count": len(objects),
                    "objects": objects,
                },
            )
