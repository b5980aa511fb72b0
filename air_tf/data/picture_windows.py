"""Windows of pictures of any size, for training and for its figures."""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from absl import logging

from air_tf.config.pictures import PictureConfig
from air_tf.data.known_counts import known_counts
from air_tf.data.measure import MEASURED, measure, otsu
from air_tf.data.picture_files import find_pictures, read_pixels
from air_tf.data.prepare import domed, padded, prepare
from air_tf.errors import InputError
from air_tf.structs import ImageSet

# Fewer can't be split.
_MIN_TO_SPLIT = 3
# Windows of a split that are looked at as images.
_MAX_WINDOWS = 10_000
# Places that windows are put around, of one picture.
_MAX_PLACES = 10_000


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """Prepared pictures in memory.

    Attributes:
      pictures: [h, w] uint8 each, as `prepare` returns them.
      counts: of each, the number of objects if it is known.
      settings: that they were prepared with; nothing in it is left to be measured.
    """

    pictures: Sequence[np.ndarray]
    counts: Sequence[int | None]
    settings: PictureConfig

    @classmethod
    def of_folder(
        cls, path: str | os.PathLike, settings: PictureConfig
    ) -> "PictureSet":
        """Reads the pictures of a folder. One that can't be read is named.

        Raises:
          InputError: if the folder holds no picture that can be used.
        """
        if not os.path.isdir(path):
            exists = os.path.exists(path)
            what = "is a file; expected a folder" if exists else "no such folder"
            raise InputError(f"{path}: {what}")
        files = find_pictures([path])
        names = {str(file): file for file in files}
        counts = dict(zip(names, known_counts(files), strict=True))
        return cls.of(
            list(names), lambda name: read_pixels(name, settings), settings, counts
        )

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        read: Callable[[str], np.ndarray],
        settings: PictureConfig,
        counts: Mapping[str, int | None] | None = None,
    ) -> "PictureSet":
        """Measures what the settings leave open, and prepares pictures one by one.

        Args:
          names: of the pictures.
          read: gives [H, W] for a name. A picture for which it raises InputError is
            named in a warning and left out, as is one that is smaller than an object.
          settings: how.
          counts: by names, known numbers of objects.

        Raises:
          InputError: if nothing is left, or nothing can be measured.
        """
        settings = measure(settings, _sample(names, read))
        pictures, known = [], []
        for name in names:
            try:
                pictures.append(prepare(read(name), settings, what=name))
            except InputError as error:
                logging.warning("%s; it is left out", error)
                continue
            known.append((counts or {}).get(name))
        if not pictures:
            assert settings.object_size is not None, "measured above"
            largest = settings.object_size[1]
            raise InputError(
                f"no picture of {len(names)} can be used; expected some that can be "
                f"read and have at least {largest:g} x {largest:g} pixels, by the "
                "largest `object_size`"
            )
        return cls(pictures, known, settings)

    def split(self, split: str) -> "PictureSet":
        """A split: about 8 : 1 : 1, after a shuffle that is always the same.

        No picture is in two splits, unless there are only one or two pictures: then
        they are in each.
        """
        num = len(self.pictures)
        if num < _MIN_TO_SPLIT:
            return self
        order = np.random.default_rng(0).permutation(num)
        tenth = max(num // 10, 1)
        rows = {
            "test": order[:tenth],
            "validation": order[tenth : 2 * tenth],
            "train": order[2 * tenth :],
        }[split]
        return dataclasses.replace(
            self,
            pictures=[self.pictures[i] for i in rows],
            counts=[self.counts[i] for i in rows],
        )

    def fingerprint(self) -> str:
        """A hash of the pictures, to recognise them wherever the folder is."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            digest.update(repr(picture.shape).encode())
            digest.update(np.ascontiguousarray(picture).data)
        return digest.hexdigest()


class WindowSampler:
    """Cuts windows at random places, in random directions.

    Args:
      pictures: to cut from. Those smaller than a window are padded, see `padded`.
      shape: (h, w) of the windows.

    Attributes:
      shape: as given.
      num_windows: windows that would cover all pictures without overlap.
    """

    def __init__(self, pictures: PictureSet, shape: tuple[int, int]):
        self.shape = shape
        self._pictures = [
            padded(domed(picture, pictures.settings), shape)
            for picture in pictures.pictures
        ]
        self._anywhere = pictures.settings.anywhere_share
        areas = np.array([picture.size for picture in self._pictures], float)
        self._weights = areas / areas.sum()
        self._places = [_places(picture) for picture in self._pictures]
        self.num_windows = max(round(areas.sum() / (shape[0] * shape[1])), 1)

    def windows(self, seed: Sequence[int], num: int) -> np.ndarray:
        """Cuts windows; the same seed gives the same ones.

        All places of all pictures are equally probable, but for a share of windows
        that hold a pixel which differs from the ground.

        Returns:
          [num, h, w, 1] uint8.
        """
        rng = np.random.default_rng(seed)
        height, width = self.shape
        found = np.empty((num, height, width, 1), np.uint8)
        chosen = rng.choice(len(self._pictures), num, p=self._weights)
        anywhere = rng.random(num) < self._anywhere
        turns, mirrored = rng.integers(4, size=num), rng.random(num) < 0.5
        for i, which in enumerate(chosen):
            picture, places = self._pictures[which], self._places[which]
            last = np.subtract(picture.shape, self.shape)
            if anywhere[i] or not len(places):
                top, left = rng.integers(last, endpoint=True)
            else:
                inside = places[rng.integers(len(places))]
                first = inside - rng.integers(self.shape)
                top, left = np.clip(first, 0, last)
            window = picture[top : top + height, left : left + width]
            # Pictures have no direction.
            if height == width:
                window = np.rot90(window, turns[i])
            found[i, ..., 0] = window[:, ::-1] if mirrored[i] else window
        return found


def _sample(names: Sequence[str], read: Callable[[str], np.ndarray]) -> Iterator:
    """Every so many pictures, without those that can't be read."""
    for name in names[:: max(len(names) // MEASURED, 1)]:
        with contextlib.suppress(InputError):
            yield read(name)


def _places(picture: np.ndarray) -> np.ndarray:
    """Some pixels that differ from the ground, [N, 2]."""
    threshold = otsu(picture.ravel() / 255.0) * 255.0
    flat = np.flatnonzero(picture > threshold)
    if len(flat) > _MAX_PLACES:
        flat = np.random.default_rng(0).choice(flat, _MAX_PLACES, replace=False)
    return np.stack(np.unravel_index(flat, picture.shape), axis=1)


def window_set(pictures: PictureSet, shape: tuple[int, int]) -> ImageSet:
    """Windows at random places, always the same: about as many as cover the pictures.

    Args:
      pictures: of a split.
      shape: (h, w) of the windows.
    """
    sampler = WindowSampler(pictures, shape)
    num = min(sampler.num_windows, _MAX_WINDOWS)
    return ImageSet(images=sampler.windows([0], num))
