"""Scenes of coloured shapes, drawn with anti-aliasing."""

import colorsys
import functools

import numpy as np
from PIL import Image

from air_tf.data.painting import Sprite, cover, on_circle, paint, random_color, turn
from air_tf.data.scene_config import SpriteConfig
from air_tf.data.scenes import Box, Scene, draw_scene, free_box, ink_box

SHAPES = ("circle", "square", "triangle", "star", "cross")


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
    ground = _background(config, rng)
    boxes: list[Box] = []
    sprites: list[Sprite] = []
    for _ in range(count):
        sprite = _draw_sprite(config, rng)
        others = [] if config.overlap else boxes
        box = free_box(sprite.coverage.shape, others, config, rng)
        if box is None:
            return None
        boxes.append(box)
        sprites.append(sprite)
    return paint(
        ground,
        sprites,
        boxes,
        min_coverage=config.min_coverage,
        min_visible=config.min_visible,
    )


def _draw_sprite(config: SpriteConfig, rng: np.random.Generator) -> Sprite:
    shape = int(rng.integers(len(SHAPES)))
    size = rng.uniform(*config.size)
    angle = rng.uniform(0.0, 2.0 * np.pi) if config.rotation else 0.0
    corners = turn(size * _outline(SHAPES[shape]), angle)
    side = int(np.ceil(np.ptp(corners, axis=0).max())) + 2
    # A random shift below one pixel, so that edges differ between objects.
    corners += side / 2 + rng.uniform(-0.5, 0.5, size=2)
    coverage = cover(corners, side, config.supersampling)
    top, left, bottom, right = ink_box(coverage)
    return Sprite(
        coverage=coverage[top:bottom, left:right],
        label=shape,
        color=random_color(config.object_saturation, config.object_value, rng),
    )


@functools.cache
def _outline(shape: str) -> np.ndarray:
    """[corners, 2], (x, y); the bounding box is centred at 0, its longer side is 1."""
    if shape == "circle":
        corners = on_circle(64)
    elif shape == "square":
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    elif shape == "triangle":
        corners = on_circle(3)
    elif shape == "star":
        # The inner radius at which the edges of a pentagram meet.
        radius = np.where(np.arange(10) % 2, 0.382, 1.0)
        corners = on_circle(10) * radius[:, np.newaxis]
    else:
        third = 1 / 3
        arm = np.array([[-third, -1], [third, -1], [third, -third], [1, -third]])
        quarter = np.array([[0, 1], [-1, 0]])
        corners = np.concatenate(
            [arm[1:] @ np.linalg.matrix_power(quarter, k) for k in range(4)]
        )
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (corners - (low + high) / 2) / (high - low).max()


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
