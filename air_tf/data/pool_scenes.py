"""Scenes composed from pictures of single objects, such as digits."""

import dataclasses
import functools

import numpy as np
from PIL import Image

from air_tf.data.disturbances import disturb
from air_tf.data.scene_config import SceneConfig
from air_tf.data.scenes import Box, Scene, draw_scene, free_box, ink_box, make_scene


@dataclasses.dataclass(frozen=True)
class ObjectPool:
    """Pictures of single objects from which the scenes of one split are composed."""

    images: np.ndarray  # [N, h, w] uint8, bright ink on 0
    labels: np.ndarray  # [N]
    # Draw each picture in one of its eight orientations: rotations by multiples of 90
    # degrees, and their mirror images.
    all_orientations: bool = False


def compose_scene(
    pool: ObjectPool, config: SceneConfig, index: int, *, split: int
) -> Scene:
    """Composes scene number `index` of a split.

    Args:
      pool: the objects of the split.
      config: how scenes are composed.
      index: number of the scene in its split.
      split: index of the split in `air_tf.data.scenes.SPLITS`.

    Raises:
      InputError: if the objects do not fit on the canvas.
    """
    return draw_scene(
        functools.partial(_arrange, pool, config), config, index, split=split
    )


def _arrange(
    pool: ObjectPool, config: SceneConfig, count: int, rng: np.random.Generator
) -> Scene | None:
    """Places the objects, then disturbs the picture.

    In this order, the objects are the same whatever disturbs them.
    """
    arrange = _arrange_overlapping if config.overlap else _arrange_apart
    scene = arrange(pool, config, count, rng)
    if scene is None:
        return None
    return scene._replace(image=disturb(scene.image, config, rng))


def _arrange_apart(
    pool: ObjectPool, config: SceneConfig, count: int, rng: np.random.Generator
) -> Scene | None:
    """Boxes of ink anywhere on the canvas; none overlaps another."""
    canvas = np.zeros(config.canvas_size, np.uint8)
    segmentation = np.zeros_like(canvas)
    boxes: list[Box] = []
    labels: list[int] = []
    for _ in range(count):
        ink, label = _draw_object(pool, config, rng)
        top, left, bottom, right = ink_box(ink)
        ink = ink[top:bottom, left:right]
        box = free_box(ink.shape, boxes, config, rng)
        if box is None:
            return None
        place = (slice(box[0], box[2]), slice(box[1], box[3]))
        canvas[place] = ink
        boxes.append(box)
        labels.append(label)
        segmentation[place][ink > 0] = len(boxes)
    return make_scene(canvas[..., np.newaxis], boxes, labels, segmentation)


def _arrange_overlapping(
    pool: ObjectPool, config: SceneConfig, count: int, rng: np.random.Generator
) -> Scene | None:
    """Pictures with their margins; they may overlap as long as no pixel saturates.

    This is how the multi-MNIST datasets of other AIR implementations, such as Pyro's,
    are composed.
    """
    canvas = np.zeros(config.canvas_size, np.int64)
    segmentation = np.zeros(config.canvas_size, np.uint8)
    brightest = np.zeros(config.canvas_size, np.uint8)
    boxes: list[Box] = []
    labels: list[int] = []
    for _ in range(count):
        picture, label = _draw_object(pool, config, rng)
        room = np.subtract(canvas.shape, picture.shape)
        if room.min() < 1:
            return None
        top, left = rng.integers(0, room).tolist()
        height, width = picture.shape
        place = (slice(top, top + height), slice(left, left + width))
        canvas[place] += picture
        ymin, xmin, ymax, xmax = ink_box(picture)
        boxes.append((top + ymin, left + xmin, top + ymax, left + xmax))
        labels.append(label)
        # Where inks overlap, the pixel belongs to the brighter one.
        segmentation[place][picture > brightest[place]] = len(boxes)
        brightest[place] = np.maximum(brightest[place], picture)
    if canvas.max(initial=0) > 255:
        return None
    image = canvas.astype(np.uint8)[..., np.newaxis]
    return make_scene(image, boxes, labels, segmentation)


def _draw_object(
    pool: ObjectPool, config: SceneConfig, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """A random picture of the pool at a random size: [h, w] uint8, and its label."""
    while True:
        index = rng.integers(len(pool.images))
        shrink = max(rng.normal(*config.shrink), config.min_shrink)
        smallest, largest = config.enlarge
        # Scenes of one size need no number, and are the same as without this setting.
        if smallest < largest:
            shrink /= np.exp(rng.uniform(np.log(smallest), np.log(largest)))
        else:
            shrink /= largest
        pixels = pool.images[index]
        if pool.all_orientations:
            pixels = np.rot90(pixels, int(rng.integers(4)))
            pixels = pixels[:, :: rng.choice([1, -1])]
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        width, height = (max(1, int(side / shrink)) for side in picture.size)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized)
        # Thin ink can vanish when a picture shrinks a lot.
        if pixels.any():
            return pixels, int(pool.labels[index])
