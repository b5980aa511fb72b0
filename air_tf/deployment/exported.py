"""Runs an exported model in this process, on any number of images."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.config import PictureConfig
from air_tf.deployment.answers import find_answers, read_answer, read_pictures
from air_tf.deployment.signatures import MAX_BATCH_SIZE
from air_tf.deployment.versions import find_version
from air_tf.errors import InputError
from air_tf.files import reading_stored
from air_tf.images import batches, check_images
from air_tf.structs import Kinds, Scenes, Scenes3D, TabletopScenes
from air_tf.visualization.drawing import to_picture_bytes


class ExportedModel:
    """A SavedModel of export.py, loaded with `tf.saved_model.load`.

    Signatures take 1 to 64 images; `infer` takes any number.

    Args:
      path: BASE/VERSION, or BASE for its largest version. An address with a scheme,
        such as gs://BUCKET/air/1, that TensorFlow can read, must name the version.

    Attributes:
      image_shape: (H, W, C) of the canvas.
      code_size: D, of `z_what`; 0 for models of objects on a table.
      kinds: of objects on a table; None for a model that knows none.
      pictures: how windows of pictures of any size are cut; None for models of images.

    Raises:
      InputError: if there is no model of export.py.
    """

    def __init__(self, path: str | os.PathLike):
        folder = str(path) if "://" in str(path) else str(find_version(path))
        try:
            # The functions of a module that is no longer referred to fail.
            self._module = tf.saved_model.load(folder)
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{path} can't be loaded ({reason}); expected an export of export.py"
            ) from None
        self._signatures = self._module.signatures
        try:
            serving = self._signatures["serving_default"]
            self._answers = find_answers(serving.structured_outputs)
            image = serving.structured_input_signature[1]["image"]
        except (KeyError, IndexError):
            raise InputError(
                f"{path} has other signatures; expected an export of export.py"
            ) from None
        self.image_shape: tuple[int, int, int] = tuple(image.shape[1:])
        outputs = serving.structured_outputs
        self.code_size = outputs["z_what"].shape[-1] if "z_what" in outputs else 0
        with reading_stored(path):
            self.kinds, self.pictures = self._constants()

    def _constants(self) -> tuple[Kinds | None, PictureConfig | None]:
        """What `serve_image_bytes` says of the model besides its scenes."""
        if "serve_image_bytes" not in self._signatures:
            return None, None
        black = to_picture_bytes(np.zeros(self.image_shape, np.uint8))
        outputs = self._signatures["serve_image_bytes"](
            image_bytes=tf.constant([black])
        )
        arrays = {name: _with_texts(value.numpy()) for name, value in outputs.items()}
        answer = read_answer(arrays)
        settings = read_pictures(arrays)
        return (
            answer.kinds if isinstance(answer, TabletopScenes) else None,
            None if settings is None else settings[0],
        )

    def infer(
        self, images: np.ndarray, *, with_masks: bool = False
    ) -> Scenes | Scenes3D:
        """Counts, locates and describes the objects in images.

        Batches are the first 64, the next 64 and so on. How sums are rounded depends
        on the batch of an image.

        Args:
          images: [N, H, W, C], uint8, or float in [0, 1].
          with_masks: whether to give the large fields (`reconstruct`), too; they are
            None otherwise (`serving_default`).

        Returns:
          Scenes as numpy arrays; `Scenes3D` for objects on a table.

        Raises:
          InputError: for images of another shape, or values out of range or NaN.
        """
        check_images(images, self.image_shape)
        if images.dtype == np.uint8:
            images = images / np.float32(255.0)
        call = self._signatures["reconstruct" if with_masks else "serving_default"]
        parts = [
            {name: value.numpy() for name, value in call(image=batch).items()}
            for _, batch in batches(tf.constant(images, tf.float32), MAX_BATCH_SIZE)
        ]
        names = [*self._answers.names]
        if with_masks:
            names = [name for name in self._answers.all_names if name in parts[0]]
        return self._answers.to_scenes(
            {name: np.concatenate([part[name] for part in parts]) for name in names}
        )


def _with_texts(array: Any) -> np.ndarray:
    return np.char.decode(array.astype(np.bytes_)) if array.dtype == object else array
