"""Predictions for pictures of any size. Imports no TensorFlow, for edge devices."""

import logging
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from air_tf.config import PictureConfig
from air_tf.data.picture_files import find_pictures, read_pixels
from air_tf.errors import InputError, OutputError
from air_tf.files import read_json
from air_tf.inference.predict import Prediction
from air_tf.inference.results.folder import ResultsFolder
from air_tf.inference.results.table import describe_picture
from air_tf.inference.whole import Infer, find_objects, other_numbers

_LOG = logging.getLogger(__name__)  # devices have no absl
_MOST_NAMES = 5  # of a warning


def predict_pictures(
    infer: Infer,
    settings: PictureConfig,
    shape: tuple[int, int],
    paths: Sequence[str | os.PathLike],
    output_dir: str | os.PathLike | None = None,
    *,
    model: Mapping[str, Any],
    rois: bool = False,
    overwrite: bool = False,
) -> Iterator[Prediction]:
    """Counts and locates the objects of pictures, one picture at a time.

    Interrupted work goes on: pictures whose files are in the folder are not predicted
    again.

    Args:
      infer: the model, of images of the canvas' size.
      settings: of its run.
      shape: (h, w) of its canvas.
      paths: picture files, and folders of them.
      output_dir: see `ResultsFolder`. Nothing is written if omitted.
      model: what tells the model from others, for JSON.
      rois: whether to write regions of ImageJ, too.
      overwrite: whether to replace results of other models or settings.

    Returns:
      A lazy iterator of predictions, as of `predict_files`. The tables of all pictures
      are written after the last.

    Raises:
      InputError: before any prediction, for a folder that can't be read or written to,
        or holds other results.
      OutputError: by the iterator, if a table of all pictures can't be written.
    """
    files = find_pictures(paths)
    folder = None
    if output_dir is not None:
        folder = ResultsFolder(
            output_dir,
            files,
            settings={**model, **settings.to_dict()},
            rois=rois,
            overwrite=overwrite,
        )
    # In another function, so that the checks above run before the first `next`.
    return _predict_all(infer, settings, shape, files, folder)


def _predict_all(
    infer: Infer,
    settings: PictureConfig,
    shape: tuple[int, int],
    files: Sequence[pathlib.Path],
    folder: ResultsFolder | None,
) -> Iterator[Prediction]:
    warned: list[str] = []
    for file in files:
        if folder is not None and folder.is_done(file):
            done = folder.answer_file(file)
            yield Prediction(str(file), read_json(done), done, None, is_old=True)
            continue
        try:
            pixels = read_pixels(file, settings)
            objects = find_objects(infer, pixels, settings, shape, what=str(file))
            found = len(objects.probability)
            if not found and (text := other_numbers(pixels, settings)):
                if not warned:
                    _LOG.warning("%s: %s", file, text)
                warned.append(str(file))
            if folder is None:
                answer = describe_picture(str(file), pixels, objects)
                yield Prediction(str(file), answer, None, None)
                continue
            written = folder.add(file, pixels, objects)
        except (InputError, OutputError) as error:
            yield Prediction(str(file), None, None, error)
            continue
        yield Prediction(str(file), read_json(written), written, None)
    if len(warned) > 1:
        names = ", ".join(warned[1 : 1 + _MOST_NAMES])
        more = len(warned) - 1 - _MOST_NAMES
        names += f" and {more} more" if more > 0 else ""
        _LOG.warning(
            "No object is found, in other ranges of numbers than those of the training "
            "pictures, in: %s",
            names,
        )
    if folder is not None:
        folder.finish()
