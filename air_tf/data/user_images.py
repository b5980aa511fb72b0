"""Readers of users' own pictures.

Nothing is trusted: sizes are checked before pixels are read, and nothing is
unpickled.
"""

import pathlib
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from air_tf.errors import InputError
from air_tf.images import MAX_FILE_PIXELS
from air_tf.structs import ImageSet

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_FILE_BYTES = 8 * 2**30


def read_picture(path: str | pathlib.Path) -> Image.Image:
    """Reads a PNG or JPEG, as "RGB"; what is transparent lies on black.

    Raises:
      InputError: naming the file, if it is not such a picture.
    """
    try:
        with Image.open(path, formats=["PNG", "JPEG"]) as picture:
            if picture.width * picture.height > MAX_FILE_PIXELS:
                raise InputError(
                    f"{path}: {picture.width}x{picture.height} pixels; expected at "
                    f"most {MAX_FILE_PIXELS}"
                )
            return _to_rgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; expected a PNG or JPEG file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a PNG or JPEG picture") from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, SyntaxError, EOFError) as error:
        raise InputError(f"{path}: can't be decoded ({error})") from None


def fit_picture(picture: Image.Image, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Stretches an "RGB" picture to a canvas.

    Args:
      picture: of any size.
      image_shape: (H, W, C) of the canvas; C is 1 for grey and 3 for colour.

    Returns:
      [H, W, C] uint8.

    Raises:
      InputError: for other numbers of channels.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise InputError(
            f"pictures have 1 or 3 channels, but the canvas has {channels}"
        )
    fitted = picture.convert("L") if channels == 1 else picture
    fitted = fitted.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(image_shape)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return picture.convert("RGB")


def read_folder(
    path: str | pathlib.Path, image_shape: tuple[int, int, int]
) -> ImageSet:
    """Reads all PNG and JPEG files of a folder, in the order of their names.

    Raises:
      InputError: naming the folder or the picture that can't be read.
    """
    folder = pathlib.Path(path)
    if not folder.is_dir():
        raise InputError(f"{path}: no such folder")
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise InputError(f"{path}: holds no .png, .jpg or .jpeg file")
    images = np.empty((len(files), *image_shape), np.uint8)
    for i, file in enumerate(files):
        images[i] = fit_picture(read_picture(file), image_shape)
    return ImageSet(images=images)


def read_npz(path: str | pathlib.Path) -> ImageSet:
    """Reads `image` and, if there, `count` from an .npz file.

    `image` is [N, H, W] or [N, H, W, C], uint8 or float in [0, 1]; `count` is
    [N] whole numbers.

    Raises:
      InputError: naming the file and the field that is not so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path}: {size} bytes; expected at most {MAX_FILE_BYTES}")
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
        raise InputError(f"{path}: a folder; expected an .npz file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise InputError(f"{path}: not an .npz file, or a broken one") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error})") from None
    return ImageSet(
        images=_check_image(path, image), counts=_check_count(path, count, len(image))
    )


def _read_field(path, arrays, name: str) -> np.ndarray:
    try:
        return arrays[name]
    except ValueError as error:  # an array of objects, which would need pickle
        raise InputError(f"{path}: {name} can't be read ({error})") from None


def _check_image(path, image: np.ndarray) -> np.ndarray:
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise InputError(
            f"{path}: image has shape {image.shape}; expected [N, H, W] or "
            "[N, H, W, C], none of them 0"
        )
    if image.ndim == 3:
        image = image[..., np.newaxis]
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(
            f"{path}: image is {image.dtype}; expected uint8 in 0 .. 255 or float in "
            "[0, 1]"
        )
    if not np.isfinite(image).all():
        raise InputError(f"{path}: image holds NaN or infinity; expected [0, 1]")
    if image.min() < 0 or image.max() > 1:
        raise InputError(
            f"{path}: image holds values from {image.min():g} to {image.max():g}; "
            "expected float in [0, 1], or uint8"
        )
    return image.astype(np.float32)


def _check_count(path, count: np.ndarray | None, num_images: int) -> np.ndarray | None:
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
