"""Reads the original archives of nuclei.

The files are not trusted: sizes are checked before pixels are decoded, nothing is
unpacked to a disk, and nothing is unpickled.
"""

import hashlib
import io
import os
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from air_tf.errors import InputError

_BLOCK = 2**20
_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


class Archive(NamedTuple):
    """An original archive."""

    url: str
    sha256: str

    @property
    def file(self) -> str:
        """Its file name."""
        return self.url.rpartition("/")[2]

    @property
    def name(self) -> str:
        """Its name without the suffix, that of the folder it is unpacked to."""
        return self.file.removesuffix(".zip")


class Files:
    """The files of an archive or of a folder with its unpacked files, by name."""

    def __init__(self, path: str | os.PathLike) -> None:
        """Lists the files.

        Args:
          path: of a .zip file or a folder.

        Raises:
          InputError: if it can't be read.
        """
        self.path = pathlib.Path(path)
        self._zip: zipfile.ZipFile | None = None
        if self.path.is_dir():
            parts = (f.relative_to(self.path) for f in self.path.rglob("*"))
            self._names = {part.as_posix() for part in parts}
            return
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path}: can't be read ({error})") from None
        self._names = set(self._zip.namelist())

    def by_end(self, num_parts: int) -> dict[tuple[str, ...], str]:
        """Full names by their last parts.

        Folders above them differ: some programs unpack `images.zip` to `images/images`.
        Hidden files, which macOS adds, are left out.
        """
        found = {}
        for name in sorted(self._names):
            parts = pathlib.PurePosixPath(name).parts
            hidden = "__MACOSX" in parts or parts[-1].startswith(".")
            if len(parts) >= num_parts and not hidden:
                found[parts[-num_parts:]] = name
        return found

    def read(self, name: str) -> bytes:
        """Content of a file."""
        try:
            if self._zip is not None:
                return self._zip.read(name)
            return (self.path / name).read_bytes()
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path}: {name} can't be read ({error})") from None


def require_sha256(path: str | os.PathLike, archive: Archive) -> None:
    """Raises InputError if a file is not the original archive."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != archive.sha256:
        raise InputError(
            f"{path}: has the SHA-256 {digest.hexdigest()}; expected {archive.sha256}, "
            f"that of {archive.url}, or a folder with the unpacked files"
        )


def read_dsb2018(
    files: Mapping[str, Files], names: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures of `stage1_train`: NAME/images/NAME.png, and a mask for each nucleus.

    Args:
      files: "stage1_train".
      names: of the pictures.

    Yields:
      A picture, [256, 256] uint8, and its labels, [256, 256] uint16.

    Raises:
      InputError: for a picture that is missing, or not a grey one of this size.
    """
    archive = files["stage1_train"]
    masks: dict[str, list[str]] = {}
    pictures = {}
    for (name, kind, file), full in archive.by_end(3).items():
        if kind == "masks" and file.endswith(".png"):
            masks.setdefault(name, []).append(full)
        elif (kind, file) == ("images", f"{name}.png"):
            pictures[name] = full
    for name in names:
        if name not in pictures or name not in masks:
            raise InputError(f"{archive.path}: {name} or its masks are missing")
        pixels = _decode(archive, pictures[name], "PNG", (256, 256))
        image = pixels if pixels.ndim == 2 else pixels[..., 0]
        if image.dtype != np.uint8 or (
            pixels.ndim == 3 and (pixels[..., :3] != image[..., None]).any()
        ):
            raise InputError(f"{archive.path}: {name} is not a grey picture of 8 bits")
        labels = np.zeros(image.shape, np.uint16)
        for number, mask in enumerate(masks[name], 1):
            inside = _decode(archive, mask, "PNG", (256, 256)) > 0
            inside = inside if inside.ndim == 2 else inside[..., 0]
            labels[inside & (labels == 0)] = number
        yield image, _consecutive(labels)


