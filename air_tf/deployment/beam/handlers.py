"""Exported models for Beam's `RunInference`.

Beam's own handler of TensorFlow loads Keras models, and Keras 3 refuses SavedModels.
"""

import abc
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from air_tf.config import PictureConfig
from air_tf.deployment.exported import ExportedModel
from air_tf.errors import InputError
from air_tf.inference.results.table import describe_picture
from air_tf.inference.whole import find_objects
from air_tf.structs import Scenes, Scenes3D

NAMESPACE = "air_tf"


class Images(NamedTuple):
    """Pictures that were resized to the canvas, up to 64."""

    images: np.ndarray  # [N, H, W, C] uint8
    sizes: np.ndarray  # [N, 2] int, (height, width) of the pictures


class _Handler(ModelHandler[Any, Any, ExportedModel], abc.ABC):
    """Loads an export once in each process of a worker.

    Elements are batches already: `air_tf.deployment.beam.inputs` says why.

    Args:
      path: of the export, for `ExportedModel`.
    """

    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def load_model(self) -> ExportedModel:
        """Loads the model, for one thread: runners use one process a core."""
        for limit in (
            tf.config.threading.set_intra_op_parallelism_threads,
            tf.config.threading.set_inter_op_parallelism_threads,
        ):
            # Fails in a process whose TensorFlow works already.
            with contextlib.suppress(RuntimeError):
                limit(1)
        return ExportedModel(self._path)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """See `ModelHandler`."""
        return {"max_batch_size": 1}

    def get_metrics_namespace(self) -> str:
        """Of the metrics of `RunInference`, and of ours."""
        return NAMESPACE

    @abc.abstractmethod
    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """See `ModelHandler`."""


class ImageHandler(_Handler):
    """Infers `Images`; predictions are pairs of scenes and sizes."""

    def run_inference(
        self,
        batch: Sequence[Images],
        model: ExportedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[tuple[Scenes | Scenes3D, np.ndarray]]:
        """See `ModelHandler`."""
        for images, sizes in batch:
            yield _timed(model, images), sizes

    def get_num_bytes(self, batch: Sequence[Images]) -> int:
        """See `ModelHandler`."""
        return sum(one.images.nbytes for one in batch)


class PictureHandler(_Handler):
    """Finds the objects of whole pictures, [H, W], as `predict_pictures` does.

    Predictions are answers of `describe_picture`, or the InputError of a picture that
    can't be used.

    Args:
      path: of the export.
      settings: how pictures are cut into windows.
    """

    def __init__(self, path: str, settings: PictureConfig):
        super().__init__(path)
        self._settings = settings

    def run_inference(
        self,
        batch: Sequence[np.ndarray],
        model: ExportedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[dict[str, Any] | InputError]:
        """See `ModelHandler`."""

        def infer(windows: np.ndarray) -> Any:
            return _timed(model, windows, with_masks=True)

        shape = model.image_shape[:2]
        for pixels in batch:
            try:
                found = find_objects(infer, pixels, self._settings, shape)
            except InputError as error:
                yield error
                continue
            yield describe_picture("", pixels, found)

    def get_num_bytes(self, batch: Sequence[np.ndarray]) -> int:
        """See `ModelHandler`."""
        return sum(pixels.nbytes for pixels in batch)


def _timed(model: ExportedModel, images: np.ndarray, **options: Any) -> Any:
    """Infers images, and counts them and their rate."""
    start = time.perf_counter()
    scenes = model.infer(images, **options)
    seconds = time.perf_counter() - start
    Metrics.counter(NAMESPACE, "images").inc(len(images))
    rate = Metrics.distribution(NAMESPACE, "images_per_second")
    rate.update(round(len(images) / max(seconds, 1e-6)))
    return scenes
