"""Counts and locates the objects of any number of pictures, as a pipeline of Beam."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

from air_tf.config import PictureConfig
from air_tf.data.picture_files import decode_pixels
from air_tf.data.user_images import decode_picture, fit_picture
from air_tf.deployment.beam import rows
from air_tf.deployment.beam.handlers import (
    NAMESPACE,
    ImageHandler,
    Images,
    PictureHandler,
)
from air_tf.deployment.beam.inputs import (
    BAD,
    Chunk,
    ReadChunks,
    dead_letter,
    kind_of,
    require_matches,
    with_folder,
)
from air_tf.deployment.exported import ExportedModel
from air_tf.deployment.signatures import MAX_BATCH_SIZE
from air_tf.errors import InputError
from air_tf.images import check_aspect
from air_tf.structs import Kinds

FORMATS = ("parquet", "jsonl")
_COUNTS, _OBJECTS, _BAD_PICTURES = "counts", "objects", "bad_pictures"


class Totals(NamedTuple):
    """What a pipeline counted; `images` are windows of pictures of any size, or the
    pictures themselves."""

    pictures: int
    objects: int
    bad_pictures: int
    images: int
    images_per_second: float | None  # mean of all calls of the model, on one thread


def predict(
    export: str,
    patterns: Sequence[str],
    output: str,
    *,
    options: beam.options.pipeline_options.PipelineOptions,
    format: str = "parquet",
) -> Totals | None:
    """Writes OUTPUT/counts-*, OUTPUT/objects-* and OUTPUT/bad_pictures-*.

    Every picture has one row in `counts` or one in `bad_pictures`. Rows do not depend
    on the runner or the number of workers; their order does.

    Args:
      export: see `ExportedModel`; workers must be able to read it.
      patterns: of files, see `ReadChunks`.
      output: a folder that is empty or does not exist.
      options: of Beam, with the runner.
      format: one of `FORMATS`.

    Returns:
      What was counted; None if the runner does not tell.

    Raises:
      InputError: for an export, a pattern or a folder that can't be used.
    """
    for pattern in patterns:
        kind_of(pattern)
    patterns = [with_folder(pattern) for pattern in patterns]
    require_matches(patterns)
    _require_empty(output)
    if "://" not in export:
        export = os.path.abspath(export)
    model = ExportedModel(export)
    with_windows = model.pictures is not None
    # A copy of what is needed: the model itself stays here.
    if model.pictures is not None:
        handler: Any = PictureHandler(export, model.pictures)
        decode: Callable = functools.partial(_decode_pixels, settings=model.pictures)
        schema = rows.objects_of_pictures(model.code_size)
    else:
        handler = ImageHandler(export)
        decode = functools.partial(
            _decode_image, shape=model.image_shape, kinds=model.kinds
        )
        schema = (
            rows.objects_of_images(model.code_size)
            if model.kinds is None
            else rows.objects_on_table()
        )
    to_rows = _PictureRows() if with_windows else _ImageRows(model.kinds)
    del model
    pipeline = beam.Pipeline(options=options)
    chunks = pipeline | ReadChunks(patterns, 1 if with_windows else MAX_BATCH_SIZE)
    decoded = chunks["chunks"] | "decode" >> beam.ParDo(
        _Decode(decode, whole=with_windows)
    ).with_outputs(BAD, main="decoded")
    answered = (
        decoded["decoded"]
        | "infer" >> RunInference(KeyedModelHandler(handler))
        | "rows" >> beam.ParDo(to_rows).with_outputs(_OBJECTS, BAD, main=_COUNTS)
    )
    bad = (
        (chunks[BAD], decoded[BAD], answered[BAD])
        | "all bad pictures" >> beam.Flatten()
        | "count bad pictures" >> beam.Map(_count_bad)
    )
    for name, table, kinds in (
        (_COUNTS, answered[_COUNTS], rows.COUNTS),
        (_OBJECTS, answered[_OBJECTS], schema),
        (_BAD_PICTURES, bad, rows.BAD_PICTURES),
    ):
        _write(name, table, output, kinds, format)
    result = pipeline.run()
    result.wait_until_finish()
    return _totals(result)


def _require_empty(output: str) -> None:
    """Refuses a folder that holds anything: of an earlier call, shards would stay."""
    try:
        (found,) = FileSystems.match([FileSystems.join(output, "**")], limits=[1])
    except (BeamIOError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{output} can't be read ({reason})", field="output") from None
    if found.metadata_list:
        raise InputError(
            f"{output} is not empty; expected a new folder", field="output"
        )


class _Decode(beam.DoFn):
    """From chunks to named examples of a handler, and dead letters.

    Args:
      decode: gives an example of the bytes and the name of a picture.
      whole: whether each picture is an example; else a chunk is.
    """

    def __init__(self, decode: Callable, *, whole: bool):
        self._decode, self._whole = decode, whole

    def process(self, chunk: Chunk):
        found = {}
        for name, content in zip(*chunk, strict=True):
            try:
                found[name] = self._decode(content, what=name)
            except InputError as error:
                yield dead_letter(name, error)
        if self._whole:
            yield from found.items()
        elif found:
            images, sizes = zip(*found.values(), strict=True)
            yield tuple(found), Images(np.stack(images), np.array(sizes))


def _decode_pixels(content: bytes, *, settings: PictureConfig, what: str) -> np.ndarray:
    return decode_pixels(content, settings, what=what)


def _decode_image(
    content: bytes, *, shape: tuple[int, int, int], kinds: Kinds | None, what: str
) -> tuple[np.ndarray, tuple[int, int]]:
    """As `predict_files` does; the picture on the canvas, and its (height, width)."""
    picture = decode_picture(content, what=what)
    if kinds is not None:
        check_aspect(picture.height, picture.width, shape, what=what)
    return fit_picture(picture, shape), (picture.height, picture.width)


class _ImageRows(beam.DoFn):
    """From predictions of `ImageHandler` to rows of both tables."""

    def __init__(self, kinds: Kinds | None):
        self._kinds = kinds

    def process(self, prediction):
        names, (scenes, sizes) = prediction
        yield from rows.count_rows(names, scenes)
        found = (
            rows.image_rows(names, scenes, sizes)
            if self._kinds is None
            else rows.tabletop_rows(names, scenes, sizes, self._kinds)
        )
        for row in found:
            yield beam.pvalue.TaggedOutput(_OBJECTS, row)
        _count(len(names), int(scenes.num_objects.sum()))


class _PictureRows(beam.DoFn):
    """From predictions of `PictureHandler` to rows of both tables."""

    def process(self, prediction):
        name, answer = prediction
        if isinstance(answer, InputError):
            yield dead_letter(name, answer)
            return
        count, objects = rows.picture_rows(name, answer)
        yield count
        for row in objects:
            yield beam.pvalue.TaggedOutput(_OBJECTS, row)
        _count(1, len(objects))


def _count(pictures: int, objects: int) -> None:
    Metrics.counter(NAMESPACE, "pictures").inc(pictures)
    Metrics.counter(NAMESPACE, "objects").inc(objects)


def _count_bad(row: rows.Row) -> rows.Row:
    Metrics.counter(NAMESPACE, _BAD_PICTURES).inc()
    return row


def _write(name: str, table: Any, output: str, schema: pa.Schema, format: str) -> None:
    prefix = FileSystems.join(output, name)
    if format == "parquet":
        table | f"write {name}" >> beam.io.WriteToParquet(
            prefix, schema, codec="snappy", file_name_suffix=".parquet"
        )
    else:
        (
            table
            | f"{name} as JSON" >> beam.Map(json.dumps)
            | f"write {name}" >> beam.io.WriteToText(prefix, file_name_suffix=".jsonl")
        )


def _totals(result: Any) -> Totals | None:
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    except NotImplementedError:
        return None
    counted = {one.key.metric.name: one.result for one in found["counters"]}
    rates = [
        one.result.mean
        for one in found["distributions"]
        if one.key.metric.name == "images_per_second"
    ]
    return Totals(
        pictures=counted.get("pictures", 0),
        objects=counted.get("objects", 0),
        bad_pictures=counted.get(_BAD_PICTURES, 0),
        images=counted.get("images", 0),
        images_per_second=rates[0] if rates else None,
    )
