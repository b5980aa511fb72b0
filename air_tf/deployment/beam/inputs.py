"""Pictures from files, TFRecord and Parquet, in chunks that never change.

How sums are rounded depends on the images that are inferred together, and where two
explanations are almost equally good, so may the answer. So chunks depend on the names
of the pictures alone, not on the number of workers, nor on how a runner bundles
elements.
"""

import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.io import fileio
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from google.protobuf.message import DecodeError
from pyarrow import parquet

from air_tf.data.picture_files import SUFFIXES
from air_tf.errors import InputError

# Of the dead letters.
BAD = "bad"
# Feature and column of the bytes of a picture.
FIELD = "image"
MAX_FILE_BYTES = 2**30
# Paths that one worker sorts and cuts into chunks.
_GROUP = 1024
_TFRECORD, _PARQUET = "tfrecord", "parquet"
_ENDINGS = {
    # With the number of the shard behind it, as TFDS has it.
    _TFRECORD: re.compile(r"\.tfrecords?([-*?][^/]*)?", re.IGNORECASE),
    _PARQUET: re.compile(r"\.parquet", re.IGNORECASE),
    "picture": re.compile(
        "|".join(re.escape(suffix) for suffix in SUFFIXES), re.IGNORECASE
    ),
}


class Chunk(NamedTuple):
    """Pictures that are inferred together, as the bytes of their files."""

    names: tuple[str, ...]
    contents: tuple[bytes, ...]


def kind_of(pattern: str) -> str:
    """What files a pattern names: "picture", "tfrecord" or "parquet".

    Raises:
      InputError: for another ending.
    """
    name = pattern.rpartition("/")[2]
    for kind, ending in _ENDINGS.items():
        if re.fullmatch(f".*({ending.pattern})", name, re.IGNORECASE):
            return kind
    expected = ", ".join((*SUFFIXES, ".tfrecord", ".tfrecord-*", ".parquet"))
    raise InputError(
        f"is {pattern!r}; expected a pattern that ends in one of {expected}",
        field="input",
    )


def with_folder(pattern: str) -> str:
    """The pattern, in `.` if it names no folder: Beam would look nowhere."""
    return pattern if os.path.dirname(pattern) else os.path.join(os.curdir, pattern)


def require_matches(patterns: Iterable[str]) -> None:
    """Raises InputError for a pattern that no file matches, or can't be read."""
    for pattern in patterns:
        try:
            (found,) = FileSystems.match([pattern], limits=[1])
        except (BeamIOError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{pattern} can't be read ({reason})", field="input"
            ) from None
        if not found.metadata_list:
            raise InputError(f"is {pattern!r}; no file matches", field="input")


class ReadChunks(beam.PTransform):
    """Reads pictures.

    Pictures in files have their path as name. Those in TFRecord and Parquet files,
    `tf.train.Example`s and rows with the bytes of a PNG, JPEG or TIFF file in `image`,
    have the names PATH#0, PATH#1, ...

    Args:
      patterns: of files; a file that matches two is read once.
      size: of a chunk, at most.

    Returns:
      A dictionary of collections: `chunks`, and `BAD`, rows of what can't be read.
    """

    def __init__(self, patterns: Sequence[str], size: int):
        super().__init__()
        self._patterns, self._size = patterns, size

    def expand(self, pipeline):
        kinds: dict[str, list[str]] = {kind_of(one): [] for one in self._patterns}
        for pattern in self._patterns:
            kinds[kind_of(pattern)].append(pattern)
        outputs = []
        for kind, patterns in kinds.items():
            paths = (
                pipeline
                | f"{kind}: patterns" >> beam.Create(patterns)
                | f"{kind}: match" >> fileio.MatchAll()
                | f"{kind}: paths" >> beam.Map(lambda found: found.path)
            )
            # Both ways, each file once, and a barrier, so that workers share the files.
            if kind == "picture":
                groups = paths | f"{kind}: group" >> _Group(self._size)
                read = beam.ParDo(_ReadFiles(self._size))
            else:
                groups = paths | f"{kind}: each once" >> beam.Distinct()
                read = beam.ParDo(_ReadRecords(kind, self._size))
            outputs.append(
                groups | f"{kind}: read" >> read.with_outputs(BAD, main="chunks")
            )
        return {
            name: [output[name] for output in outputs] | f"all {name}" >> beam.Flatten()
            for name in ("chunks", BAD)
        }


