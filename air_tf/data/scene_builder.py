"""What the TFDS builders of all generated scenes share."""

import abc
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import tensorflow_datasets as tfds

from air_tf.data.origins import Origin
from air_tf.data.scene_config import CommonConfig
from air_tf.data.scenes import Scene

_Config = TypeVar("_Config", bound=CommonConfig)


@dataclasses.dataclass(eq=False, kw_only=True)
class SceneBuilderConfig(tfds.core.BuilderConfig):
    """One configuration of a dataset of scenes.

    Attributes:
      scenes: how they are composed.
      num_scenes: how many there are in each split.
    """

    scenes: CommonConfig
    num_scenes: Mapping[str, int]


def builder_configs(
    scenes: Mapping[str, _Config],
    describe: Callable[[_Config], str],
    num_scenes: Mapping[str, int],
) -> list[SceneBuilderConfig]:
    """Configurations of a dataset; the first is the default.

    Args:
      scenes: how those of each configuration are composed.
      describe: from that to a text.
      num_scenes: how many scenes there are in each split.
    """
    return [
        SceneBuilderConfig(
            name=name,
            description=describe(config),
            scenes=config,
            num_scenes=num_scenes,
        )
        for name, config in scenes.items()
    ]


class SceneBuilder(tfds.core.GeneratorBasedBuilder, abc.ABC):
    """Builds scenes of objects, with counts, boxes, classes and segmentations."""

    # The third-party dataset that scenes are composed of; None if none is needed.
    ORIGIN: ClassVar[Origin | None] = None
    # Scenes that a worker of Beam composes at once, and that are drawn together where
    # one picture's place among others matters. It never changes.
    CHUNK: ClassVar[int] = 500
    _in_beam = False

    @abc.abstractmethod
    def composers(self) -> dict[str, Callable[[range], Iterable[Scene]]]:
        """For each split, a function from the numbers of scenes to the scenes."""

    @abc.abstractmethod
    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        """Features of an object in addition to its box.

        A feature `label` is read from the field `labels` of `Scene`, and so on.
        """

    def _info(self) -> tfds.core.DatasetInfo:
        scenes = self.builder_config.scenes
        size = scenes.canvas_size
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(*size, scenes.channels)),
                    # 0 is the background, k + 1 is object k of `objects`.
                    "segmentation": tfds.features.Image(shape=(*size, 1)),
                    "count": tfds.features.Scalar(dtype=np.int64),
                    "objects": tfds.features.Sequence(
                        {"bbox": tfds.features.BBoxFeature(), **self._object_features()}
                    ),
                }
            ),
            supervised_keys=("image", "count"),
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self,
        *,
        download_config: tfds.download.DownloadConfig | None = None,
        **options: Any,
    ) -> None:
        """As of TFDS. With a runner or options of Beam, a pipeline composes the scenes:
        the same ones in the same order, if there are as many shards."""
        config = download_config or tfds.download.DownloadConfig()
        self._in_beam = not (config.beam_runner is None and config.beam_options is None)
        super().download_and_prepare(download_config=config, **options)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager
        return {
            split: self._generate_examples(split, compose)
            for split, compose in self.composers().items()
        }

    def _generate_examples(
        self, split: str, compose: Callable[[range], Iterable[Scene]]
    ) -> Any:
        num_scenes = self.builder_config.num_scenes[split]
        if not self._in_beam:
            return self.examples(compose, range(num_scenes))
        from air_tf.data.beam_scenes import ComposeScenes

        return ComposeScenes(self, split, num_scenes)

    def examples(
        self, compose: Callable[[range], Iterable[Scene]], numbers: range
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Keys and examples of scenes.

        Args:
          compose: one of `composers`.
          numbers: of the scenes.
        """
        names = list(self._object_features())
        for index, scene in zip(numbers, compose(numbers), strict=True):
            objects = [
                {"bbox": tfds.features.BBox(*box.tolist())}
                | {name: getattr(scene, f"{name}s")[k] for name in names}
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
