"""Scenes of several objects on a canvas, composed from pictures of one each.

Every scene has a random generator of its own, seeded by (seed, split, index):
the same bytes whoever composes it and in whatever order.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from PIL import Image

from air_tf.config import SceneConfig
from air_tf.errors import InputError

SPLITS = ("train", "validation", "test")
_PLACE_ATTEMPTS = 100
_SCENE_ATTEMPTS = 1000


class Scene(NamedTuple):
    image: np.ndarray  # [H, W, C] uint8
    boxes: np.ndarray  # [n, 4] float32: ymin, xmin, ymax, xmax in [0, 1]
    labels: np.ndarray  # [n] int64
    segmentation: np.ndarray  # [H, W, 1] uint8: k where object k - 1 shows, else 0
    colors: np.ndarray | None = None  # [n, 3] uint8: red, green, blue


@dataclasses.dataclass(frozen=True)
class ObjectPool:
    """Pictures of single objects that scenes of one split are made of."""

    images: np.ndarray  # [N, h, w] uint8, bright on 0
    labels: np.ndarray  # [N]
    # Whether they are also turned by quarters and mirrored, each as often as any other.
    in_all_positions: bool = False


def compose_scene(
    pool: ObjectPool, config: SceneConfig, index: int, *, split: int
) -> Scene:
    """Composes scene number `index` of a split.

    Raises:
      InputError: if that many objects find no place on the canvas.
    """
    arrange = _arrange_overlapping if config.overlap else _arrange_apart
    return try_until_found(
        lambda count, rng: arrange(pool, config, count, rng),
        config,
        rng=np.random.default_rng([config.seed, split, index]),
    )


def try_until_found(arrange, config, *, rng: np.random.Generator) -> Scene:
    """A scene of as many objects as `config` draws.

    Args:
      arrange: of a number of objects and `rng`; None where they found no place.
      config: with `counts` and `canvas_size`.
      rng: of this scene alone.

    Raises:
      InputError: if they find none.
    """
    count = int(rng.choice(config.counts))
    for _ in range(_SCENE_ATTEMPTS):
        scene = arrange(count, rng)
        if scene is not None:
            return scene
    height, width = config.canvas_size
    raise InputError(f"{count} objects find no place on a canvas of {height}x{width}")


def _arrange_apart(pool, config, count, rng) -> Scene | None:
    """Ink boxes anywhere on the canvas, none overlapping another."""
    canvas = np.zeros(config.canvas_size, np.uint8)
    segmentation = np.zeros_like(canvas)
    boxes, labels = [], []
    for _ in range(count):
        ink, label = _draw_object(pool, config, rng)
        top, left, bottom, right = ink_box(ink)
        ink = ink[top:bottom, left:right]
        box = free_box(ink.shape, boxes, canvas.shape, rng)
        if box is None:
            return None
        canvas[box[0] : box[2], box[1] : box[3]] = ink
        boxes.append(box)
        labels.append(label)
        segmentation[box[0] : box[2], box[1] : box[3]][ink > 0] = len(boxes)
    return describe_scene(canvas[..., np.newaxis], boxes, labels, segmentation)


def free_box(shape, boxes, canvas_shape, rng):
    """(top, left, bottom, right) somewhere on the canvas, off `boxes`, or None."""
    room = np.subtract(canvas_shape, shape)
    if room.min() < 0:
        return None
    for _ in range(_PLACE_ATTEMPTS):
        top, left = rng.integers(0, room + 1)
        box = (top, left, top + shape[0], left + shape[1])
        if not any(_overlap(box, other) for other in boxes):
            return box
    return None


def _overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _arrange_overlapping(pool, config, count, rng) -> Scene | None:
    """Padded pictures that may overlap as long as no pixel saturates.

    The rule of Pyro's and other implementations' multi-MNIST.
    """
    canvas = np.zeros(config.canvas_size, np.int64)
    segmentation, brightest = (np.zeros(config.canvas_size, np.uint8) for _ in "ab")
    boxes, labels = [], []
    for _ in range(count):
        picture, label = _draw_object(pool, config, rng)
        room = np.subtract(canvas.shape, picture.shape)
        if room.min() < 1:
            return None
        top, left = rng.integers(0, room)
        height, width = picture.shape
        place = (slice(top, top + height), slice(left, left + width))
        canvas[place] += picture
        boxes.append(ink_box(picture) + np.array([top, left, top, left]))
        labels.append(label)
        # Where ink lies on ink, the pixel is the brighter one's.
        segmentation[place][picture > brightest[place]] = len(boxes)
        brightest[place] = np.maximum(brightest[place], picture)
    if canvas.max(initial=0) > 255:
        return None
    image = canvas.astype(np.uint8)[..., np.newaxis]
    return describe_scene(image, boxes, labels, segmentation)


def _draw_object(pool, config, rng):
    """A picture of random identity and size: [h, w] uint8, and its label."""
    while True:
        index = rng.integers(len(pool.images))
        shrink = max(rng.normal(*config.shrink), 0.1)
        pixels = pool.images[index]
        if pool.in_all_positions:
            pixels = np.rot90(pixels, rng.integers(4))
            pixels = pixels[:, :: rng.choice([1, -1])]
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        width, height = (max(1, int(side / shrink)) for side in picture.size)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized)
        if pixels.any():
            return pixels, int(pool.labels[index])


def ink_box(pixels) -> np.ndarray:
    """(top, left, bottom, right) of the pixels above 0."""
    rows = np.flatnonzero(pixels.any(axis=1))
    columns = np.flatnonzero(pixels.any(axis=0))
    return np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])


def describe_scene(canvas, boxes, labels, segmentation, colors=None) -> Scene:
    """A `Scene` of a canvas [H, W, C], segmentation [H, W] and boxes in pixels."""
    height, width = segmentation.shape
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(
        image=canvas,
        boxes=boxes / np.array([height, width, height, width], np.float32),
        labels=np.array(labels, np.int64),
        segmentation=segmentation[..., np.newaxis],
        colors=colors,
    )
