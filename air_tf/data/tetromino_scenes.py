"""Scenes of tetrominoes: pieces of four squares, which never overlap."""

import functools

import numpy as np

from air_tf.data.painting import Sprite, paint
from air_tf.data.scene_config import TetrominoConfig
from air_tf.data.scenes import Box, Scene, draw_scene, find_box

_PIECES = {
    "I": ("####",),
    "O": ("##", "##"),
    "T": ("###", ".#."),
    "S": (".##", "##."),
    "Z": ("##.", ".##"),
    "J": ("#..", "###"),
    "L": ("..#", "###"),
}
# Red, green, blue, yellow, magenta and cyan.
COLORS = 255 * np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.uint8
)


def _turned() -> dict[str, np.ndarray]:
    """All pieces in all orientations that differ: names, and [rows, columns] bool."""
    found: dict[str, np.ndarray] = {}
    for letter, rows in _PIECES.items():
        piece = np.array([[one == "#" for one in row] for row in rows])
        for quarters in range(4):
            turned = np.rot90(piece, quarters)
            if not any(np.array_equal(turned, other) for other in found.values()):
                found[f"{letter}_{90 * quarters}"] = turned
    return found


_BLOCKS = _turned()
SHAPES = tuple(_BLOCKS)


def compose_tetrominoes(config: TetrominoConfig, index: int, *, split: int) -> Scene:
    """Draws scene number `index` of a split.

    Args:
      config: how scenes are drawn.
      index: number of the scene in its split.
      split: index of the split in `air_tf.data.scenes.SPLITS`.

    Raises:
      InputError: if the pieces do not fit on the canvas.
    """
    return draw_scene(functools.partial(_arrange, config), config, index, split=split)


def _arrange(
    config: TetrominoConfig, count: int, rng: np.random.Generator
) -> Scene | None:
    taken = np.zeros(config.canvas_size, bool)
    boxes: list[Box] = []
    sprites: list[Sprite] = []
    for _ in range(count):
        label = int(rng.integers(len(SHAPES)))
        color = COLORS[rng.integers(len(COLORS))]
        piece = _piece(SHAPES[label], config.block)
        box = find_box(
            piece.shape,
            functools.partial(_is_free, taken, piece),
            config,
            rng,
            step=config.step,
        )
        if box is None:
            return None
        _view(taken, box)[piece] = True
        boxes.append(box)
        sprites.append(Sprite(255 * piece.astype(np.uint8), label, color))
    return paint(np.zeros((*config.canvas_size, 3)), sprites, boxes)


@functools.cache
def _piece(shape: str, block: int) -> np.ndarray:
    """[h, w] bool, the pixels of a piece."""
    return np.kron(_BLOCKS[shape], np.ones((block, block), bool))


def _is_free(taken: np.ndarray, piece: np.ndarray, box: Box) -> bool:
    return not _view(taken, box)[piece].any()


def _view(pixels: np.ndarray, box: Box) -> np.ndarray:
    return pixels[box[0] : box[2], box[1] : box[3]]
