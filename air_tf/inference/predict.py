"""A model's answer for single pictures, as files or as lines of JSON."""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from air_tf.data.user_images import read_picture
from air_tf.errors import InputError
from air_tf.files import make_output_dir
from air_tf.structs import Scenes
from air_tf.visualization.drawing import draw_boxes


def predict_files(
    infer: Callable[[str, Image.Image], Scenes],
    paths: Sequence[str],
    output_dir: str | os.PathLike | None = None,
    *,
    overwrite: bool = False,
) -> list[str]:
    """Prints JSON, a line for each picture, or writes it to files.

    Args:
      infer: a path and the picture that was read from it, "RGB", to scenes of
        one image, as numpy arrays.
      paths: PNG or JPEG files of any size.
      output_dir: for NAME.json and NAME.png, with the boxes drawn; made if it is
        not there. Without, JSON goes to standard output.
      overwrite: whether files that exist may be replaced.

    Returns:
      A line for every picture that could not be read or was refused.

    Raises:
      InputError: if a file exists already, or the folder can't be made.
    """
    names = _unique_names(paths)
    folder = None
    if output_dir is not None:
        files = [f"{name}{suffix}" for name in names for suffix in (".json", ".png")]
        folder = make_output_dir(output_dir, files, overwrite=overwrite)
    failures = []
    for path, name in zip(paths, names, strict=True):
        try:
            picture = read_picture(path)
            # One by one: pictures can be large, and the loop ends with its image.
            scenes = infer(path, picture)
        except InputError as error:
            failures.append(str(error))
            continue
        answer = describe(path, picture, scenes)
        if not folder:
            print(json.dumps(answer), flush=True)
            continue
        with open(folder / f"{name}.json", "w") as file:
            json.dump(answer, file, indent=2)
            file.write("\n")
        boxes = scenes.boxes[0, : answer["count"]]
        draw_boxes(picture, boxes).save(folder / f"{name}.png")
        print(f"{path}: {answer['count']} objects, in {folder / name}.json")
    return failures


def describe(path: str, picture: Image.Image, scenes: Scenes) -> dict[str, Any]:
    """What `Scenes` of one picture say, as a dictionary that JSON can hold."""
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
    """File names without suffix; a second `a` becomes `a_2`."""
    names: list[str] = []
    for path in paths:
        stem = name = pathlib.Path(path).stem
        number = 2
        while name in names:
            name = f"{stem}_{number}"
            number += 1
        names.append(name)
    return names
