"""What is expected of images in memory and of picture files. Needs numpy alone."""

from collections.abc import Iterator

import numpy as np

from air_tf.errors import InputError

# Of a picture file read from disk.
MAX_FILE_PIXELS = 50_000_000
# Of a picture sent to a server: 4096 x 4096, 64 MiB once decoded.
MAX_SERVED_PIXELS = 2**24


def check_images(images: np.ndarray, image_shape: tuple[int, int, int]) -> None:
    """Accepts [N, H, W, C], uint8 or float in [0, 1], with N at least 1.

    Raises:
      InputError: for anything else, naming what was found.
    """
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise InputError(
            f"have shape {images.shape}; expected at least one image of "
            f"shape {tuple(image_shape)}, after an axis for the images",
            field="images",
        )
    if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            f"are {images.dtype} from {images.min()} to {images.max()}; "
            "expected float in [0, 1], or uint8",
            field="images",
        )


def batches(images: np.ndarray, batch_size: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of the first axis with the images in them; the last may be shorter."""
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        yield batch, images[batch]
