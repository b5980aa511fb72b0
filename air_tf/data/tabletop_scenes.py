"""Scenes of objects on a table: where objects are, and what is seen of them."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import distance

from air_tf.data.scene_config import TabletopSceneConfig
from air_tf.data.scenes import Scene, draw_scene, ink_box, make_scene
from air_tf.data.tabletop_painters import Painter


class Arrangement(NamedTuple):
    """The n objects of a scene."""

    kinds: np.ndarray  # [n] int64, in the kinds of the table
    positions: np.ndarray  # [n, 2] float32: x, y on the table
    yaws: np.ndarray  # [n] float32 in [-pi, pi), counter-clockwise seen from above


def arrange(config: TabletopSceneConfig, index: int, *, split: int) -> Arrangement:
    """Draws the objects of scene number `index` of a split.

    They do not depend on the size of the picture.

    Args:
      config: how scenes are drawn.
      index: number of the scene in its split.
      split: index of the split in `air_tf.data.scenes.SPLITS`.

    Raises:
      InputError: if the objects do not fit on the table.
    """
    return draw_scene(functools.partial(_place, config), config, index, split=split)


def _place(
    config: TabletopSceneConfig, count: int, rng: np.random.Generator
) -> Arrangement | None:
    """All at once: so they are uniform among all places that are far enough apart."""
    tabletop = config.tabletop
    positions = rng.uniform(-tabletop.reach, tabletop.reach, (count, 2))
    if distance.pdist(positions).min(initial=np.inf) < tabletop.min_distance:
        return None
    return Arrangement(
        kinds=rng.integers(len(tabletop.kinds), size=count),
        positions=positions.astype(np.float32),
        yaws=rng.uniform(-np.pi, np.pi, count).astype(np.float32),
    )


def draw(painter: Painter, arrangements: Sequence[Arrangement]) -> list[Scene]:
    """Draws scenes together.

    Args:
      painter: draws the pictures.
      arrangements: the objects of each scene.
    """
    counts = np.array([len(one.kinds) for one in arrangements])
    size = (len(arrangements), max(1, counts.max()))
    present = np.arange(size[1]) < counts[:, np.newaxis]
    padded = Arrangement(
        kinds=np.full(size, -1),
        positions=np.zeros((*size, 2), np.float32),
        yaws=np.zeros(size, np.float32),
    )
    for whole, parts in zip(padded, zip(*arrangements, strict=True), strict=True):
        whole[present] = np.concatenate(parts)
    images, shown = painter.paint(*padded)
    return [_scene(*one) for one in zip(images, shown, arrangements, strict=True)]


def _scene(image: np.ndarray, shown: np.ndarray, arrangement: Arrangement) -> Scene:
    numbers = range(1, len(arrangement.kinds) + 1)
    return make_scene(
        image,
        [ink_box(shown == k) for k in numbers],
        arrangement.kinds.tolist(),
        shown,
        positions=arrangement.positions,
        yaws=arrangement.yaws,
    )
