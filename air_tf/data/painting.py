"""Scenes painted with masks, each in one colour, one in front of another."""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from air_tf.data.scenes import Box, Scene, make_scene


class Sprite(NamedTuple):
    """What an object looks like."""

    coverage: np.ndarray  # [h, w] uint8, of 255, cropped to the bounding box
    label: int
    color: np.ndarray  # [C] uint8


def paint(
    ground: np.ndarray,
    sprites: Sequence[Sprite],
    boxes: Sequence[Box],
    *,
    min_coverage: float = 0.5,
    min_visible: float = 0.0,
) -> Scene | None:
    """Paints objects over a ground; later ones are in front.

    Args:
      ground: [H, W, C] float, 0 to 255.
      sprites: n objects.
      boxes: where they lie, each of its sprite's size.
      min_coverage: in the segmentation, a pixel belongs to an object that covers at
        least this share of it.
      min_visible: smallest visible share of an object's pixels.

    Returns:
      The scene; None if too little of an object is visible.
    """
    canvas = ground.copy()
    segmentation = np.zeros(ground.shape[:2], np.uint8)
    areas = []
    for number, (sprite, box) in enumerate(zip(sprites, boxes, strict=True), start=1):
        place = (slice(box[0], box[2]), slice(box[1], box[3]))
        alpha = (sprite.coverage / 255.0)[..., np.newaxis]
        canvas[place] += alpha * (sprite.color - canvas[place])
        covered = sprite.coverage >= 255 * min_coverage
        segmentation[place][covered] = number
        areas.append(covered.sum())
    for number, area in enumerate(areas, start=1):
        if (segmentation == number).sum() < min_visible * area:
            return None
    channels = ground.shape[-1]
    return make_scene(
        np.round(canvas).astype(np.uint8),
        boxes,
        [sprite.label for sprite in sprites],
        segmentation,
        colors=np.array([s.color for s in sprites], np.uint8).reshape(-1, channels),
    )


def random_color(
    saturation: tuple[float, float],
    value: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """[3] uint8: any hue; saturation and value (HSV) uniform in their ranges."""
    hue = rng.uniform()
    color = colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value))
    return np.round(255 * np.array(color)).astype(np.uint8)


def turn(outline: np.ndarray, angle: float) -> np.ndarray:
    """[corners, 2] (x, y), turned by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return outline @ np.array([[cos, -sin], [sin, cos]])


def cover(corners: np.ndarray, side: int, supersampling: int) -> np.ndarray:
    """How much of each pixel a polygon covers.

    Args:
      corners: [corners, 2], (x, y) in pixels from the top left.
      side: of the picture, in pixels.
      supersampling: the polygon is drawn this many times larger, then averaged down.

    Returns:
      [side, side] uint8, of 255.
    """
    large = Image.new("L", (side * supersampling,) * 2)
    outline = [tuple(corner) for corner in corners * supersampling]
    ImageDraw.Draw(large).polygon(outline, fill=255)
    return np.asarray(large.reduce(supersampling))


def on_circle(corners: int) -> np.ndarray:
    """[corners, 2], evenly spaced on the unit circle, starting at the top."""
    angle = 2.0 * np.pi * np.arange(corners) / corners
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1)
