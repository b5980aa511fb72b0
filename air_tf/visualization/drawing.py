"""Pictures of images and boxes. Imports only numpy and Pillow."""

import io

import numpy as np
from PIL import Image, ImageDraw

# Box colours by attend step, repeated after 6: red, green, blue, orange, purple, cyan.
STEP_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4")


def to_picture(image: np.ndarray, zoom: int = 1) -> Image.Image:
    """Converts an image to a picture of mode "RGB".

    Args:
      image: [H, W, C], uint8 or float in [0, 1]. If C is not 3, the first channel is
        shown in grey.
      zoom: factor by which height and width are enlarged.
    """
    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
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
