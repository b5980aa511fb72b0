"""Rows of the tables of counts and objects, with their types for Parquet."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from air_tf.inference.counts import interval_of
from air_tf.inference.predict import describe_scenes
from air_tf.inference.results.table import BOX
from air_tf.inference.tabletop import COLUMNS as ON_TABLE
from air_tf.inference.tabletop import rows_of
from air_tf.structs import Kinds, Scenes, Scenes3D, TabletopScenes

Row = dict[str, Any]
_WHERE = ("z_where-0", "z_where-1", "z_where-2")

COUNTS = pa.schema(
    [
        ("image", pa.string()),
        ("count", pa.int64()),
        ("count_low", pa.int64()),
        ("count_high", pa.int64()),
        ("probability", pa.float64()),
    ]
)
BAD_PICTURES = pa.schema([("image", pa.string()), ("reason", pa.string())])


def _codes(size: int) -> list[str]:
    return [f"z_what-{i}" for i in range(size)]


def objects_of_images(code_size: int) -> pa.Schema:
    """Of the rows of `image_rows`."""
    floats = [*BOX, "probability", *_WHERE, *_codes(code_size)]
    return pa.schema(
        [
            ("image", pa.string()),
            ("label", pa.int64()),
            *((name, pa.float64()) for name in floats),
        ]
    )


def objects_of_pictures(code_size: int) -> pa.Schema:
    """Of the rows of `picture_rows`."""
    floats = ["centroid-0", "centroid-1"], ["intensity_mean", "probability"]
    return pa.schema(
        [
            ("image", pa.string()),
            *((name, pa.int64()) for name in ("label", *BOX)),
            *((name, pa.float64()) for name in floats[0]),
            ("area", pa.int64()),
            *((name, pa.float64()) for name in (*floats[1], *_codes(code_size))),
        ]
    )


def objects_on_table() -> pa.Schema:
    """Of the rows of `tabletop_rows`."""
    kinds: dict[str, Any] = {
        "image": pa.string(),
        "object": pa.int64(),
        "kind": pa.string(),
    }
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in ON_TABLE])


def count_rows(names: Sequence[str], scenes: Scenes | Scenes3D) -> Iterator[Row]:
    """A row for each image, with the interval of q(n)."""
    number = scenes.num_objects
    interval = interval_of(np.asarray(scenes.num_objects_probs, np.float64), number)
    columns = (names, *(array.tolist() for array in (number, *interval)))
    for values in zip(*columns, strict=True):
        yield dict(zip(COUNTS.names, values, strict=True))


def image_rows(
    names: Sequence[str], scenes: Scenes, sizes: np.ndarray
) -> Iterator[Row]:
    """A row for each object in images, numbered from 1 in each, as in label images.

    Args:
      names: of the N pictures.
      scenes: found in them.
      sizes: [N, 2], (height, width) of the pictures, in whose pixels boxes are.
    """
    owners, steps = np.nonzero(scenes.presence)  # image by image
    chosen = (owners, steps)
    boxes = scenes.boxes[chosen] * np.tile(sizes, 2)[owners]  # [objects, 4]
    numbers = (boxes, scenes.presence_probs[chosen][:, np.newaxis])
    codes = (scenes.z_where[chosen], scenes.z_what[chosen])
    rows = np.concatenate([*numbers, *codes], axis=1, dtype=np.float64)
    keys = objects_of_images(scenes.z_what.shape[-1]).names
    places = zip(owners.tolist(), steps.tolist(), rows.tolist(), strict=True)
    for owner, step, values in places:
        yield dict(zip(keys, (names[owner], step + 1, *values), strict=True))


def tabletop_rows(
    names: Sequence[str], scenes: Scenes3D, sizes: np.ndarray, kinds: Kinds
) -> Iterator[Row]:
    """A row for each object on a table, as in `ObjectTable`."""
    for i, (name, (height, width)) in enumerate(zip(names, sizes, strict=True)):
        one = Scenes3D(
            *(field[i : i + 1] if field is not None else None for field in scenes)
        )
        answer = describe_scenes(name, height, width, TabletopScenes(one, kinds))
        for values in rows_of(answer):
            yield dict(zip(ON_TABLE, values, strict=True))


def picture_rows(name: str, answer: Row) -> tuple[Row, list[Row]]:
    """The row of a picture of any size, and those of its objects.

    Args:
      name: of the picture.
      answer: of `describe_picture`.
    """
    keys = ("count", "count_low", "count_high", "count_probability")
    count = dict(zip(COUNTS.names, (name, *(answer[key] for key in keys)), strict=True))
    columns = answer["objects"]
    return count, [
        {"image": name, **dict(zip(columns, values, strict=True))}
        for values in zip(*columns.values(), strict=True)
    ]
