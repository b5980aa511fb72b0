"""Pictures of images and boxes. Imports only numpy and Pillow."""

import io

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from air_tf.images import to_uint8

# Box colours by attend step, repeated after 6: red, green, blue, orange, purple, cyan.
STEP_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4")


def to_picture(image: np.ndarray, zoom: int = 1) -> Image.Image:
    """Converts an image to a picture of mode "RGB".

    Args:
      image: [H, W, C], uint8 or float in [0, 1]. If C is not 3, the first channel is
        shown in grey.
      zoom: factor by which height and width are enlarged.
    """
    image = to_uint8(image)
    if image.shape[-1] != 3:
        image = np.repeat(image[..., :1], 3, axis=-1)
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    return picture.resize((width * zoom, height * zoom), Image.Resampling.NEAREST)


def to_picture_bytes(image: np.ndarray) -> bytes:
    """Converts an image to the bytes of a PNG file.

    Args:
      image: as for `to_picture`.
    """
    data = io.BytesIO()
    to_picture(image).save(data, "PNG")
    return data.getvalue()


def draw_boxes(
    picture: Image.Image, boxes: np.ndarray, first_step: int = 0
) -> Image.Image:
    """Draws boxes on a copy of a picture, coloured by attend step.

    Args:
      picture: of mode "RGB" and any size.
      boxes: [n, 4], (ymin, xmin, ymax, xmax) in [0, 1].
      first_step: attend step of the first box.
    """
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    line = max(1, min(picture.size) // 100)
    for step, (ymin, xmin, ymax, xmax) in enumerate(boxes, first_step):
        left, right = xmin * picture.width, xmax * picture.width - 1
        top, bottom = ymin * picture.height, ymax * picture.height - 1
        corners = (left, top, max(left, right), max(top, bottom))
        draw.rectangle(
            corners, outline=STEP_COLOURS[step % len(STEP_COLOURS)], width=line
        )
    return picture


def to_shown(picture: np.ndarray) -> Image.Image:
    """Converts a picture of any range of values to one of mode "RGB".

    Args:
      picture: [H, W] or [H, W, C]. Its values are stretched, so that the darkest one in
        a thousand becomes 0 and the brightest one in a thousand 255.
    """
    if picture.ndim == 2:
        picture = picture[..., np.newaxis]
    every = 1 + max(picture.shape) // 1000
    low, high = np.percentile(picture[::every, ::every], (0.1, 99.9))
    return to_picture((picture.astype(np.float32) - low) / ((high - low) or 1.0))


def draw_outlines(picture: Image.Image, labels: np.ndarray) -> Image.Image:
    """Draws the outer pixels of objects on a copy of a picture, coloured by label.

    Args:
      picture: of mode "RGB".
      labels: [H, W] int, 0 for the ground.
    """
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels, axis=axis) != 0
        after, before = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        after[axis], before[axis] = (1, 0), (0, 1)
        border |= np.pad(differs, after) | np.pad(differs, before)
    border &= labels > 0
    colours = np.array([ImageColor.getrgb(name) for name in STEP_COLOURS], np.uint8)
    pixels = np.array(picture)
    pixels[border] = colours[(labels[border] - 1) % len(colours)]
    return Image.fromarray(pixels)
