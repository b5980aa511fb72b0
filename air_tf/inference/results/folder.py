"""A folder with what was found in pictures of any size, for other programs to read."""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from air_tf.errors import InputError
from air_tf.extras import require_extra
from air_tf.files import (
    as_read_from_json,
    make_output_dir,
    read_json,
    reading,
    remove,
    replacing,
    unique_names,
    write_json,
)
from air_tf.inference.results.coco import write_coco
from air_tf.inference.results.imagej import write_rois
from air_tf.inference.results.label_images import read_label_image, write_label_image
from air_tf.inference.results.table import (
    describe_picture,
    write_counts,
    write_objects,
)
from air_tf.structs import PictureObjects
from air_tf.visualization.drawing import draw_outlines, to_shown

# Of all pictures. The first holds the settings, and names of files by picture.
_MANIFEST = "results.json"
_SUMMARIES = _COUNTS, _OBJECTS, _COCO = "counts.csv", "objects.csv", "coco.json"
# Of one picture. The answer is written last.
_LABELS, _ROIS = "labels/{}.tif", "rois/{}.zip"
_OVERLAY, _ANSWER = "{}.png", "{}.json"
_PARTS = (_LABELS, _ROIS, _OVERLAY, _ANSWER)
# Answers of pictures of these names would be files of all pictures.
_TAKEN = ("results", "coco")
# Raised when files or what is found change, so that two versions are not mixed.
_FORMAT = {"results_format": 3}
# What differs, of settings whose values tell a reader nothing.
_IN_WORDS = {
    "results_format": "of another version of air_tf",
    "model": "of another model file",
}


