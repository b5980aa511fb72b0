"""Reader of pictures at their own scale: PNG, JPEG and TIFF, 8 or 16 bit, or float.

The files are not trusted: sizes are checked before pixels are read.
"""

import io
import os
import pathlib
import warnings
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from air_tf.config.checks import one_of
from air_tf.config.pictures import PictureConfig
from air_tf.errors import InputError
from air_tf.extras import require_extra
from air_tf.files import reading
from air_tf.images import MAX_PICTURE_PIXELS

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (".png", ".jpg", ".jpeg", *TIFF_SUFFIXES)
# Of both byte orders, and of BigTIFF.
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Beside a picture, with its true objects; see `air_tf.data.known_counts`.
LABELS_ENDING = "_labels"
# ITU-R BT.601, as Pillow's "L".
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def find_pictures(paths: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """The picture files among files and in folders, sorted by name within a folder.

    Label images, whose names end in `LABELS_ENDING`, are left out of folders.

    Raises:
      InputError: for a folder that can't be read or holds no picture.
    """
    found: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        if not path.is_dir():
            found.append(path)
            continue
        with reading(path):
            files = sorted(file for file in path.iterdir() if file.is_file())
        pictures = [
            file
            for file in files
            if file.suffix.lower() in SUFFIXES
            and not file.stem.endswith(LABELS_ENDING)
            and not file.name.startswith(".")
        ]
        if not pictures:
            raise InputError(f"{path}: holds no {one_of(SUFFIXES)} file")
        found += pictures
    return found


def read_pixels(path: str | os.PathLike, settings: PictureConfig) -> np.ndarray:
    """Reads one page and channel of a picture.

    Args:
      path: of the file.
      settings: `page` and `channel`.

    Returns:
      [H, W], of the file's type, or as `one_channel` says for the grey of colours.

    Raises:
      InputError: if the file can't be read, is too large, or has no such page or
        channel; or for NaN and infinite values.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {what}")
    is_tiff = path.suffix.lower() in TIFF_SUFFIXES
    return _decode(path, settings, is_tiff=is_tiff, what=str(path))


def decode_pixels(content: bytes, settings: PictureConfig, *, what: str) -> np.ndarray:
    """As `read_pixels`, from the bytes of a file.

    Args:
      content: of a PNG, JPEG or TIFF file.
      settings: `page` and `channel`.
      what: name of the picture for messages.
    """
    is_tiff = content[:4] in _TIFF_STARTS
    return _decode(io.BytesIO(content), settings, is_tiff=is_tiff, what=what)


def _decode(
    file: pathlib.Path | BinaryIO,
    settings: PictureConfig,
    *,
    is_tiff: bool,
    what: str,
) -> np.ndarray:
    channel = settings.channel
    try:
        if is_tiff:
            require_extra("pictures")
            pixels, channel = _read_tiff(file, settings, what)
        else:
            pixels = _read_with_pillow(file, settings, what)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{what}: not a PNG, JPEG or TIFF picture") from None
    # A broken file leads its readers anywhere.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{what}: can't be read ({reason})") from None
    return one_channel(pixels, channel, what=what)


def one_channel(pixels: np.ndarray, channel: int | None, *, what: str) -> np.ndarray:
    """Chooses a channel, or takes the grey of colours.

    Args:
      pixels: [H, W] or [H, W, C]; C is 1, 2 (grey and opacity), 3 (RGB), 4 (RGBA),
        or, with a `channel`, any number.
      channel: to use; None for the grey of all, with transparent pixels black.
      what: name of the picture for messages.

    Returns:
      [H, W]; the grey of colours is float32, as a share of the type's largest value.

    Raises:
      InputError: for other shapes and types, a channel that is not there, an empty
        picture, or values that are not finite.
    """
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise InputError(
            f"{what}: has shape {pixels.shape}; expected [H, W] or [H, W, C]"
        )
    height, width = pixels.shape[:2]
    require_size(height, width, what=what)
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind not in "uif":
        raise InputError(f"{what}: holds {pixels.dtype}; expected numbers")
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    channels = pixels.shape[2]
    if channel is not None:
        if channel >= channels:
            raise InputError(
                f"{what}: has {channels} channels; expected more than {channel}, the "
                "`channel`"
            )
        grey = pixels[..., channel]
    elif channels > 4:
        raise InputError(
            f"{what}: has {channels} channels; expected 1 to 4, or a `channel`"
        )
    else:
        grey = _grey(pixels)
    if grey.dtype.kind == "f" and not np.isfinite(grey).all():
        raise InputError(f"{what}: holds NaN or infinity; expected numbers")
    return np.ascontiguousarray(grey)


def require_size(height: int, width: int, *, what: str) -> None:
    """Raises InputError for a picture that is too large for the memory."""
    if height * width > MAX_PICTURE_PIXELS:
        raise InputError(
            f"{what}: has {width}x{height} pixels; expected at most "
            f"{MAX_PICTURE_PIXELS}"
        )


def _grey(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 1 .. 4] to [H, W]."""
    channels = pixels.shape[2]
    colours = pixels[..., :3] if channels >= 3 else pixels[..., :1]
    grey = colours[..., 0]
    if channels >= 3:
        grey = colours.astype(np.float32) @ _GREY
    if channels in (2, 4):
        grey = grey * (pixels[..., -1].astype(np.float32) / _largest(pixels.dtype))
    # A mean keeps its fractions, and `shares` takes it as it is.
    return grey if grey.dtype == pixels.dtype else grey / _largest(pixels.dtype)


def _largest(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "ui" else 1.0


def shares(pixels: np.ndarray) -> np.ndarray:
    """Pixels as shares of the largest value of their type; float as it is, float32."""
    scaled = pixels.astype(np.float32)
    return scaled / np.float32(_largest(pixels.dtype))


def _read_with_pillow(
    file: pathlib.Path | BinaryIO, settings: PictureConfig, what: str
) -> np.ndarray:
    with warnings.catch_warnings():
        # Of sizes that are allowed here.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file, formats=["PNG", "JPEG"]) as opened:
            require_size(opened.height, opened.width, what=what)
            if settings.page:
                raise InputError(f"{what}: has one page; expected `page` 0")
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
                transparent = picture.has_transparency_data
                picture = picture.convert("RGBA" if transparent else "RGB")
            elif picture.mode != "1" and "transparency" in picture.info:
                picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
            pixels = np.asarray(picture)
            # 16 bits, in the type that Pillow keeps them in.
            return pixels.astype(np.uint16) if picture.mode == "I" else pixels


def _read_tiff(
    source: pathlib.Path | BinaryIO, settings: PictureConfig, what: str
) -> tuple[np.ndarray, int | None]:
    """The pixels of a page, and the channel that is still to be chosen in them."""
    import tifffile

    with tifffile.TiffFile(source) as file:
        page, channel = _find_page(file, settings, what)
        require_size(page.imagelength, page.imagewidth, what=what)
        pixels = page.asarray()
        if page.axes.startswith("S"):  # planes of colours
            pixels = np.moveaxis(pixels, 0, -1)
        kind = page.photometric
        if kind == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            pixels = np.moveaxis(page.colormap[:, pixels], 0, -1)
        elif kind == tifffile.PHOTOMETRIC.SEPARATED and pixels.shape[-1] == 4:
            inks = shares(pixels)
            pixels = (1.0 - inks[..., :3]) * (1.0 - inks[..., 3:])
        elif kind == tifffile.PHOTOMETRIC.MINISWHITE:
            whole = pixels.dtype.kind in "ui"
            pixels = np.iinfo(pixels.dtype).max - pixels if whole else ~pixels
        return pixels, channel


def _find_page(file: Any, settings: PictureConfig, what: str) -> tuple[Any, int | None]:
    """The page of a TIFF file, and the channel that is still to be chosen in it.

    If the file says that its pages are channels, `channel` chooses among them, and
    `page` counts what else there is, such as depths and times.
    """
    index, count = settings.page, len(file.pages)
    series = file.series[0]
    lead = series.axes.partition("Y")[0]
    if settings.channel is not None and "C" in lead and len(series.pages) == count:
        order = np.arange(count).reshape(series.shape[: len(lead)])
        order = np.moveaxis(order, lead.index("C"), -1)
        order = order.reshape(-1, order.shape[-1])
        count, channels = order.shape
        if settings.channel >= channels:
            raise InputError(
                f"{what}: has {channels} channels; expected more than "
                f"{settings.channel}, the `channel`"
            )
        if index < count:
            index = int(order[index, settings.channel])
            return file.pages[index], None
    if index >= count:
        raise InputError(
            f"{what}: has {count} pages; expected more than {index}, the `page`"
        )
    return file.pages[index], settings.channel
