"""What a run can draw: scenes, traversals of codes, and edited scenes."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.files import make_output_dir, replacing
from air_tf.inference.editing import SceneEditor
from air_tf.inference.steps import canvases_by_step
from air_tf.model.air import AIR, to_float
from air_tf.runs import RunDir
from air_tf.structs import Scenes
from air_tf.visualization import pictures

_MAX_IMAGES = 1000
_TRAVERSALS, _PAIRS, _EDITS, _COLUMNS = 8, 6, 6, 11
_STEP_BY_STEP = 8
# Standard deviations of the prior to each side.
_REACH = 3.0


def generate_run(
    run: RunDir,
    output_dir: str | os.PathLike,
    *,
    num_scenes: int,
    num_objects: int | None = None,
    fitted_where: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    data_dir: str | None = None,
) -> dict[str, str]:
    """Draws scenes, and held-out objects in other ways.

    Args:
      run: a trained run.
      output_dir: for scenes.npz and scenes.png (drawn from the prior),
        traversals.png (an object's code changed along one dimension at a time),
        interpolation.png (from one object's code to another's), editing.png (an
        object moved, removed, duplicated) and steps.png (what is drawn after each
        step); the last four with objects of the run's test images.
      num_scenes: how many are drawn.
      num_objects: in each; drawn from p(n) as fitted if omitted.
      fitted_where: draws z_where from p(z_where) as fitted.
      seed: of the scenes.
      overwrite: whether files that exist may be replaced.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What was written: names and what they show.

    Raises:
      InputError: for a run or data that can't be used, or files that exist.
    """
    made = {
        "scenes.npz": "image, count, boxes, z_where and z_what of all scenes",
        "scenes.png": "the first of them",
        "traversals.png": "a code changed along the dimensions that vary most",
        "interpolation.png": "from the code of one object to that of another",
        "editing.png": "an object moved, removed and duplicated",
        "steps.png": "what is drawn after each step",
    }
    folder = make_output_dir(output_dir, made, overwrite=overwrite)
    air = run.load_model()
    scenes = air.generate(
        num_scenes, seed=seed, num_objects=num_objects, fitted_where=fitted_where
    )
    with replacing(folder / "scenes.npz") as path:
        np.savez_compressed(
            path,
            image=np.round(255 * np.clip(scenes.canvas, 0, 1)).astype(np.uint8),
            count=scenes.num_objects,
            boxes=scenes.boxes,
            z_where=scenes.z_where,
            z_what=scenes.z_what,
        )
    with replacing(folder / "scenes.png") as path:
        pictures.save_grid(path, scenes.canvas[:64], "Scenes drawn from the prior")
    try:
        images = _held_out_images(run, air, data_dir)
    except InputError as error:
        raise InputError(
            f"scenes are in {folder}; the rest (again with --overwrite) needs the "
            f"run's test images: {error}"
        ) from None
    found = air.infer(images)
    objects = found.z_what[found.presence > 0.0]  # [K, D]
    if len(objects) < 2:
        raise InputError(
            f"scenes are in {folder}, but the rest needs two objects, and the model "
            f"finds {len(objects)} in the run's {len(images)} test images"
        )
    with replacing(folder / "traversals.png") as path:
        pictures.save_samples(
            path,
            traversals(air.decoder, objects),
            "An object's code from -3 to 3 along one dimension: those that vary most",
        )
    with replacing(folder / "interpolation.png") as path:
        pictures.save_samples(
            path,
            interpolations(air.decoder, objects),
            "From the code of one object to that of another",
        )
    with replacing(folder / "editing.png") as path:
        pictures.save_samples(
            path,
            _edits(air, images, found),
            "Image, reconstruction; first object moved, removed, duplicated",
        )
    with replacing(folder / "steps.png") as path:
        pictures.save_samples(
            path, _steps(air, images, found), "Image, and what is drawn after each step"
        )
    return made


def _held_out_images(run: RunDir, air: AIR, data_dir) -> np.ndarray:
    config = run.read_config()
    return sources.load_splits(
        config.data, ["test"], image_shape=air.config.image_shape, data_dir=data_dir
    )["test"].images[:_MAX_IMAGES]


def traversals(
    decoder: Callable[[tf.Tensor], tf.Tensor], codes: np.ndarray
) -> dict[str, np.ndarray]:
    """The first code with one dimension at a time from -3 to 3.

    Args:
      decoder: [N, D] to glimpses [N, h, w, C].
      codes: [K, D]; the dimensions in which they vary most are shown.

    Returns:
      For each dimension, by its name, glimpses [11, h, w, C].
    """
    dimensions = np.argsort(-codes.std(axis=0), kind="stable")[:_TRAVERSALS]
    rows = {}
    for dimension in dimensions:
        line = np.repeat(codes[:1], _COLUMNS, axis=0)
        line[:, dimension] = np.linspace(-_REACH, _REACH, _COLUMNS)
        rows[f"z_what[{dimension}]"] = decoder(tf.constant(line)).numpy()
    return rows


def interpolations(
    decoder: Callable[[tf.Tensor], tf.Tensor], codes: np.ndarray
) -> dict[str, np.ndarray]:
    """Straight lines between pairs of codes, the ends included.

    Returns:
      For each pair of neighbours in `codes`, glimpses [11, h, w, C].
    """
    rows = {}
    share = np.linspace(0.0, 1.0, _COLUMNS, dtype=np.float32)[:, np.newaxis]
    for i in range(min(_PAIRS, len(codes) // 2)):
        a, b = codes[2 * i], codes[2 * i + 1]
        line = (1.0 - share) * a + share * b
        rows[f"{2 * i} to {2 * i + 1}"] = decoder(tf.constant(line)).numpy()
    return rows


def _edits(air: AIR, images: np.ndarray, found: Scenes) -> dict[str, np.ndarray]:
    """Columns: image, reconstruction, and the scene with its first object edited."""
    rows = {}
    several = np.flatnonzero(found.num_objects >= min(found.num_objects.max(), 2))
    for i in several[:_EDITS]:
        # Towards the middle, where there is room.
        down, right = -0.25 * np.sign(found.z_where[i, 0, 1:])

        def edited(i=i):
            return SceneEditor(air, found, i)

        rows[f"image {i}"] = np.stack(
            [
                to_float(images[i]),
                found.canvas[i],
                edited().move(0, down, right).scenes().canvas[0],
                edited().remove(0).scenes().canvas[0],
                edited().duplicate(0, down, right).scenes().canvas[0],
            ]
        )
    return rows


def _steps(air: AIR, images: np.ndarray, found: Scenes) -> dict[str, np.ndarray]:
    """Columns: image, and the canvas after each step; images of most objects."""
    chosen = np.argsort(-found.num_objects, kind="stable")[:_STEP_BY_STEP]
    few = Scenes(*(field[chosen] for field in found))
    steps = canvases_by_step(air, few)[:, 1:]
    return {
        f"image {i}": np.concatenate([to_float(images[i : i + 1]), canvases])
        for i, canvases in zip(chosen, steps, strict=True)
    }