def read_bbbc039(
    files: Mapping[str, Files], names: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures of BBBC039 at half size.

    Pixels are means of 2 x 2, labels those of the top left one of them. In a mask, the
    first channel tells touching nuclei apart: each component of one value is a nucleus
    (https://gist.github.com/jccaicedo/15e811722fca51e3ae90e8b43057f075).

    Args:
      files: "images" and "masks".
      names: of the pictures, without suffix.

    Yields:
      A picture, [260, 348] uint16, and its labels, [260, 348] uint16.

    Raises:
      InputError: for a picture that is missing, or of another kind.
    """
    found = {kind: one.by_end(1) for kind, one in files.items()}
    for name in names:
        pixels = {}
        for kind, suffix, form in (("images", "tif", "TIFF"), ("masks", "png", "PNG")):
            full = found[kind].get((f"{name}.{suffix}",))
            if full is None:
                raise InputError(f"{files[kind].path}: {name}.{suffix} is missing")
            pixels[kind] = _decode(files[kind], full, form, (520, 696))
        image, mask = pixels["images"], pixels["masks"]
        if image.ndim != 2 or image.dtype != np.uint16:
            raise InputError(f"{files['images'].path}: {name} has no 16 bits")
        image = image.reshape(260, 2, 348, 2).mean(axis=(1, 3)).astype(np.uint16)
        labels = label_colours(mask if mask.ndim == 2 else mask[..., 0])
        yield image, _consecutive(labels[::2, ::2])


def label_colours(colours: np.ndarray) -> np.ndarray:
    """Numbers the components of equal values, with eight neighbours; 0 is the ground.

    Args:
      colours: [H, W] integers.

    Returns:
      [H, W] uint16.
    """
    labels = np.zeros(colours.shape, np.uint16)
    most = 0
    for colour in np.unique(colours[colours > 0]):
        parts, num = ndimage.label(colours == colour, structure=_EIGHT_NEIGHBOURS)
        inside = parts > 0
        labels[inside] = parts[inside] + most
        most += num
    return labels


def read_npz(
    path: pathlib.Path, names: list[str], shape: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures of an .npz file with the arrays `image` and `label` and `id` or `name`.

    Args:
      path: of the file.
      names: of the pictures, without suffix.
      shape: (H, W) of the pictures.

    Yields:
      A picture, [H, W], and its labels, [H, W] uint16.

    Raises:
      InputError: if it can't be read, or a picture is missing.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            key = "id" if "id" in arrays else "name"
            rows = {str(n).removesuffix(".tif"): i for i, n in enumerate(arrays[key])}
            images, labels = arrays["image"], arrays["label"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: can't be read ({error})") from None
    expected = (len(rows), *shape)
    if images.shape != expected or labels.shape != expected:
        raise InputError(
            f"{path}: image has the shape {images.shape} and label {labels.shape}; "
            f"expected {expected}"
        )
    for name in names:
        if name not in rows:
            raise InputError(f"{path}: {name} is missing")
        yield images[rows[name]], labels[rows[name]].astype(np.uint16)


def _decode(files: Files, name: str, form: str, size: tuple[int, int]) -> np.ndarray:
    """Pixels, [H, W] or [H, W, C], of a file of `form` and of (H, W) `size`."""
    try:
        with Image.open(io.BytesIO(files.read(name)), formats=[form]) as picture:
            if picture.size != size[::-1]:
                raise InputError(
                    f"{files.path}: {name} has {picture.height}x{picture.width} "
                    f"pixels; expected {size[0]}x{size[1]}"
                )
            return np.asarray(picture)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{files.path}: {name} is no {form} file ({error})") from None


def _consecutive(labels: np.ndarray) -> np.ndarray:
    """The same objects with the numbers 1, 2, ...; there is some ground."""
    _, index = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    return index[:-1].reshape(labels.shape).astype(np.uint16)
