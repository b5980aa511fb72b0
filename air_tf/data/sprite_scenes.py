"""Scenes of coloured shapes, drawn with anti-aliasing.

Every scene has a random generator of its own, seeded by (seed, split, index),
as in `air_tf.data.scenes`.
"""

import colorsys
import functools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from air_tf.config import SpriteConfig
from air_tf.data.scenes import (
    Scene,
    describe_scene,
    free_box,
    ink_box,
    try_until_found,
)

SHAPES = ("circle", "square", "triangle", "star", "cross")
# Shapes are drawn so many times larger and averaged.
_SUPERSAMPLING = 8
# A pixel is an object's where the object covers at least half of it.
_COVERED = 128
_MIN_VISIBLE = 1 / 3
# Objects are brighter than every background.
_OBJECT_SATURATION, _OBJECT_VALUE = (0.5, 1.0), (0.7, 1.0)
_BACKGROUND_VALUE = (0.1, 0.4)
_TEXTURE_CELLS = 6


class _Sprite(NamedTuple):
    coverage: np.ndarray  # [h, w] uint8, trimmed to its box
    shape: int
    color: np.ndarray  # [3] uint8


def compose_sprites(config: SpriteConfig, index: int, *, split: int) -> Scene:
    """Draws scene number `index` of a split.

    Raises:
      InputError: if that many objects find no place on the canvas.
    """
    return try_until_found(
        functools.partial(_arrange, config),
        config,
        rng=np.random.default_rng([config.seed, split, index]),
    )


def _arrange(config, count, rng) -> Scene | None:
    canvas = _background(config, rng)
    segmentation = np.zeros(config.canvas_size, np.uint8)
    boxes, sprites = [], []
    for _ in range(count):
        sprite = _draw_sprite(config, rng)
        others = [] if config.overlap else boxes
        box = free_box(sprite.coverage.shape, others, config.canvas_size, rng)
        if box is None:
            return None
        place = (slice(box[0], box[2]), slice(box[1], box[3]))
        alpha = (sprite.coverage / 255.0)[..., np.newaxis]
        canvas[place] += alpha * (sprite.color - canvas[place])
        boxes.append(box)
        sprites.append(sprite)
        segmentation[place][sprite.coverage >= _COVERED] = len(boxes)
    for number, sprite in enumerate(sprites, start=1):
        size = (sprite.coverage >= _COVERED).sum()
        if (segmentation == number).sum() < _MIN_VISIBLE * size:
            return None
    return describe_scene(
        np.round(canvas).astype(np.uint8),
        boxes,
        [sprite.shape for sprite in sprites],
        segmentation,
        np.array([sprite.color for sprite in sprites], np.uint8).reshape(-1, 3),
    )


def _draw_sprite(config, rng) -> _Sprite:
    shape = int(rng.integers(len(SHAPES)))
    size = rng.uniform(*config.size)
    angle = rng.uniform(0.0, 2.0 * np.pi) if config.rotation else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = size * _outline(SHAPES[shape]) @ turn
    side = int(np.ceil(np.ptp(corners, axis=0).max())) + 2
    # Anywhere between pixels, so that edges differ.
    corners += side / 2 + rng.uniform(-0.5, 0.5, size=2)
    large = Image.new("L", (side * _SUPERSAMPLING,) * 2)
    outline = [tuple(corner) for corner in corners * _SUPERSAMPLING]
    ImageDraw.Draw(large).polygon(outline, fill=255)
    coverage = np.asarray(large.reduce(_SUPERSAMPLING))
    top, left, bottom, right = ink_box(coverage)
    hue = rng.uniform()
    color = colorsys.hsv_to_rgb(
        hue, rng.uniform(*_OBJECT_SATURATION), rng.uniform(*_OBJECT_VALUE)
    )
    return _Sprite(
        coverage=coverage[top:bottom, left:right],
        shape=shape,
        color=np.round(255 * np.array(color)).astype(np.uint8),
    )


@functools.cache
def _outline(shape: str) -> np.ndarray:
    """Corners (x, y) of a shape whose bounding box is centred and of side 1."""
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
    """[corners, 2] around the origin, from the top."""
    angle = 2.0 * np.pi * np.arange(corners) / corners
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1)


def _background(config, rng) -> np.ndarray:
    """[H, W, 3] float in 0 .. 255."""
    height, width = config.canvas_size
    if config.background == "black":
        return np.zeros((height, width, 3))
    colors = [_background_color(rng) for _ in range(2)]
    if config.background == "plain":
        mix = np.zeros((height, width))
    elif config.background == "gradient":
        angle = rng.uniform(0.0, 2.0 * np.pi)
        y, x = np.mgrid[:height, :width]
        mix = np.cos(angle) * x + np.sin(angle) * y
    else:
        cells = rng.integers(256, size=(_TEXTURE_CELLS,) * 2, dtype=np.uint8)
        texture = Image.fromarray(cells).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        mix = np.asarray(texture, np.float64)
    mix -= mix.min()
    mix = (mix / max(mix.max(), 1.0))[..., np.newaxis]
    return (1.0 - mix) * colors[0] + mix * colors[1]


def _background_color(rng) -> np.ndarray:
    hue, saturation = rng.uniform(size=2)
    color = colorsys.hsv_to_rgb(hue, saturation, rng.uniform(*_BACKGROUND_VALUE))
    return 255.0 * np.array(color)
