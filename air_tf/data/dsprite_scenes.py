"""Scenes of the shapes of dSprites, which may hide parts of each other."""

import functools

import numpy as np

from air_tf.data.painting import Sprite, cover, on_circle, paint, random_color, turn
from air_tf.data.scene_config import DSpriteConfig
from air_tf.data.scenes import Box, Scene, draw_scene, ink_box

# As in dSprites (Matthey et al. 2017), both ends included.
SHAPES = ("square", "ellipse", "heart")
_SCALES = np.linspace(0.5, 1.0, 6)
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 40)
_SUPERSAMPLING = 8
# Assumed: longer over shorter axis of the ellipse.
_ELLIPSE_RATIO = 1.5


def compose_dsprites(config: DSpriteConfig, index: int, *, split: int) -> Scene:
    """Draws scene number `index` of a split. Later objects are in front.

    Args:
      config: how scenes are drawn.
      index: number of the scene in its split.
      split: index of the split in `air_tf.data.scenes.SPLITS`.

    Raises:
      InputError: if objects do not fit on the canvas.
    """
    return draw_scene(functools.partial(_arrange, config), config, index, split=split)


def _arrange(
    config: DSpriteConfig, count: int, rng: np.random.Generator
) -> Scene | None:
    height, width = config.canvas_size
    ground = np.zeros((height, width, config.channels)) + _ground_color(config, rng)
    boxes: list[Box] = []
    sprites: list[Sprite] = []
    for _ in range(count):
        label = int(rng.integers(len(SHAPES)))
        scale, angle = rng.choice(_SCALES), rng.choice(_ANGLES)
        coverage, (top, left) = _draw(SHAPES[label], config.size * scale, angle)
        # Centres lie at any pixel of the middle half: 32x32 places of 64x64.
        top += height // 4 + int(rng.integers(max(1, height // 2)))
        left += width // 4 + int(rng.integers(max(1, width // 2)))
        box = (top, left, top + coverage.shape[0], left + coverage.shape[1])
        if min(top, left) < 0 or box[2] > height or box[3] > width:
            return None
        boxes.append(box)
        sprites.append(Sprite(coverage, label, _color(config, rng)))
    return paint(ground, sprites, boxes, min_visible=config.min_visible)


@functools.lru_cache(2 * len(SHAPES) * len(_SCALES) * len(_ANGLES))
def _draw(shape: str, size: float, angle: float) -> tuple[np.ndarray, tuple[int, int]]:
    """A shape without grey edges, as those of dSprites.

    Args:
      shape: in `SHAPES`.
      size: square root of its area, in pixels.
      angle: that it is turned by, in radians.

    Returns:
      [h, w] uint8, 255 where the shape is, else 0; and the row and column of its top
      left corner, from the pixel at the middle of the shape.
    """
    corners = turn(size * _outline(shape), angle)
    reach = int(np.ceil(np.abs(corners).max())) + 1
    side = 2 * reach + 1
    coverage = cover(corners + side / 2, side, _SUPERSAMPLING)
    inside = coverage >= 128
    top, left, bottom, right = ink_box(inside)
    pixels = np.where(inside[top:bottom, left:right], 255, 0).astype(np.uint8)
    return pixels, (top - reach, left - reach)


@functools.cache
def _outline(shape: str) -> np.ndarray:
    """[corners, 2], (x, y), of area 1; the bounding box is centred at 0."""
    if shape == "square":
        corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    elif shape == "ellipse":
        corners = on_circle(64) * [_ELLIPSE_RATIO, 1.0]
    else:
        # A well-known curve; at 0 its upper notch is up.
        t = np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        corners = np.stack([x, -y], axis=1)
    corners = corners - (corners.min(axis=0) + corners.max(axis=0)) / 2
    x, y = corners.T
    area = np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2  # the shoelace formula
    return corners / np.sqrt(area)


def _color(config: DSpriteConfig, rng: np.random.Generator) -> np.ndarray:
    """[C] uint8, of an object."""
    if config.color == "white":
        return np.full(config.channels, 255, np.uint8)
    if config.color == "hsv":
        return random_color(config.saturation, config.value, rng)
    return rng.integers(256, size=3, dtype=np.uint8)


def _ground_color(config: DSpriteConfig, rng: np.random.Generator) -> np.ndarray:
    """[1] or [3] uint8, of the background."""
    if config.background == "black":
        return np.zeros(1, np.uint8)
    channels = 1 if config.background == "grey" else 3
    return rng.integers(256, size=channels, dtype=np.uint8)
