"""What all kinds of generated scenes share.

Every scene has its own random generator, seeded by (seed, split, index). Its bytes
do not depend on the order in which scenes are composed, or on the process.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from air_tf.data.scene_config import CommonConfig, FlatConfig
from air_tf.errors import InputError

SPLITS = ("train", "validation", "test")
Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels
# What is drawn of a scene.
_Drawn = TypeVar("_Drawn")


class Scene(NamedTuple):
    """An image of n objects, and what is known about them."""

    image: np.ndarray  # [H, W, C] uint8
    boxes: np.ndarray  # [n, 4] float32: ymin, xmin, ymax, xmax in [0, 1]
    labels: np.ndarray  # [n] int64
    segmentation: np.ndarray  # [H, W, 1] uint8: k + 1 where object k shows, else 0
    colors: np.ndarray | None = None  # [n, 3] uint8: red, green, blue
    positions: np.ndarray | None = None  # [n, 2] float32: x, y on a table
    yaws: np.ndarray | None = None  # [n] float32, radians, counter-clockwise


def draw_scene(
    arrange: Callable[[int, np.random.Generator], _Drawn | None],
    config: CommonConfig,
    index: int,
    *,
    split: int,
) -> _Drawn:
    """Draws the number of objects, then arranges them until they fit.

    Args:
      arrange: from the number of objects and a random generator to a scene, or what
        it is made of; None if the objects did not fit.
      config: of the scene.
      index: number of the scene in its split.
      split: index of the split in `SPLITS`.

    Raises:
      InputError: if they don't fit in any of `config.scene_attempts` attempts.
    """
    rng = np.random.default_rng([config.seed, split, index])
    count = int(rng.choice(config.counts))
    for _ in range(config.scene_attempts):
        scene = arrange(count, rng)
        if scene is not None:
            return scene
    raise InputError(
        f"includes {count}, but {count} objects do not fit on {config.place}",
        field="counts",
    )


def free_box(
    shape: Sequence[int],
    boxes: Sequence[Box],
    config: FlatConfig,
    rng: np.random.Generator,
) -> Box | None:
    """A random box on the canvas that overlaps none of `boxes`.

    Args:
      shape: (height, width) of the box in pixels.
      boxes: that are taken.
      config: of the scene.
      rng: of the scene.

    Returns:
      The box; None if no free place was found.
    """
    return find_box(
        shape,
        lambda box: not any(_overlap(box, other) for other in boxes),
        config,
        rng,
    )


def find_box(
    shape: Sequence[int],
    is_free: Callable[[Box], bool],
    config: FlatConfig,
    rng: np.random.Generator,
    *,
    step: int = 1,
) -> Box | None:
    """A random box on the canvas that may be taken.

    Args:
      shape: (height, width) of the box in pixels.
      is_free: whether a box may be taken.
      config: of the scene.
      rng: of the scene.
      step: boxes begin at multiples of this many pixels.

    Returns:
      The box; None if none was found.
    """
    room = np.subtract(config.canvas_size, shape)
    if room.min() < 0:
        return None
    for _ in range(config.place_attempts):
        top, left = (step * rng.integers(0, room // step + 1)).tolist()
        box = (top, left, top + shape[0], left + shape[1])
        if is_free(box):
            return box
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def ink_box(pixels: np.ndarray) -> Box:
    """Bounding box of the pixels above 0; of no area at the top left if there are none.

    Args:
      pixels: [h, w].
    """
    if not pixels.any():
        return 0, 0, 0, 0
    rows = np.flatnonzero(pixels.any(axis=1))
    columns = np.flatnonzero(pixels.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def make_scene(
    canvas: np.ndarray,
    boxes: Sequence[Box],
    labels: Sequence[int],
    segmentation: np.ndarray,
    **details: np.ndarray,
) -> Scene:
    """A `Scene` from its parts.

    Args:
      canvas: [H, W, C] uint8.
      boxes: of n objects.
      labels: class numbers of the objects.
      segmentation: [H, W] uint8.
      **details: other fields of `Scene`.
    """
    height, width = segmentation.shape
    in_pixels = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(
        image=canvas,
        boxes=in_pixels / np.array([height, width, height, width], np.float32),
        labels=np.array(labels, np.int64),
        segmentation=segmentation[..., np.newaxis],
        **details,
    )
