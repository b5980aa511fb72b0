"""Numbers of objects that a user knows, which only score what a model counts."""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np

from air_tf.config import PictureConfig
from air_tf.data.picture_files import LABELS_ENDING, SUFFIXES, read_pixels
from air_tf.errors import InputError
from air_tf.files import reading

COUNTS_FILE = "counts.csv"


def known_counts(files: Sequence[pathlib.Path]) -> list[int | None]:
    """The known number of objects of each picture.

    A folder may hold counts.csv, with the columns `image` (the name of a picture, with
    or without its suffix) and `count`; and, beside NAME.png, an image NAME_labels.png
    (or .tif) whose values differ between objects and are 0 elsewhere.

    Args:
      files: the pictures.

    Returns:
      For each, the number; None if it is unknown.

    Raises:
      InputError: for a file that can't be read.
    """
    tables = {folder: _read_table(folder) for folder in {f.parent for f in files}}
    found: list[int | None] = []
    for file in files:
        table = tables[file.parent]
        count = table.get(file.name, table.get(file.stem))
        found.append(_count_labels(file) if count is None else count)
    return found


def _read_table(folder: pathlib.Path) -> dict[str, int]:
    file = folder / COUNTS_FILE
    if not file.is_file():
        return {}
    counts = {}
    with reading(file), open(file, newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if not {"image", "count"} <= set(reader.fieldnames or ()):
            raise InputError(f"{file}: lacks the columns image and count")
        for row in reader:
            text = row["count"] or ""
            if not text.strip().isdecimal():
                raise InputError(
                    f"{file}, line {reader.line_num}: count is {text!r}; expected a "
                    "whole number"
                )
            counts[pathlib.PurePath(row["image"]).name] = int(text)
    return counts


def _count_labels(file: pathlib.Path) -> int | None:
    for suffix in SUFFIXES:
        labels = file.with_name(f"{file.stem}{LABELS_ENDING}{suffix}")
        if labels.is_file():
            return len(np.setdiff1d(read_pixels(labels, PictureConfig()), [0]))
    return None
