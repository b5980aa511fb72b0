"""Writes pictures of generated scenes, and of variations of inferred scenes.

The variations are computed in `air_tf.inference.variations`.
"""

import os
import pathlib
from collections.abc import Mapping

import numpy as np

from air_tf.errors import InputError
from air_tf.files import make_output_dir, replacing
from air_tf.images import to_uint8
from air_tf.inference import variations
from air_tf.inference.generated_files import FILES
from air_tf.model.air import AIR
from air_tf.runs import RunDir
from air_tf.structs import Scenes
from air_tf.visualization import film, pictures

# Number of test images that variations are chosen from.
_MAX_IMAGES = 1000
# Number of scenes in scenes.png.
_MAX_DRAWN = 64


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
    """Writes scenes generated from the prior, and variations of the run's test images.

    Files:

    - scenes.npz and scenes.png: generated scenes
    - traversals.png: the code of an object, changed along one dimension at a time
    - interpolation.png: interpolations between the codes of two objects
    - editing.png: scenes with an object moved, removed and duplicated
    - steps.png: the canvas after each attend step
    - attend.gif: what is looked at, read, drawn and left, step by step

    The last five show objects in the run's test images.

    Args:
      run: a trained run.
      output_dir: folder for the files.
      num_scenes: number of generated scenes.
      num_objects: in each scene; sampled from p(n) as fitted if omitted.
      fitted_where: whether to sample z_where from p(z_where) as fitted.
      seed: of the generated scenes.
      overwrite: whether to replace existing files.
      data_dir: of TFDS; TFDS' default if omitted.

    Returns:
      Descriptions of the files by their names.

    Raises:
      InputError: for a run or data that can't be used, or files that exist.
      OutputError: if a file can't be written.
    """
    # First, so that a run that can't be used leaves no folder.
    air = run.load_air()
    folder = make_output_dir(output_dir, FILES, overwrite=overwrite)
    _save_scenes(
        folder,
        air.generate(
            num_scenes, seed=seed, num_objects=num_objects, fitted_where=fitted_where
        ),
    )
    try:
        test = run.load_images(["test"], data_dir=data_dir)["test"]
    except InputError as error:
        raise InputError(
            f"scenes are in {folder}; the other files need the run's test images "
            f"(provide them and run again with `overwrite`): {error}"
        ) from None
    _save_variations(folder, air, test.images[:_MAX_IMAGES])
    return dict(FILES)


def _save_scenes(folder: pathlib.Path, scenes: Scenes) -> None:
    with replacing(folder / "scenes.npz") as path:
        np.savez_compressed(
            path,
            image=to_uint8(scenes.canvas),
            count=scenes.num_objects,
            boxes=scenes.boxes,
            z_where=scenes.z_where,
            z_what=scenes.z_what,
            ground=to_uint8(scenes.ground),
            mask=to_uint8(scenes.mask),
        )
    with replacing(folder / "scenes.png") as path:
        title = "Scenes generated from the prior"
        pictures.save_grid(path, scenes.canvas[:_MAX_DRAWN], title)


def _save_variations(folder: pathlib.Path, air: AIR, images: np.ndarray) -> None:
    scenes = air.infer(images)
    codes = scenes.z_what[scenes.presence > 0.0]  # [K, D]
    if len(codes) < 2:
        raise InputError(
            f"scenes are in {folder}; the other files need two objects, but the model "
            f"finds {len(codes)} in the run's {len(images)} test images"
        )

    def save(name: str, rows: Mapping[str, np.ndarray], title: str) -> None:
        with replacing(folder / name) as path:
            pictures.save_samples(path, rows, title)

    decoder = air.generative.draw_glimpse
    save(
        "traversals.png",
        variations.traversals(decoder, codes),
        "The code of an object, from -3 to 3 along the dimensions that vary most",
    )
    save(
        "interpolation.png",
        variations.interpolations(decoder, codes),
        "Interpolations between the codes of two objects",
    )
    save(
        "editing.png",
        variations.edits(air, images, scenes),
        "Image, reconstruction; first object moved, removed, duplicated",
    )
    save(
        "steps.png",
        variations.attend_steps(air, images, scenes),
        "Image, and the canvas after each attend step",
    )
    with replacing(folder / "attend.gif") as path:
        film.save_film(path, variations.attend_frames(air, images, scenes), 1500)