class _Group(beam.PTransform):
    """Puts paths into groups that depend on the paths alone."""

    def __init__(self, size: int):
        super().__init__()
        # Large pictures are work enough for a worker, one by one.
        self._group = _GROUP if size > 1 else 1

    def expand(self, paths):
        count = beam.pvalue.AsSingleton(paths | beam.combiners.Count.Globally())
        return (
            paths
            | beam.Map(_with_group, size=self._group, count=count)
            | beam.GroupByKey()
            | beam.Values()
        )


def _with_group(path: str, *, size: int, count: int) -> tuple[int, str]:
    groups = math.ceil(count / size)
    return zlib.crc32(path.encode()) % groups, path


class _ReadFiles(beam.DoFn):
    """From groups of paths to chunks of pictures."""

    def __init__(self, size: int):
        self._size = size

    def process(self, paths: Iterable[str]):
        ordered = sorted(set(paths))
        for start in range(0, len(ordered), self._size):
            read = {}
            for path in ordered[start : start + self._size]:
                try:
                    read[path] = _content(path)
                except InputError as error:
                    yield dead_letter(path, error)
            if read:
                yield Chunk(tuple(read), tuple(read.values()))


class _ReadRecords(beam.DoFn):
    """From paths of files of records to chunks of pictures, in the files' order."""

    def __init__(self, kind: str, size: int):
        self._kind, self._size = kind, size

    def process(self, path: str):
        records = (_tfrecords if self._kind == _TFRECORD else _rows)(path)
        chunk: dict[str, bytes] = {}
        number = 0
        try:
            for number, content in enumerate(records):
                name = f"{path}#{number}"
                if content is None:
                    error = InputError(f"{name}: has no bytes in `{FIELD}`")
                    yield dead_letter(name, error)
                    continue
                chunk[name] = content
                if len(chunk) == self._size:
                    yield Chunk(tuple(chunk), tuple(chunk.values()))
                    chunk = {}
        except InputError as error:
            yield dead_letter(path, error)
        if chunk:
            yield Chunk(tuple(chunk), tuple(chunk.values()))


def dead_letter(name: str, error: Exception) -> beam.pvalue.TaggedOutput:
    """What is written of a picture that can't be used."""
    return beam.pvalue.TaggedOutput(BAD, {"image": name, "reason": str(error)})


def _open(path: str):
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _content(path: str) -> bytes:
    try:
        with _open(path) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (BeamIOError, OSError) as error:
        raise InputError(f"{path}: can't be read ({error})") from None
    if len(content) > MAX_FILE_BYTES:
        raise InputError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
    return content


def _tfrecords(path: str) -> Iterator[bytes | None]:
    """The bytes of each picture; None for a record without."""
    import tensorflow as tf

    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            try:
                example = tf.train.Example.FromString(record)
            except DecodeError:
                yield None
                continue
            values = example.features.feature[FIELD].bytes_list.value
            yield values[0] if len(values) == 1 else None
    except tf.errors.OpError as error:
        raise InputError(f"{path}: can't be read ({error.message})") from None


def _rows(path: str) -> Iterator[bytes | None]:
    """The bytes of each picture; None for a row without."""
    try:
        with _open(path) as source, parquet.ParquetFile(source) as file:
            if FIELD not in file.schema_arrow.names:
                raise InputError(f"{path}: has no column `{FIELD}`")
            kind = file.schema_arrow.field(FIELD).type
            if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
                raise InputError(f"{path}: `{FIELD}` holds {kind}; expected binary")
            # Small batches: each holds whole pictures.
            for batch in file.iter_batches(batch_size=16, columns=[FIELD]):
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, BeamIOError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: can't be read ({reason})") from None
