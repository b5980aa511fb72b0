"""Scenes of digits as people draw them on the page of demo.py, with a round brush.

Shapes are curves through points that were set by hand for this purpose, so that no
digit of a dataset is among them. Strokes get the pixels that the page gives them, see
`air_tf/deployment/page/paper.js`.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial import KDTree

from air_tf.data.scene_config import FlatConfig
from air_tf.data.scenes import Box, draw_scene, free_box, ink_box

# Ways to write 0 to 9, after one another. Points are (x, y) in percent of the height,
# from the top left; one that is there twice is a corner. Strokes end with ";".
_WAYS = (
    "30,2 8,18 3,50 10,84 32,98 56,84 62,48 54,14 30,2",
    "40,3 18,10 4,40 8,75 26,97 50,88 66,55 60,20 40,3 28,8",
    "20,0 20,100",
    "5,25 5,25 28,2 28,2 27,50 26,100",
    "6,26 6,26 30,2 30,2 30,98 30,98; 6,98 54,98",
    "5,24 16,6 38,2 56,16 54,38 32,66 4,97 4,97 62,96 62,96",
    "8,18 26,2 52,10 56,34 38,64 14,92 8,84 20,78 40,94 64,92",
    "8,12 28,2 52,10 54,30 40,44 24,48 24,48 46,52 60,72 48,94 22,99 4,86",
    "6,2 6,2 56,2 56,2 28,38 28,38 50,44 62,66 50,92 24,99 4,88",
    "46,0 46,0 4,64 4,64 66,64 66,64; 48,36 47,100",
    "10,4 8,30 8,52 8,52 58,50 58,50; 54,2 50,100",
    "58,2 58,2 14,3 14,3 9,42 9,42 32,36 56,48 60,74 42,97 16,97 2,86",
    "12,4 12,4 10,44 10,44 36,38 58,56 54,84 30,99 4,90; 12,4 56,3",
    "48,2 24,22 8,52 6,80 24,98 46,94 56,76 44,58 22,60 8,76",
    "34,0 14,32 4,68 14,92 34,99 54,84 50,62 32,54 14,64 6,78",
    "3,3 3,3 60,3 60,3 36,48 22,100",
    "3,4 3,4 58,4 58,4 34,50 20,98; 14,50 54,48",
    "50,16 32,2 12,12 12,30 32,46 54,66 52,90 30,99 8,90 8,68 32,46 50,30 50,16",
    "30,46 10,34 12,8 32,2 52,10 50,34 30,46 6,66 8,92 30,99 54,90 54,64 30,46",
    "54,18 38,2 14,8 6,28 18,46 40,44 54,22 54,22 52,60 44,100",
    "52,12 30,2 8,14 10,40 32,48 52,30 54,10 54,10 56,60 46,90 24,99 8,90",
)
_JITTER = 0.025  # standard deviation of points, as a share of the height
_SLANT = 0.12  # standard deviation of the shift to the left, as a share of the height
_STRETCH = (0.8, 1.25)  # of the width
# Of the brush: in pixels, and as a share of the height. With wider ones, loops close.
_THINNEST, _WIDEST = 1.0, 0.25
# The page's passes of the brush: change of its width in pixels, and opacity.
_PASSES = ((1.2, 0.29), (0.0, 0.58), (-1.0, 0.9))
_NARROWEST_PASS = 0.6
_SOFT = 2.0  # pixels by which a stroke's soft edges are wider than the brush
_STEPS = 64  # of a curve, between two of its points


class Stroke(NamedTuple):
    """A line of a round brush."""

    points: np.ndarray  # [n, 2], (x, y) in pixels, less than a pixel apart
    width: float  # in pixels

    @property
    def longest(self) -> float:
        """The longer side of the ink, in pixels."""
        return float(np.ptp(self.points, axis=0).max()) + self.width

    def moved(self, right: float, down: float) -> "Stroke":
        return self._replace(points=self.points + np.array([right, down]))


def pen_scenes(
    height: float,
    number: int,
    canvas_size: tuple[int, int],
    limit: float = math.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """Scenes of 0, 1 or 2 digits of one height, whose boxes do not overlap.

    Args:
      height: of the digits' ink, in pixels.
      number: of scenes.
      canvas_size: of each.
      limit: see `shrunk`.

    Returns:
      Images [number, H, W, 1] uint8 and counts [number].

    Raises:
      InputError: if digits of this height do not fit on the canvas.
    """
    config = FlatConfig(counts=(0, 1, 2), canvas_size=canvas_size)
    arrange = functools.partial(_arrange, height, config, limit)
    scenes = [draw_scene(arrange, config, i, split=0) for i in range(number)]
    images, counts = zip(*scenes, strict=True)
    return np.stack(images)[..., np.newaxis], np.array(counts)


def _arrange(
    height: float,
    config: FlatConfig,
    limit: float,
    count: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, int] | None:
    strokes: list[Stroke] = []
    boxes: list[Box] = []
    for _ in range(count):
        digit, shape = pen_digit(height, rng)
        box = free_box(shape, boxes, config, rng)
        if box is None:
            return None
        boxes.append(box)
        strokes += [stroke.moved(box[1], box[0]) for stroke in digit]
    size = config.canvas_size
    return brushed(shrunk(strokes, size, limit), size), count


def shrunk(strokes: list[Stroke], shape: tuple[int, int], limit: float) -> list[Stroke]:
    """Strokes as the page shows them to the model.

    Args:
      strokes: of a drawing.
      shape: (height, width) of the picture.
      limit: if the longer side of a stroke's ink is larger, all are drawn smaller,
        around the middle, so that it has this size.
    """
    longest = max((one.longest for one in strokes), default=0.0)
    if longest <= limit:
        return strokes
    zoom = limit / longest
    middle = np.array(shape[::-1]) / 2
    return [
        Stroke(middle + zoom * (one.points - middle), zoom * one.width)
        for one in strokes
    ]


def pen_digit(
    height: float, rng: np.random.Generator
) -> tuple[list[Stroke], tuple[int, int]]:
    """A digit, with a brush of random width, and the height and width of its ink."""
    way = _WAYS[rng.integers(len(_WAYS))]
    slant, stretch = rng.normal(0.0, _SLANT), rng.uniform(*_STRETCH)
    change = np.array([[stretch, 0.0], [-slant, 1.0]])
    curves = [_curve(stroke, rng) @ change for stroke in way.split(";")]
    points = np.concatenate(curves)
    low, high = points.min(axis=0), points.max(axis=0)
    width = rng.uniform(_THINNEST, max(_THINNEST, _WIDEST * height))
    scale = (height - width - _SOFT) / (high - low)[1]
    margin = width / 2 + 1.0 + rng.uniform(size=2)
    strokes = [Stroke(scale * (curve - low) + margin, width) for curve in curves]
    columns, rows = np.ceil(scale * (high - low) + 2 * margin + 1.0).astype(int)
    top, left, bottom, right = ink_box(brushed(strokes, (rows, columns)))
    return [stroke.moved(-left, -top) for stroke in strokes], (
        bottom - top,
        right - left,
    )


def _curve(stroke: str, rng: np.random.Generator) -> np.ndarray:
    """Points along a stroke of `_WAYS`, each a little elsewhere, [n, 2] in heights."""
    pairs = [pair.split(",") for pair in stroke.split()]
    points = np.array(pairs, float) / 100
    moved = points + rng.normal(0.0, _JITTER, points.shape)
    twice = (points[1:] == points[:-1]).all(axis=1)
    moved[1:][twice] = moved[:-1][twice]
    if len(moved) == 2:
        slopes = np.tile(moved[1] - moved[0], (2, 1))
    else:
        # The spline of Catmull and Rom.
        slopes = np.gradient(moved, axis=0)
    number = np.arange(len(moved))
    times = np.linspace(0, number[-1], _STEPS * number[-1] + 1)
    return CubicHermiteSpline(number, moved, slopes)(times)


def brushed(strokes: list[Stroke], shape: tuple[int, int]) -> np.ndarray:
    """What the page shows of white strokes, [h, w] uint8.

    Args:
      strokes: one after the other.
      shape: (height, width) of the picture.
    """
    picture = np.zeros(shape)
    for points, width in strokes:
        for wider, opacity in _PASSES:
            line = max(width + wider, _NARROWEST_PASS)
            # Of a thinner line, each pixel sees a part only.
            seen = opacity * min(line, 1.0)
            alpha = seen * _coverage(points, max(line, 1.0), shape)
            picture += alpha * (1.0 - picture)
    return np.round(255 * picture).astype(np.uint8)


def _coverage(points: np.ndarray, width: float, shape: tuple[int, int]) -> np.ndarray:
    """How much of each pixel a round pen covers, [h, w] in [0, 1], as `brushed`."""
    rows, columns = np.indices(shape).reshape(2, -1) + 0.5
    reach = width / 2 + 0.5
    distance, _ = KDTree(points).query(
        np.stack([columns, rows], axis=1), distance_upper_bound=reach
    )
    return np.clip(reach - distance, 0.0, 1.0).reshape(shape)
