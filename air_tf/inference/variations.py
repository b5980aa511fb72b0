"""Variations of inferred scenes: changed codes, edited objects, attend steps.

Each function returns the rows of a figure, canvases or glimpses by the row's label, or
the frames of a film.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from air_tf.inference.editing import SceneEditor
from air_tf.inference.steps import canvases_by_step
from air_tf.model.air import AIR
from air_tf.model.pixels import to_float
from air_tf.structs import Scenes
from air_tf.visualization import film

_TRAVERSALS, _PAIRS, _COLUMNS = 8, 6, 11
_EDITED_SCENES, _SCENES_BY_STEP, _SCENES_IN_FRAMES = 6, 8, 4
# Codes are traversed from -3 to 3 standard deviations of the prior.
_MAX_CODE = 3.0


def traversals(
    decoder: Callable[[tf.Tensor], tf.Tensor], codes: np.ndarray
) -> dict[str, np.ndarray]:
    """Decodes the first code with one dimension at a time varied from -3 to 3.

    Args:
      decoder: codes [N, D] to glimpses [N, h, w, C].
      codes: [K, D]. The 8 dimensions with the largest variance are traversed.

    Returns:
      Glimpses [11, h, w, C] for each dimension.
    """
    dimensions = np.argsort(-codes.std(axis=0), kind="stable")[:_TRAVERSALS]
    rows = {}
    for dimension in dimensions:
        line = np.repeat(codes[:1], _COLUMNS, axis=0)
        line[:, dimension] = np.linspace(-_MAX_CODE, _MAX_CODE, _COLUMNS)
        rows[f"z_what[{dimension}]"] = decoder(tf.constant(line)).numpy()
    return rows


def interpolations(
    decoder: Callable[[tf.Tensor], tf.Tensor], codes: np.ndarray
) -> dict[str, np.ndarray]:
    """Decodes codes on straight lines between pairs of codes, including both.

    Args:
      decoder: codes [N, D] to glimpses [N, h, w, C].
      codes: [K, D]; codes 0 and 1 are a pair, 2 and 3, and so on, up to 6 pairs.

    Returns:
      Glimpses [11, h, w, C] for each pair.
    """
    rows = {}
    share = np.linspace(0.0, 1.0, _COLUMNS, dtype=np.float32)[:, np.newaxis]
    for i in range(min(_PAIRS, len(codes) // 2)):
        a, b = codes[2 * i], codes[2 * i + 1]
        line = (1.0 - share) * a + share * b
        rows[f"{2 * i} to {2 * i + 1}"] = decoder(tf.constant(line)).numpy()
    return rows


def edits(air: AIR, images: np.ndarray, scenes: Scenes) -> dict[str, np.ndarray]:
    """Edits the first object of scenes with two objects or more.

    If the largest count is below two, it edits the scenes with that count.

    Args:
      air: the model.
      images: [N, H, W, C].
      scenes: result of `AIR.infer` for these images.

    Returns:
      [5, H, W, C] for each of at most 6 scenes: image, reconstruction, and the scene
      with its first object moved, removed and duplicated.
    """
    rows = {}
    several = np.flatnonzero(scenes.num_objects >= min(scenes.num_objects.max(), 2))
    for i in several[:_EDITED_SCENES]:
        # Towards the centre, so that the object stays on the canvas.
        down, right = -0.25 * np.sign(scenes.z_where[i, 0, 1:])
        moved, removed, duplicated = (SceneEditor(air, scenes, i) for _ in range(3))
        rows[f"image {i}"] = np.stack(
            [
                to_float(images[i]),
                scenes.canvas[i],
                moved.move(0, down, right).scenes().canvas[0],
                removed.remove(0).scenes().canvas[0],
                duplicated.duplicate(0, down, right).scenes().canvas[0],
            ]
        )
    return rows


def attend_steps(air: AIR, images: np.ndarray, scenes: Scenes) -> dict[str, np.ndarray]:
    """The canvas after each attend step, for the scenes with the most objects.

    Args:
      air: the model.
      images: [N, H, W, C].
      scenes: result of `AIR.infer` for these images.

    Returns:
      [1 + T, H, W, C] for each of at most 8 scenes: the image, then T canvases.
    """
    chosen, subset = _with_most_objects(scenes, _SCENES_BY_STEP)
    by_step = canvases_by_step(air, subset)[:, 1:]
    return {
        f"image {i}": np.concatenate([to_float(images[i : i + 1]), canvases])
        for i, canvases in zip(chosen, by_step, strict=True)
    }


def attend_frames(air: AIR, images: np.ndarray, scenes: Scenes) -> list[Image.Image]:
    """Frames of the attend steps, for the 4 scenes with the most objects.

    Args:
      air: the model.
      images: [N, H, W, C].
      scenes: result of `AIR.infer` for these images.
    """
    chosen, subset = _with_most_objects(scenes, _SCENES_IN_FRAMES)
    pixels = to_float(images[chosen])
    number, steps = subset.z_where.shape[:2]
    glimpses = air.attend.read_glimpses(
        tf.repeat(pixels, steps, axis=0), tf.reshape(subset.z_where, [-1, 3])
    )
    return film.step_frames(
        pixels.numpy(),
        canvases_by_step(air, subset),
        subset,
        tf.reshape(glimpses, [number, steps, *glimpses.shape[1:]]).numpy(),
    )


def _with_most_objects(scenes: Scenes, most: int) -> tuple[np.ndarray, Scenes]:
    """Indices of at most so many scenes, and these scenes."""
    chosen = np.argsort(-scenes.num_objects, kind="stable")[:most]
    return chosen, Scenes(*(field[chosen] for field in scenes))
