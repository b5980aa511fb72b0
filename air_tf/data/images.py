"""What every model expects of images."""

import numpy as np

from air_tf.errors import InputError


def check_images(images: np.ndarray, image_shape: tuple[int, int, int]) -> None:
    """Refuses what is not [N, H, W, C], uint8 or float in [0, 1], N at least 1.

    Raises:
      InputError: naming what was found.
    """
    if images.shape[1:] != tuple(image_shape) or not len(images):
        raise InputError(
            f"images have shape {images.shape}; expected at least one image of "
            f"shape {tuple(image_shape)}, after an axis for the images"
        )
    if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            f"images are {images.dtype} from {images.min()} to {images.max()}; "
            "expected float in [0, 1], or uint8"
        )
