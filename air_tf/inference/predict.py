"""Predictions for picture files. Imports no TensorFlow, for use on edge devices."""

import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from air_tf.data.user_images import fit_picture, read_picture
from air_tf.errors import InputError, OutputError
from air_tf.extras import require_extra
from air_tf.files import make_output_dir, replacing, unique_names, write_json
from air_tf.images import check_aspect
from air_tf.inference.results.label_images import labels_of_scene, write_label_image
from air_tf.inference.tabletop import ObjectTable, describe_objects
from air_tf.structs import Kinds, Scenes, Scenes3D, TabletopScenes
from air_tf.visualization.drawing import draw_boxes

Found = Scenes | TabletopScenes
Infer = Callable[[str, Image.Image], Found]
# Folder of label images, in that of the results.
_LABELS = "labels"


class Prediction(NamedTuple):
    """The answer for one picture, or the error that prevented it."""

    path: str  # of the picture, as given
    answer: dict[str, Any] | None  # see `describe`
    file: pathlib.Path | None  # JSON file with the answer, if files are written
    error: InputError | OutputError | None
    is_old: bool = False  # whether the file was there before


def of_pictures(
    infer: Callable[[np.ndarray], Any],
    image_shape: tuple[int, int, int],
    kinds: Kinds | None = None,
) -> Infer:
    """The function for `predict_files` of a model in this process.

    Args:
      infer: gives the scenes of images of the canvas' shape, [N, H, W, C] uint8:
        `Scenes3D` with `kinds`, else `Scenes`.
      image_shape: (H, W, C) of the canvas that pictures are stretched to. Pictures of
        objects on a table are of a fixed camera: they must have its aspect ratio.
      kinds: of objects on a table that the model tells apart; None for other models.
    """

    def infer_picture(path: str, picture: Image.Image) -> Found:
        if kinds is None:
            return infer(fit_picture(picture, image_shape)[np.newaxis])
        check_aspect(picture.height, picture.width, image_shape, what=path)
        scenes = infer(fit_picture(picture, image_shape)[np.newaxis])
        return TabletopScenes(scenes, kinds)

    return infer_picture


def predict_files(
    infer: Infer,
    paths: Sequence[str],
    output_dir: str | os.PathLike | None = None,
    *,
    overwrite: bool = False,
    label_images: bool = False,
) -> Iterator[Prediction]:
    """Predicts pictures, one at a time.

    Args:
      infer: function of a path and its picture of mode "RGB"; returns scenes with one
        image, as numpy arrays.
      paths: PNG or JPEG files of any size.
      output_dir: folder for NAME.json, the answer, and NAME.png, the picture with the
        boxes drawn; created if it does not exist. Objects on a table are in one more
        file for all pictures, objects.csv, written after the last picture. Nothing is
        written if omitted.
      overwrite: whether to replace existing files.
      label_images: whether to write labels/NAME.tif into the folder, too, see
        `labels_of_scene`. Needs scenes with masks.

    Returns:
      A lazy iterator of predictions in the order of `paths`. Each is returned after
      its files are written. An InputError or OutputError for one picture is part of
      its prediction and does not stop the iteration; other errors are raised.

    Raises:
      InputError: before any prediction, if a file exists or the folder can't be
        created. Only the first answer tells whether there will be an objects.csv: the
        iterator raises, before it writes any file, if that exists.
      OutputError: by the iterator, if objects.csv can't be written.
    """
    names = unique_names(paths)
    folder = None
    if label_images:
        require_extra("pictures")
    if output_dir is not None:
        files = [f"{name}{suffix}" for name in names for suffix in (".json", ".png")]
        files += [f"{_LABELS}/{name}.tif" for name in names if label_images]
        folder = make_output_dir(output_dir, files, overwrite=overwrite)
        if label_images:
            make_output_dir(folder / _LABELS)
    # In another function, so that the checks above run before the first `next`.
    named = dict(zip(names, paths, strict=True))
    return _predict_all(infer, named, folder, overwrite, label_images)


def _predict_all(
    infer: Infer,
    paths: dict[str, str],
    folder: pathlib.Path | None,
    overwrite: bool,
    label_images: bool,
) -> Iterator[Prediction]:
    """As `predict_files`; `paths` by the names of their files, without suffix."""
    if folder is None:
        for path in paths.values():
            yield _predict(infer, path)
        return
    table = ObjectTable(folder, overwrite=overwrite)
    for name, path in paths.items():
        labels = folder / _LABELS / f"{name}.tif" if label_images else None
        yield _predict(infer, path, folder / f"{name}.json", table, labels)
    table.write()


def _predict(
    infer: Infer,
    path: str,
    file: pathlib.Path | None = None,
    table: ObjectTable | None = None,
    labels: pathlib.Path | None = None,
) -> Prediction:
    try:
        picture = read_picture(path)
        found = infer(path, picture)
        answer = describe(path, picture, found)
    except (InputError, OutputError) as error:
        return Prediction(path, None, None, error)
    if file is None or table is None:
        return Prediction(path, answer, None, None)
    table.require_new(answer)  # If it is there, it is for no picture to go on.
    try:
        with_boxes = draw_boxes(picture, np.array(answer["boxes"]))
        with replacing(file.with_suffix(".png")) as temporary:
            with_boxes.save(temporary)
        if labels is not None:
            scenes = found if isinstance(found, Scenes) else found.scenes
            seen = labels_of_scene(scenes, picture.height, picture.width)
            write_label_image(labels, seen)
        write_json(file, answer)
    except OutputError as error:
        return Prediction(path, None, None, error)
    table.add(answer)
    return Prediction(path, answer, file, None)


def describe(path: str, picture: Image.Image, found: Found) -> dict[str, Any]:
    """The answer for one picture, for JSON.

    Args:
      path: of the picture.
      picture: as read.
      found: in this picture, N = 1.

    Returns:
      "image" (the path), "height" and "width" in pixels, "count",
      "count_probabilities" (q(n) for n = 0 .. T), "box_format", and lists with one item
      per object: "boxes" (in [0, 1]), "boxes_in_pixels", "presence_probs", "z_where",
      "z_what". Of objects on a table, instead of the last two, see `describe_objects`.
    """
    return describe_scenes(path, picture.height, picture.width, found)


def describe_scenes(path: str, height: int, width: int, found: Found) -> dict[str, Any]:
    """As `describe`, for a picture of `height` and `width` pixels."""
    scenes: Scenes | Scenes3D
    if isinstance(found, Scenes):
        scenes, of_objects = found, _describe_codes(found)
    else:
        scenes, of_objects = found.scenes, describe_objects(*found)
    count = int(scenes.num_objects[0])
    boxes = scenes.boxes[0, :count]
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
        **of_objects,
    }


def _describe_codes(scenes: Scenes) -> dict[str, list]:
    count = int(scenes.num_objects[0])
    return {
        "z_where": scenes.z_where[0, :count].tolist(),
        "z_what": scenes.z_what[0, :count].tolist(),
    }
