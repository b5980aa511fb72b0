"""Answers about objects on a table: for JSON, and as rows of a table of all pictures.

Imports no TensorFlow, for use on edge devices.
"""

import csv
import pathlib
from typing import Any

import numpy as np

from air_tf.config import AIR3DConfig, AIRConfig
from air_tf.errors import InputError
from air_tf.files import replacing
from air_tf.structs import Kinds, Scenes3D

TABLE = "objects.csv"
COLUMNS = (
    "image",
    "object",
    "kind",
    "kind_probability",
    "x",
    "y",
    "x_scale",
    "y_scale",
    "yaw_degrees",
    "yaw_scale_degrees",
    "presence_probability",
    "ymin",
    "xmin",
    "ymax",
    "xmax",
)


def kinds_of(config: AIRConfig | AIR3DConfig) -> Kinds | None:
    """The kinds that a model tells apart; None for one that knows no kinds."""
    if isinstance(config, AIRConfig):
        return None
    kinds = config.tabletop.kinds
    return Kinds(config.tabletop.kind_names, tuple(kind.symmetry for kind in kinds))


def describe_objects(scenes: Scenes3D, kinds: Kinds) -> dict[str, list]:
    """What an answer says of objects on a table besides their boxes.

    Args:
      scenes: of one picture, N = 1.
      kinds: that the model tells apart.

    Returns:
      Lists with one item per object: "kinds" (names), "kind_probabilities" (by name),
      "positions" and "position_scales" ((x, y), in the table's unit), "yaws" and
      "yaw_scales" (degrees; None for kinds that look the same from all sides). A yaw
      is within half a turn, divided by the symmetry of the kind, of 0. Scales are
      standard deviations.
    """
    count = int(scenes.num_objects[0])
    chosen = scenes.kind[0, :count].tolist()
    symmetries = [kinds.symmetries[kind] for kind in chosen]
    return {
        "kinds": [kinds.names[kind] for kind in chosen],
        "kind_probabilities": [
            dict(zip(kinds.names, probs, strict=True))
            for probs in scenes.kind_probs[0, :count].tolist()
        ],
        "positions": scenes.position[0, :count].tolist(),
        "position_scales": scenes.position_scale[0, :count].tolist(),
        "yaws": [
            _folded(np.rad2deg(yaw), symmetry) if symmetry else None
            for yaw, symmetry in zip(scenes.yaw[0], symmetries, strict=False)
        ],
        "yaw_scales": [
            float(np.rad2deg(scale)) if symmetry else None
            for scale, symmetry in zip(scenes.yaw_scale[0], symmetries, strict=False)
        ],
    }


def _folded(degrees: float, symmetry: int) -> float:
    """The angle of the same look that is closest to 0."""
    turn = 360.0 / symmetry
    return float(degrees - turn * np.round(degrees / turn))


class ObjectTable:
    """A CSV file with a row for each object, written when all pictures are done.

    Only answers about objects on a table have rows; without any, there is no file.

    Args:
      folder: for the file, `TABLE`.
      overwrite: whether to replace an existing file.
    """

    def __init__(self, folder: pathlib.Path, *, overwrite: bool):
        self._file = folder / TABLE
        self._overwrite = overwrite
        self._rows: list[tuple] | None = None

    def require_new(self, answer: dict[str, Any]) -> None:
        """Raises InputError if the file is there, and would be replaced."""
        if "kinds" in answer and not self._overwrite and self._file.exists():
            raise InputError(
                f"{self._file} exists; expected another `output_dir`, or `overwrite`"
            )

    def add(self, answer: dict[str, Any]) -> None:
        """Adds the objects of a picture, see `air_tf.inference.predict.describe`."""
        if "kinds" in answer:
            self._rows = (self._rows or []) + rows_of(answer)

    def write(self) -> None:
        """Writes the file; raises OutputError if that fails."""
        if self._rows is None:
            return
        with (
            replacing(self._file) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self._rows)


def rows_of(answer: dict[str, Any]) -> list[tuple]:
    """Values of `COLUMNS` for each object; what an object has not is empty."""
    return [
        (
            answer["image"],
            number,
            kind,
            answer["kind_probabilities"][number][kind],
            *answer["positions"][number],
            *answer["position_scales"][number],
            answer["yaws"][number],
            answer["yaw_scales"][number],
            answer["presence_probs"][number],
            *answer["boxes"][number],
        )
        for number, kind in enumerate(answer["kinds"])
    ]
