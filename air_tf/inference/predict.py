"""Predictions for picture files. Imports no TensorFlow, for use on edge devices."""

import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from air_tf.data.user_images import read_picture
from air_tf.errors import InputError, OutputError
from air_tf.files import make_output_dir, replacing, write_json
from air_tf.structs import Scenes
from air_tf.visualization.drawing import draw_boxes


class Prediction(NamedTuple):
    """The answer for one picture, or the error that prevented it."""

    path: str  # of the picture, as given
    answer: dict[str, Any] | None  # see `describe`
    file: pathlib.Path | None  # JSON file with the answer, if files are written
    error: InputError | OutputError | None


def predict_files(
    infer: Callable[[str, Image.Image], Scenes],
    paths: Sequence[str],
    output_dir: str | os.PathLike | None = None,
    *,
    overwrite: bool = False,
) -> Iterator[Prediction]:
    """Predicts pictures, one at a time.

    Args:
      infer: function of a path and its picture of mode "RGB"; returns `Scenes` with
        one image, as numpy arrays.
      paths: PNG or JPEG files of any size.
      output_dir: folder for NAME.json, the answer, and NAME.png, the picture with the
        boxes drawn; created if it does not exist. Nothing is written if omitted.
      overwrite: whether to replace existing files.

    Returns:
      A lazy iterator of predictions in the order of `paths`. Each is returned after
      its files are written. An InputError or OutputError for one picture is part of
      its prediction and does not stop the iteration; other errors are raised.

    Raises:
      InputError: before any prediction, if a file exists or the folder can't be
        created.
    """
    names = _unique_names(paths)
    folder = None
    if output_dir is not None:
        files = [f"{name}{suffix}" for name in names for suffix in (".json", ".png")]
        folder = make_output_dir(output_dir, files, overwrite=overwrite)
    # A generator expression, so that the checks above run before the first `next`.
    return (
        _predict(infer, path, None if folder is None else folder / f"{name}.json")
        for path, name in zip(paths, names, strict=True)
    )


def _predict(
    infer: Callable[[str, Image.Image], Scenes], path: str, file: pathlib.Path | None
) -> Prediction:
    try:
        picture = read_picture(path)
        scenes = infer(path, picture)
        answer = describe(path, picture, scenes)
        if file is not None:
            with_boxes = draw_boxes(picture, scenes.boxes[0, : answer["count"]])
            with replacing(file.with_suffix(".png")) as temporary:
                with_boxes.save(temporary)
            write_json(file, answer)
    except (InputError, OutputError) as error:
        return Prediction(path, None, None, error)
    return Prediction(path, answer, file, None)


def describe(path: str, picture: Image.Image, scenes: Scenes) -> dict[str, Any]:
    """The answer for one picture, for JSON.

    Args:
      path: of the picture.
      picture: as read.
      scenes: of this picture, N = 1.

    Returns:
      "image" (the path), "height" and "width" in pixels, "count",
      "count_probabilities" (q(n) for n = 0 .. T), "box_format", and lists with one item
      per object: "boxes" (in [0, 1]), "boxes_in_pixels", "presence_probs", "z_where",
      "z_what".
    """
    count = int(scenes.num_objects[0])
    boxes = scenes.boxes[0, :count]
    height, width = picture.height, picture.width
    in_pixels = boxes * np.array([height, width, height, width])
    return {
        "image": str(path),
        "height": height,
        "width": width,
        "count": count,
        "count_probabilities": scenes.num_objects_probs[0].tolist(),
        "box_format": ["ymin", "xmin", "ymax", "xmax"],
        "boxes": boxes.tolist(),
        "boxes_in_pixels": in_pixels.tolist(),
        "presence_probs": scenes.presence_probs[0, :count].tolist(),
        "z_where": scenes.z_where[0, :count].tolist(),
        "z_what": scenes.z_what[0, :count].tolist(),
    }


def _unique_names(paths: Sequence[str]) -> list[str]:
    """File names without suffix, made unique: the second `a` becomes `a_2`."""
    names: list[str] = []
    for path in paths:
        stem = name = pathlib.Path(path).stem
        number = 2
        while name in names:
            name = f"{stem}_{number}"
            number += 1
        names.append(name)
    return names
