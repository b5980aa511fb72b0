"""What the TFDS builders of composed scenes share."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from air_tf.config import SceneConfig, SpriteConfig
from air_tf.data.origins import Origin
from air_tf.data.scenes import Scene


@dataclasses.dataclass(eq=False, kw_only=True)
class SceneBuilderConfig(tfds.core.BuilderConfig):
    """One form of the scenes.

    Attributes:
      scenes: how they are composed.
      num_scenes: how many, for each split.
    """

    scenes: SceneConfig | SpriteConfig
    num_scenes: Mapping[str, int]


class SceneBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds scenes of objects and says what is in them."""

    CHANNELS = 1
    # Of other people's data; None where scenes need no download.
    ORIGIN: ClassVar[Origin | None] = None

    @abc.abstractmethod
    def _composers(self) -> dict[str, Callable[[int], Scene]]:
        """For each split, what composes its scene of a number."""

    @abc.abstractmethod
    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """What is known of an object beside its box: fields of `Scene`."""

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.scenes.canvas_size
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(*size, self.CHANNELS)),
                    # 0 is the background, k object k of `objects`, from 1 on.
                    "segmentation": tfds.features.Image(shape=(*size, 1)),
                    "count": tfds.features.Scalar(dtype=np.int64),
                    "objects": tfds.features.Sequence(
                        {"bbox": tfds.features.BBoxFeature(), **self._object_features()}
                    ),
                }
            ),
            supervised_keys=("image", "count"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {
            split: self._generate_examples(
                compose, self.builder_config.num_scenes[split]
            )
            for split, compose in self._composers().items()
        }

    def _generate_examples(
        self, compose: Callable[[int], Scene], num_scenes: int
    ) -> Iterator:
        known = list(self._object_features())
        for index in range(num_scenes):
            scene = compose(index)
            objects = [
                {"bbox": tfds.features.BBox(*box.tolist())}
                | {name: getattr(scene, f"{name}s")[k] for name in known}
                for k, box in enumerate(scene.boxes)
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