class ResultsFolder:
    """Writes results picture by picture, and tables of all pictures at the end.

    For each picture: NAME.json, NAME.png (outlines to look at), labels/NAME.tif and,
    if asked for, rois/NAME.zip. Of all pictures: counts.csv, objects.csv, coco.json.
    NAME is that of the picture without suffix; the second `a` becomes `a_2`.

    Interrupted work goes on: what is done stays. Pictures may be added later.

    Args:
      path: of the folder; created if it does not exist.
      images: paths of the pictures, or their names if they have no files.
      settings: what the results depend on, for JSON.
      rois: whether to write regions of ImageJ.
      overwrite: whether results of other settings, and other files, are replaced.

    Raises:
      InputError: if the folder holds other results or can't be made, or a package of
        an extra is missing.
      OutputError: if writing fails.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        images: Iterable[str | os.PathLike],
        *,
        settings: Mapping[str, Any],
        rois: bool = False,
        overwrite: bool = False,
    ):
        require_extra("pictures")
        if rois:
            require_extra("imagej")
        self._folder = pathlib.Path(path)
        keys = list(dict.fromkeys(map(_key, images)))
        self._refuse_to_replace(keys)
        self._parts = [part for part in _PARTS if rois or part != _ROIS]
        wanted = as_read_from_json({**_FORMAT, **settings})
        found, names = self._read_manifest()
        new = found != wanted
        if new and found is not None and not overwrite:
            raise InputError(
                f"{path} holds results of other settings "
                f"({_difference(found, wanted)}); expected another `output_dir`, or "
                "`overwrite`"
            )
        former = list(names.values()) if new else []
        self._names = {} if new else names
        files = [*(_SUMMARIES if new else []), *self._add_names(keys)]
        make_output_dir(path, files, overwrite=overwrite)
        for name in former:
            files += [part.format(name) for part in _PARTS]
        for file in files:
            remove(self._folder / file)
        for part in self._parts:
            make_output_dir((self._folder / part).parent)
        manifest = {"settings": wanted, "names": self._names}
        write_json(self._folder / _MANIFEST, manifest)

    def is_done(self, image: str | os.PathLike) -> bool:
        """Whether a picture's files are there, and not older than the picture."""
        files = self._files(image)
        if not all(file.exists() for file in files):
            return False
        # A picture may have no file, or none any more.
        with contextlib.suppress(OSError):
            return os.stat(image).st_mtime <= files[-1].stat().st_mtime
        return True

    def answer_file(self, image: str | os.PathLike) -> pathlib.Path:
        """The JSON file of a picture, which is there if it is done."""
        return self._files(image)[-1]

    def add(
        self, image: str | os.PathLike, picture: np.ndarray, objects: PictureObjects
    ) -> pathlib.Path:
        """Writes the files of a picture.

        Args:
          image: its path or name, one of `images`.
          picture: [H, W] or [H, W, C], in the unit that intensities are wanted in.
          objects: found in it.

        Returns:
          The JSON file.

        Raises:
          OutputError: if writing fails, for example on a full disk. This picture is
            not done then; those that are stay as they are.
        """
        labels, *rois, overlay, file = self._files(image)
        answer = describe_picture(_key(image), picture, objects)
        write_label_image(labels, objects.labels)
        for path in rois:
            write_rois(path, answer, objects.labels)
        if not rois:  # There may be some of before the picture changed.
            remove(self._folder / _ROIS.format(self._names[_key(image)]))
        with replacing(overlay) as temporary:
            shown = draw_outlines(to_shown(picture), objects.labels)
            shown.save(temporary, compress_level=1)  # Of large pictures: fast.
        write_json(file, answer)
        return file

    def finish(self) -> None:
        """Writes the files of all pictures that are done; one is in memory at a time.

        Raises:
          OutputError: if writing fails. The same call can be made again.
        """
        write_counts(self._folder / _COUNTS, self._answers())
        write_objects(self._folder / _OBJECTS, self._answers())
        write_coco(self._folder / _COCO, self._answers(), self._read_labels)

    def _refuse_to_replace(self, keys: Iterable[str]) -> None:
        """Raises InputError if pictures are where files are written or deleted."""
        written = {(self._folder / part).parent.resolve() for part in _PARTS}
        for picture in map(pathlib.Path, keys):
            if picture.resolve().parent in written and picture.exists():
                raise InputError(
                    f"{self._folder} holds the picture {picture}; expected another "
                    "folder",
                    field="output_dir",
                )

    def _read_manifest(self) -> tuple[dict[str, Any] | None, dict[str, str]]:
        """The settings of the results that are there, and their names by picture."""
        file = self._folder / _MANIFEST
        with reading(file, field="output_dir"):
            if not file.exists():
                return None, {}
        manifest = read_json(file)
        settings, names = manifest.get("settings"), manifest.get("names")
        # Names come from a file, and name files that may be deleted.
        if not (
            isinstance(settings, dict)
            and isinstance(names, dict)
            and all(pathlib.PurePath(str(name)).name == name for name in names.values())
        ):
            raise InputError(f"{file} is not of air_tf; expected no such file")
        return settings, names

    def _add_names(self, keys: Iterable[str]) -> list[str]:
        """Names pictures that have no name yet; returns their files."""
        new = [key for key in keys if key not in self._names]
        names = unique_names(new, {*self._names.values(), *_TAKEN})
        self._names |= dict(zip(new, names, strict=True))
        return [part.format(name) for name in names for part in self._parts]

    def _files(self, image: str | os.PathLike) -> list[pathlib.Path]:
        name = self._names[_key(image)]
        return [self._folder / part.format(name) for part in self._parts]

    def _answers(self) -> Iterator[dict[str, Any]]:
        for image in self._names:
            if self.is_done(image):
                yield read_json(self._files(image)[-1])

    def _read_labels(self, image: str) -> np.ndarray:
        return read_label_image(self._files(image)[0])


def _key(image: str | os.PathLike) -> str:
    """A picture's name in all results: the same for `./a.png` and `a.png`."""
    return str(pathlib.Path(image))


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The first setting that differs, in words; one of them does."""
    for name in [*wanted, *found]:
        if found.get(name) != wanted.get(name):
            words = f"{name}: {found.get(name)}, now {wanted.get(name)}"
            return _IN_WORDS.get(name, words)
    raise ValueError("expected a difference")
