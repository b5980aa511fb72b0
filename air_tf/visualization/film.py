"""Films: what a model makes of the same images during training, and step by step."""

import os
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from air_tf.structs import Explanation, Scenes
from air_tf.visualization.drawing import draw_boxes, to_picture

# Height of an image in a frame, in pixels.
_HEIGHT = 88
_GAP = 4
_FONT_SIZE = 14
_LINE = 20
_BACKGROUND, _TEXT = "white", "black"
# Longer films are not watched, and their files are too large for a page.
_MAX_FRAMES = 60
_STRIP_FRAMES = 5
_MILLISECONDS, _LAST_MILLISECONDS = 200, 3000


def look(images: np.ndarray, found: Scenes | Explanation, caption: str) -> Image.Image:
    """A frame: images with inferred boxes, each above its reconstruction.

    Args:
      images: [N, H, W, C], uint8 or float in [0, 1].
      found: what was inferred in these images.
      caption: below the images.
    """
    size = _size(images)
    above, below = [], []
    for i, image in enumerate(images):
        boxes = found.boxes[i, : found.num_objects[i]]
        above.append(draw_boxes(_scaled(image, size), boxes))
        below.append(_scaled(found.canvas[i], size))
    return grid([above, below], caption)


def grid(
    rows: Sequence[Sequence[Image.Image]],
    caption: str,
    titles: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures in rows and columns.

    Args:
      rows: pictures of the same size; rows of the same length.
      caption: below the pictures.
      titles: of the columns.
    """
    width, height = rows[0][0].size
    top = _LINE if titles else 0
    size = (
        len(rows[0]) * (width + _GAP) + _GAP,
        top + len(rows) * (height + _GAP) + _GAP + _LINE,
    )
    frame = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(frame)
    font = ImageFont.load_default(_FONT_SIZE)
    for column, title in enumerate(titles or ()):
        draw.text((_GAP + column * (width + _GAP), 2), title, _TEXT, font)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            place = (_GAP + j * (width + _GAP), top + _GAP + i * (height + _GAP))
            frame.paste(picture, place)
    draw.text((_GAP, size[1] - _LINE + 1), caption, _TEXT, font)
    return frame


def save_film(
    path: str | os.PathLike,
    frames: Iterable[Image.Image],
    milliseconds: int = _MILLISECONDS,
) -> None:
    """Writes an animated GIF of at most 60 of the frames, which repeats.

    Args:
      path: of the file.
      frames: of the same size, at least one.
      milliseconds: for which a frame is shown; the last one stays for 3 seconds.
    """
    chosen = _spread(list(frames), _MAX_FRAMES)
    # One palette, so that what does not change does not flicker.
    every = Image.new("RGB", (chosen[0].width, chosen[0].height * len(chosen)))
    for i, frame in enumerate(chosen):
        every.paste(frame, (0, i * frame.height))
    palette = every.quantize(128, method=Image.Quantize.MAXCOVERAGE)
    first, *others = (
        frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in chosen
    )
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[milliseconds] * len(others) + [_LAST_MILLISECONDS],
        loop=0,
        optimize=True,
    )


def save_strip(path: str | os.PathLike, frames: Iterable[Image.Image]) -> None:
    """Writes at most 5 of the frames below each other, as a PNG file for print.

    Args:
      path: of the file.
      frames: of the same size, at least one.
    """
    chosen = _spread(list(frames), _STRIP_FRAMES)
    width, height = chosen[0].size
    strip = Image.new("RGB", (width, height * len(chosen)), _BACKGROUND)
    for i, frame in enumerate(chosen):
        strip.paste(frame, (0, i * height))
    strip.save(path, format="PNG")


def step_frames(
    images: np.ndarray, canvases: np.ndarray, scenes: Scenes, glimpses: np.ndarray
) -> list[Image.Image]:
    """A frame for each attend step of any image, and one before them.

    The columns: the image with the window of the step; what is read there; the canvas
    after the step; and what is left, the distance between image and canvas.

    Args:
      images: [N, H, W, C] float in [0, 1].
      canvases: [N, T + 1, H, W, C], see `canvases_by_step`.
      scenes: what was inferred in these images.
      glimpses: [N, T, h, w, C] float in [0, 1], what is read at each step.
    """
    size = _size(images)
    frames = []
    for t in range(int(scenes.num_objects.max()) + 1):
        rows = []
        for i, image in enumerate(images):
            looked, read = _scaled(image, size), Image.new("RGB", size, _BACKGROUND)
            if 0 < t <= scenes.num_objects[i]:
                looked = draw_boxes(looked, scenes.boxes[i, t - 1 : t], t - 1)
                read = _scaled(glimpses[i, t - 1], size)
            drawn = _scaled(canvases[i, t], size)
            left = _scaled(np.abs(image - canvases[i, t]), size)
            rows.append([looked, read, drawn, left])
        caption = f"attend step {t}" if t else "before the first attend step"
        frames.append(grid(rows, caption, ("looked at", "read", "drawn", "left")))
    return frames


def _size(images: np.ndarray) -> tuple[int, int]:
    """Width and height of images [N, H, W, C] in a frame."""
    height, width = images.shape[1:3]
    return max(1, round(_HEIGHT * width / height)), _HEIGHT


def _scaled(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    return to_picture(image).resize(size, Image.Resampling.NEAREST)


def _spread(frames: list[Image.Image], most: int) -> list[Image.Image]:
    """At most so many frames, the first and the last among them."""
    number = min(most, len(frames))
    places = np.linspace(0, len(frames) - 1, number).round().astype(int)
    return [frames[i] for i in places]
