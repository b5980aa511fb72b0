"""Counts objects in arrays, with the interface of scikit-learn's estimators."""

import dataclasses
import functools
import os
import pathlib
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from absl import logging
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from air_tf.config import (
    PRESETS,
    DataConfig,
    PictureConfig,
    RunConfig,
)
from air_tf.config.presets import preset_of
from air_tf.data.picture_files import one_channel
from air_tf.data.picture_windows import PictureSet
from air_tf.errors import InputError
from air_tf.inference.results.table import table_of_objects
from air_tf.inference.whole import TOGETHER, find_objects, other_numbers
from air_tf.structs import PictureObjects

if TYPE_CHECKING:
    import pandas as pd

    from air_tf.runs import RunDir

_IN_MEMORY = "(arrays in memory)"


class ObjectCounter(BaseEstimator):
    """Learns from pictures without labels to count, locate and outline their objects.

    A picture is an array [H, W] or [H, W, C] of any size, of 8 or 16 bits or
    floating-point numbers; an argument `images` is a list of pictures or one array of
    several pictures, with N as its first axis.

    Args:
      object_size: smallest and largest size of an object, in pixels: the longer side of
        its box; guessed from the pictures if omitted.
      polarity: whether objects are "bright" or "dark"; guessed if omitted.
      channel: the channel to use; the grey of all if omitted.
      steps: number of training steps; that of the programs if omitted.
      seed: of the training.

    Attributes:
      model_: the trained `AIR`, after `fit` or `load`.
      config_: all settings of its training, `RunConfig`.
    """

    def __init__(
        self,
        object_size: tuple[float, float] | None = None,
        *,
        polarity: str | None = None,
        channel: int | None = None,
        steps: int | None = None,
        seed: int = 0,
    ):
        self.object_size = object_size
        self.polarity = polarity
        self.channel = channel
        self.steps = steps
        self.seed = seed

    def fit(self, images: Iterable[npt.ArrayLike], y: object = None) -> "ObjectCounter":
        """Trains a model on pictures.

        Args:
          images: the pictures.
          y: ignored.

        Returns:
          This object.

        Raises:
          InputError: for pictures or settings that can't be used.
          TrainingDiverged: if the objective or its gradient is NaN or infinite.
        """
        del y
        # TensorFlow takes seconds to import.
        from air_tf.runs import RunDir
        from air_tf.training.train import train

        size: Any = self.object_size
        if isinstance(size, tuple | list | np.ndarray):
            size = tuple(np.asarray(size).tolist())
        settings = PictureConfig(
            object_size=size,
            polarity=self.polarity,
            channel=self.channel,
        )
        pixels = {
            f"picture {i}": self._pixels(image, i)
            for i, image in enumerate(_several(images))
        }
        if not pixels:
            raise InputError("is empty; expected pictures", field="images")
        pictures = PictureSet.of(list(pixels), pixels.__getitem__, settings)
        config = _new_config(pictures.settings, _IN_MEMORY)
        changes = {"seed": self.seed}
        if self.steps is not None:
            changes["steps"] = self.steps
        config = config.with_training(**changes)
        with tempfile.TemporaryDirectory() as folder:
            train(config, folder, pictures=pictures)
            run = RunDir(folder)
            self.model_ = run.load_air()
            self.config_ = run.read_config()
            self._files = _files_of(run)
        return self

    def predict(self, images: Iterable[npt.ArrayLike]) -> np.ndarray:
        """The number of objects in each picture, [N] int64."""
        return np.array(
            [len(self.find(image).probability) for image in _several(images)], np.int64
        )

    def locate(self, image: npt.ArrayLike) -> "pd.DataFrame":
        """A row for each object of a picture, see `table_of_objects`."""
        return table_of_objects(self._pixels(image), self.find(image))

    def segment(self, image: npt.ArrayLike) -> np.ndarray:
        """The pixels of each object of a picture.

        Returns:
          [H, W] int32: 0 for the ground, k for the object of label k in `locate`.
        """
        return self.find(image).labels

    def find(self, image: npt.ArrayLike) -> PictureObjects:
        """All that is known of a picture: labels, probabilities, codes and counts."""
        check_is_fitted(self, "model_")
        settings = self.config_.pictures
        assert settings is not None
        pixels = self._pixels(image)
        infer = functools.partial(
            self.model_.infer,
            max_objects=self.config_.prediction_steps(),
            batch_size=TOGETHER,
        )
        shape = self.model_.config.image_shape[:2]
        found = find_objects(infer, pixels, settings, shape)
        if not len(found.probability) and (text := other_numbers(pixels, settings)):
            logging.warning("%s", text)
        return found

    def save(self, path: str | os.PathLike) -> None:
        """Writes a folder that `load` and the programs read, as that of a run.

        Raises:
          InputError: if the folder exists.
        """
        check_is_fitted(self, "model_")
        folder = pathlib.Path(path)
        if folder.exists():
            raise InputError(f"{folder} exists; expected a new folder")
        folder.mkdir(parents=True)
        for name, content in self._files.items():
            (folder / name).write_bytes(content)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ObjectCounter":
        """Reads what `save` wrote, or a run of `train.py` on a folder of pictures.

        Parameters of the counter that were left to a guess are those that were guessed,
        so that a clone trains with the same.

        Raises:
          InputError: if there is no such run.
        """
        from air_tf.runs import RunDir

        run = RunDir(path)
        config = run.read_config()
        if config.pictures is None:
            raise InputError(
                f"{path} is a run on images of one size; expected one on a folder of "
                "pictures of any size"
            )
        counter = cls(
            config.pictures.object_size,
            polarity=config.pictures.polarity,
            channel=config.pictures.channel,
            steps=config.training.steps,
            seed=config.training.seed,
        )
        counter.model_, counter.config_ = run.load_air(), config
        counter._files = _files_of(run)
        return counter

    def _pixels(self, image: npt.ArrayLike, number: int | None = None) -> np.ndarray:
        what = "picture" if number is None else f"picture {number}"
        return one_channel(np.asarray(image), self.channel, what=what)


def _several(images: Iterable[npt.ArrayLike]) -> Iterable[npt.ArrayLike]:
    """Raises InputError for a single picture."""
    if isinstance(images, np.ndarray) and images.ndim == 2:
        raise InputError(
            f"is one array of shape {images.shape}; expected a list of pictures",
            field="images",
        )
    return images


def _files_of(run: "RunDir") -> dict[str, bytes]:
    """What `save` writes, by the names of the files."""
    files = (run.config_file, run.model_file, run.metrics_json)
    return {file.name: file.read_bytes() for file in files}


def _new_config(pictures: PictureConfig, image_dir: str) -> RunConfig:
    """Settings of a training on pictures whose objects' size is known."""
    preset = PRESETS[preset_of("folder")].config
    return dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, **pictures.model_settings()),
        data=DataConfig(dataset="folder", image_dir=image_dir),
        pictures=pictures,
    )
