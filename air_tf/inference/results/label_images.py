"""Label images: 0 for the ground, i + 1 for the pixels of object i."""

import os

import numpy as np
from PIL import Image

from air_tf.extras import require_extra
from air_tf.files import replacing
from air_tf.structs import Scenes, Scenes3D


def write_label_image(path: str | os.PathLike, labels: np.ndarray) -> None:
    """Writes a label image as TIFF, of 16 bits where they are enough, else of 32.

    Args:
      path: of the file.
      labels: [H, W] int.

    Raises:
      InputError: if tifffile is missing, of the extra `pictures`.
      OutputError: if writing fails.
    """
    require_extra("pictures")
    import tifffile

    enough = labels.max() <= np.iinfo(np.uint16).max
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            labels.astype(np.uint16 if enough else np.uint32),
            compression="zlib",
        )


def read_label_image(path: str | os.PathLike) -> np.ndarray:
    """Reads what `write_label_image` wrote, [H, W] uint16 or uint32."""
    require_extra("pictures")
    import tifffile

    return tifffile.imread(path)


def labels_of_scene(scenes: Scenes | Scenes3D, height: int, width: int) -> np.ndarray:
    """The label image of a picture that was stretched to the canvas.

    Args:
      scenes: of this picture, N = 1.
      height: of the picture.
      width: of the picture.

    Returns:
      [height, width] int32: the object that is seen most in a pixel, 0 where that is
      the ground. An object that is seen in no pixel has none.
    """
    count = int(scenes.num_objects[0])
    labels = np.zeros((height, width), np.int32)
    seen_most = np.zeros((height, width), np.float32)
    ground = np.ones((height, width), np.float32)
    for i, mask in enumerate(np.asarray(scenes.mask[0, :count], np.float32)):
        drawn = Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR)
        seen = np.asarray(drawn)
        labels[seen > seen_most] = i + 1
        seen_most = np.maximum(seen_most, seen)
        ground -= seen
    labels[ground >= seen_most] = 0
    return labels
