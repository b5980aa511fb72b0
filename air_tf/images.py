"""Checks of images, limits of picture files, and batches. Imports only numpy."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from air_tf.errors import InputError

# Largest picture file that is read.
MAX_FILE_PIXELS = 50_000_000
# Largest picture in which objects are counted at its own scale.
MAX_PICTURE_PIXELS = 2**27
# Largest picture that a server decodes: 4096 x 4096 pixels need 64 MiB.
MAX_SERVED_PIXELS = 2**24
# Largest relative difference of the aspect ratios of a picture and the canvas that it
# is stretched to, where the camera is fixed.
MAX_STRETCH = 0.02


def check_images(images: np.ndarray, image_shape: tuple[int, int, int]) -> None:
    """Checks that images are [N, H, W, C], uint8 or float in [0, 1], and N >= 1.

    Args:
      images: to check.
      image_shape: the expected (H, W, C).

    Raises:
      InputError: if they are not.
    """
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise InputError(
            f"have shape {images.shape}; expected at least one image of shape "
            f"{tuple(image_shape)}, as [N, H, W, C]",
            field="images",
        )
    if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
        if images.dtype.kind == "f" and np.isnan(images).any():
            raise InputError(
                "hold NaN; expected float in [0, 1], or uint8", field="images"
            )
        raise InputError(
            f"are {images.dtype} from {images.min()} to {images.max()}; "
            "expected float in [0, 1], or uint8",
            field="images",
        )


def to_uint8(images: npt.ArrayLike) -> np.ndarray:
    """What is shown of images, and stored in files: light from 0 to 1 as 0 to 255.

    A canvas is a mean of p(x given z), which may lie outside of [0, 1]: where objects
    that add light overlap, it is brighter than any picture. That is clipped.

    Args:
      images: of any shape, uint8 or float.

    Returns:
      uint8, of the same shape; uint8 as it is.
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.round(255.0 * np.clip(images, 0.0, 1.0)).astype(np.uint8)


def check_aspect(
    height: int, width: int, image_shape: tuple[int, int, int], *, what: str
) -> None:
    """Checks that a picture may be of the camera whose pictures the canvas shows.

    Args:
      height: of the picture.
      width: of the picture.
      image_shape: (H, W, C) of the canvas.
      what: the picture's name for the message.

    Raises:
      InputError: if its aspect ratio differs by more than `MAX_STRETCH`.
    """
    rows, columns, _ = image_shape
    stretch = width * rows / (height * columns)
    if max(stretch, 1.0 / stretch) > 1.0 + MAX_STRETCH:
        common = math.gcd(rows, columns)
        ratio = f"{columns // common}:{rows // common}"
        raise InputError(
            f"{what}: {width}x{height} pixels; expected the aspect ratio of the "
            f"model's camera, {ratio}, to within {MAX_STRETCH:.0%}"
        )


def batches(images: np.ndarray, batch_size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Consecutive batches of images; the last may be smaller.

    Args:
      images: [N, ...].
      batch_size: B.

    Yields:
      The slice of the first axis, and the images in it, [B, ...].
    """
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        yield batch, images[batch]
