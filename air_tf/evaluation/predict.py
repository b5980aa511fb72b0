"""A model's answer for single pictures, as files."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from air_tf.data.user_images import read_picture
from air_tf.errors import InputError
from air_tf.evaluation import pictures
from air_tf.model.air import AIR
from air_tf.structs import Scenes


def predict_files(
    air: AIR,
    paths: Sequence[str],
    output_dir: str | os.PathLike,
    *,
    max_steps: int | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Writes NAME.json and NAME.png, with the boxes drawn, for each picture.

    Args:
      air: the model.
      paths: PNG or JPEG files of any size; each is stretched to the canvas.
      output_dir: made if it is not there.
      max_steps: T; that of the model's config if omitted.
      overwrite: whether files that exist may be replaced.

    Returns:
      A line for every picture that could not be read.

    Raises:
      InputError: if a file exists already, or the folder can't be made.
    """
    folder = pathlib.Path(output_dir)
    names = _unique_names(paths)
    if not overwrite:
        for name in names:
            for suffix in (".json", ".png"):
                if (folder / f"{name}{suffix}").exists():
                    raise InputError(
                        f"{folder / f'{name}{suffix}'} exists; expected another "
                        "--output_dir, or --overwrite"
                    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"output_dir {folder} can't be made ({error.strerror})"
        ) from None
    failures = []
    for path, name in zip(paths, names, strict=True):
        try:
            image, picture = read_picture(path, air.config.image_shape)
        except InputError as error:
            failures.append(str(error))
            continue
        # One by one: pictures can be large, and the loop ends with its image.
        scenes = air.infer(image[np.newaxis], max_steps=max_steps)
        answer = describe(path, picture, scenes)
        with open(folder / f"{name}.json", "w") as file:
            json.dump(answer, file, indent=2)
            file.write("\n")
        boxes = scenes.boxes[0, : answer["count"]]
        pictures.draw_boxes(picture, boxes).save(folder / f"{name}.png")
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
        "presence": scenes.presence[0, :count].tolist(),
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
