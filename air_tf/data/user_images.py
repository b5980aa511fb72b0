"""Readers of users' own images.

The files are not trusted: sizes are checked before pixels are read, and nothing is
unpickled.
"""

import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from air_tf.config.checks import one_of
from air_tf.errors import InputError
from air_tf.images import MAX_FILE_PIXELS, check_aspect
from air_tf.structs import ImageSet

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_FILE_BYTES = 8 * 2**30


def read_picture(path: str | os.PathLike) -> Image.Image:
    """Reads a PNG or JPEG file, in mode "RGB"; transparent pixels become black.

    A rotation that is stored as EXIF data is applied.

    Raises:
      InputError: if the file can't be read or is too large.
    """
    return _decode(path, what=str(path))


def decode_picture(content: bytes, *, what: str) -> Image.Image:
    """As `read_picture`, from the bytes of a file; `what` names it in messages."""
    return _decode(io.BytesIO(content), what=what)


def _decode(file: str | os.PathLike | BinaryIO, *, what: str) -> Image.Image:
    try:
        with Image.open(file, formats=["PNG", "JPEG"]) as picture:
            if picture.width * picture.height > MAX_FILE_PIXELS:
                raise InputError(
                    f"{what}: has {picture.width}x{picture.height} pixels; expected at "
                    f"most {MAX_FILE_PIXELS}"
                )
            return _to_rgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise InputError(f"{what}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{what}: is a folder; expected a PNG or JPEG file") from None
    except UnidentifiedImageError:
        raise InputError(f"{what}: not a PNG or JPEG picture") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{what}: {error}") from None
    except (OSError, SyntaxError, EOFError) as error:
        raise InputError(f"{what}: can't be decoded ({error})") from None


def fit_picture(picture: Image.Image, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Resizes a picture to a canvas; its aspect ratio may change.

    Args:
      picture: of mode "RGB" and any size.
      image_shape: (H, W, C) of the canvas; C is 1 for grey and 3 for colour.

    Returns:
      [H, W, C] uint8.

    Raises:
      InputError: for other numbers of channels.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise InputError(
            f"pictures can be used with 1 or 3 channels, but the canvas has {channels}"
        )
    fitted = picture.convert("L") if channels == 1 else picture
    fitted = fitted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(image_shape)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which `convert` would clip
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


def read_folder(
    path: str | os.PathLike,
    image_shape: tuple[int, int, int],
    *,
    of_one_camera: bool = False,
) -> ImageSet:
    """Reads all PNG and JPEG files of a folder, sorted by name.

    Args:
      path: of the folder.
      image_shape: (H, W, C) of the canvas that pictures are resized to.
      of_one_camera: whether the pictures may not be stretched, see `check_aspect`.

    Raises:
      InputError: if the folder or one of its pictures can't be read, or has another
        aspect ratio although it may not be stretched.
    """
    try:
        files = sorted(
            file
            for file in pathlib.Path(path).iterdir()
            if file.suffix.lower() in PICTURE_SUFFIXES
        )
    except FileNotFoundError:
        raise InputError(f"{path}: no such folder") from None
    except NotADirectoryError:
        raise InputError(f"{path}: is a file; expected a folder") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    if not files:
        raise InputError(f"{path}: holds no {one_of(PICTURE_SUFFIXES)} file")
    images = np.empty((len(files), *image_shape), np.uint8)
    for i, file in enumerate(files):
        picture = read_picture(file)
        if of_one_camera:
            check_aspect(picture.height, picture.width, image_shape, what=str(file))
        images[i] = fit_picture(picture, image_shape)
    return ImageSet(images=images)


def read_npz(path: str | os.PathLike) -> ImageSet:
    """Reads the arrays `image` and, optionally, `count` from an .npz file.

    `image` has shape [N, H, W] or [N, H, W, C] and is uint8 or float in [0, 1].
    `count` has shape [N] and holds whole numbers.

    Raises:
      InputError: if the file can't be read, or an array is not as described.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"{path}: holds {size} bytes; expected at most {MAX_FILE_BYTES}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays)
            if "image" not in names:
                raise InputError(
                    f"{path}: holds {', '.join(names) or 'nothing'}; expected an "
                    "array named image"
                )
            image = _read_field(path, arrays, "image")
            count = _read_field(path, arrays, "count") if "count" in names else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected an .npz file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise InputError(f"{path}: not an .npz file, or damaged") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error})") from None
    return ImageSet(
        images=_check_image(path, image), counts=_check_count(path, count, len(image))
    )


def _read_field(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    try:
        return arrays[name]
    except ValueError as error:  # for example an array of objects, which needs pickle
        raise InputError(f"{path}: {name} can't be read ({error})") from None


def _check_image(path: str | os.PathLike, image: np.ndarray) -> np.ndarray:
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise InputError(
            f"{path}: image has shape {image.shape}; expected [N, H, W] or "
            "[N, H, W, C], each of them at least 1"
        )
    if image.ndim == 3:
        image = image[..., np.newaxis]
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(
            f"{path}: image is {image.dtype}; expected uint8 in [0, 255] or float in "
            "[0, 1]"
        )
    if not np.isfinite(image).all():
        raise InputError(
            f"{path}: image holds NaN or infinity; expected numbers in [0, 1]"
        )
    if image.min() < 0 or image.max() > 1:
        raise InputError(
            f"{path}: image holds values from {image.min():g} to {image.max():g}; "
            "expected float in [0, 1], or uint8"
        )
    return image.astype(np.float32)


def _check_count(
    path: str | os.PathLike, count: np.ndarray | None, num_images: int
) -> np.ndarray | None:
    if count is None:
        return None
    if count.shape != (num_images,) or not np.issubdtype(count.dtype, np.integer):
        raise InputError(
            f"{path}: count is {count.dtype} of shape {count.shape}; expected whole "
            f"numbers of shape ({num_images},)"
        )
    if count.min() < 0:
        raise InputError(f"{path}: count holds {count.min()}; expected at least 0")
    return count.astype(np.int64)
