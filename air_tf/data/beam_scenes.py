"""Scenes as a pipeline of Apache Beam; needs the extra `scale`.

Each scene depends on its number alone, so scenes are the same whatever the number of
workers. TFDS orders them by a hash of their keys, with and without Beam.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import apache_beam as beam

from air_tf.errors import InputError

if TYPE_CHECKING:
    from air_tf.data.scene_builder import SceneBuilder


class ComposeScenes(beam.PTransform):
    """Composes the scenes of a split.

    Args:
      builder: of the dataset. Workers make it anew, and its pools of objects.
      split: name of the split.
      num_scenes: how many.

    Returns:
      Keys and examples, for TFDS.
    """

    def __init__(self, builder: "SceneBuilder", split: str, num_scenes: int):
        super().__init__()
        self._builder, self._split, self._num = builder, split, num_scenes

    def expand(self, pipeline):
        return (
            pipeline
            | beam.Create([self._num])
            | beam.FlatMap(_chunks, size=self._builder.CHUNK)
            # A barrier, so that workers share the chunks.
            | beam.Reshuffle()
            | beam.ParDo(_Compose(self._builder, self._split))
        )


def _chunks(number: int, *, size: int) -> Iterator[range]:
    for start in range(0, number, size):
        yield range(start, min(start + size, number))


class _Compose(beam.DoFn):
    def __init__(self, builder: "SceneBuilder", split: str):
        self._builder, self._split = builder, split
        self._metadata = dict(builder.info.metadata or {})

    def setup(self) -> None:
        self._compose = self._builder.composers()[self._split]
        found = dict(self._builder.info.metadata or {})
        if found != self._metadata:
            raise InputError(
                f"a worker composes scenes with {found}; expected {self._metadata}, as "
                "where the pipeline was started"
            )

    def process(self, numbers: range) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from self._builder.examples(self._compose, numbers)
