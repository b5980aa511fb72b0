"""Scenes of coloured shapes, drawn with anti-aliasing."""

import colorsys
import functools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from air_tf.data.scene_config import SpriteConfig
from air_tf.data.scenes import Box, Scene, draw_scene, free_box, ink_box, make_scene

SHAPES = ("circle", "square", "triangle", "star", "cross")


class _Sprite(NamedTuple):
    coverage: np.ndarray  # [h, w] uint8, of 255, cropped to the bounding box
    shape: int  # in SHAPES
    color: np.ndarray  # [3] uint8: red, green, blue


def compose_sprites(config: SpriteConfig, index: int, *, split: int) -> Scene:
    """Draws scene number `index` of a split. Later objects are in front.

    Args:
      config: how scenes are drawn.
      index: number of the scene in its split.
      split: index of the split in `air_tf.data.scenes.SPLITS`.

    Raises:
      InputError: if the objects do not fit on the canvas.
    """
    return draw_scene(functools.partial(_arrange, config), config, index, split=split)


def _arrange(
    config: SpriteConfig, count: int, rng: np.random.Generator
) -> Scene | None:
    canvas = _background(config, rng)
    segmentation = np.zeros(config.canvas_size, np.uint8)
    boxes: list[Box] = []
    sprites: list[_Sprite] = []
    for _ in range(count):
        sprite = _draw_sprite(config, rng)
        others = [] if config.overlap else boxes
        box = free_box(sprite.coverage.shape, others, config, rng)
        if box is None:
            return None
        place = (slice(box[0], box[2]), slice(box[1], box[3]))
        alpha = (sprite.coverage / 255.0)[..., np.newaxis]
        canvas[place] += alpha * (sprite.color - canvas[place])
        boxes.append(box)
        sprites.append(sprite)
        segmentation[place][_covered(sprite, config)] = len(boxes)
    for number, sprite in enumerate(sprites, start=1):
        size = _covered(sprite, config).sum()
        if (segmentation == number).sum() < config.min_visible * size:
            return None
    return make_scene(
        np.round(canvas).astype(np.uint8),
        boxes,
        [sprite.shape for sprite in sprites],
        segmentation,
        colors=np.array([sprite.color for sprite in sprites], np.uint8).reshape(-1, 3),
    )


def _covered(sprite: _Sprite, config: SpriteConfig) -> np.ndarray:
    """[h, w] bool, the pixels that are the object's in the segmentation."""
    return sprite.coverage >= 255 * config.min_coverage


def _draw_sprite(config: SpriteConfig, rng: np.random.Generator) -> _Sprite:
    shape = int(rng.integers(len(SHAPES)))
    size = rng.uniform(*config.size)
    angle = rng.uniform(0.0, 2.0 * np.pi) if config.rotation else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = size * _outline(SHAPES[shape]) @ turn
    side = int(np.ceil(np.ptp(corners, axis=0).max())) + 2
    # A random shift below one pixel, so that edges differ between objects.
    corners += side / 2 + rng.uniform(-0.5, 0.5, size=2)
    large = Image.new("L", (side * config.supersampling,) * 2)
    outline = [tuple(corner) for corner in corners * config.supersampling]
    ImageDraw.Draw(large).polygon(outline, fill=255)
    coverage = np.asarray(large.reduce(config.supersampling))
    top, left, bottom, right = ink_box(coverage)
    hue = rng.uniform()
    color = colorsys.hsv_to_rgb(
        hue, rng.uniform(*config.object_saturation), rng.uniform(*config.object_value)
    )
    return _Sprite(
        coverage=coverage[top:bottom, left:right],
        shape=shape,
        color=np.round(255 * np.array(color)).astype(np.uint8),
    )


@functools.cache
def _outline(shape: str) -> np.ndarray:
    """[corners, 2], (x, y); the bounding box is centred at 0, its longer side is 1."""
    if shape == "circle":
        corners = _on_circle(64)
    elif shape == "square":
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    elif shape == "triangle":
        corners = _on_circle(3)
    elif shape == "star":
        # The inner radius at which the edges of a pentagram meet.
        radius = np.where(np.arange(10) % 2, 0.382, 1.0)
        corners = _on_circle(10) * radius[:, np.newaxis]
    else:
        third = 1 / 3
        arm = np.array([[-third, -1], [third, -1], [third, -third], [1, -third]])
        quarter = np.array([[0, 1], [-1, 0]])
        corners = np.concatenate(
            [arm[1:] @ np.linalg.matrix_power(quarter, k) for k in range(4)]
        )
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (corners - (low + high) / 2) / (high - low).max()


def _on_circle(corners: int) -> np.ndarray:
    """[corners, 2], evenly spaced on the unit circle, starting at the top."""
    angle = 2.0 * np.pi * np.arange(corners) / corners
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1)


def _background(config: SpriteConfig, rng: np.random.Generator) -> np.ndarray:
    """[H, W, 3] float, 0 to 255."""
    height, width = config.canvas_size
    if config.background == "black":
        return np.zeros((height, width, 3))
    colors = [_background_color(config, rng) for _ in range(2)]
    if config.background == "plain":
        mix = np.zeros((height, width))
    elif config.background == "gradient":
        angle = rng.uniform(0.0, 2.0 * np.pi)
        y, x = np.mgrid[:height, :width]
        mix = np.cos(angle) * x + np.sin(angle) * y
    else:
        cells = rng.integers(256, size=(config.texture_cells,) * 2, dtype=np.uint8)
        texture = Image.fromarray(cells).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        mix = np.asarray(texture, np.float64)
    mix = mix - mix.min()
    mix = (mix / max(mix.max(), 1.0))[..., np.newaxis]
    return (1.0 - mix) * colors[0] + mix * colors[1]


def _background_color(config: SpriteConfig, rng: np.random.Generator) -> np.ndarray:
    """[3] float, 0 to 255."""
    hue, saturation = rng.uniform(size=2)
    value = rng.uniform(*config.background_value)
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
