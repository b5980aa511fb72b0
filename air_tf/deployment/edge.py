"""Runs a converted model with ai-edge-litert alone: nothing here needs TensorFlow."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from air_tf.deployment.answers import SCENE_OUTPUTS, to_scenes
from air_tf.errors import InputError
from air_tf.images import check_images
from air_tf.structs import Scenes

# Of the entry in the file's metadata that says what the file is.
METADATA_NAME = "air_tf"
MAX_MODEL_BYTES = 2**30
_IDENTIFIER = b"TFL3"
_OUTPUTS = (*SCENE_OUTPUTS, "canvas")
_DYNAMIC_CHUNK = 64


class EdgeModel:
    """A model that `scripts/convert.py` wrote.

    Args:
      path: of the .tflite file.
      num_threads: for one image.

    Attributes:
      image_shape: (H, W, C).
      max_objects: T.
      metadata: what the file says of itself.

    Raises:
      InputError: if the file is broken, or of another model, or ai-edge-litert is
        not installed.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise InputError(
                "ai-edge-litert is not installed; expected pip install ai-edge-litert"
            ) from None
        content = _read(path)
        self.metadata = _read_metadata(path, content)
        self.image_shape = tuple(self.metadata["image_shape"])
        self.max_objects = self.metadata["max_objects"]
        try:
            self._interpreter = Interpreter(
                model_content=content, num_threads=num_threads
            )
            self._run = self._interpreter.get_signature_runner("serving_default")
            given, found = self._run.get_input_details(), self._run.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{path} can't be loaded ({str(error).splitlines()[0]})"
            ) from None
        if sorted(given) != ["image"] or sorted(found) != sorted(_OUTPUTS):
            raise InputError(f"{path} has other inputs or outputs than AIR")

    def infer(self, images) -> Scenes:
        """As `AIR.infer`: how many objects there are, where, and how they look.

        Args:
          images: [N, H, W, C], float in [0, 1], or uint8.

        Returns:
          Scenes as numpy arrays.

        Raises:
          InputError: for images of another shape, or values out of range or NaN.
        """
        images = np.asarray(images)
        check_images(images, self.image_shape)
        if images.dtype == np.uint8:
            images = images / np.float32(255.0)
        images = images.astype(np.float32, copy=False)
        size = self.metadata["batch_size"] or min(len(images), _DYNAMIC_CHUNK)
        parts = [
            self._infer_chunk(images[i : i + size], size)
            for i in range(0, len(images), size)
        ]
        if len(parts) == 1:
            return to_scenes(parts[0])
        return to_scenes(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )

    def _infer_chunk(self, images: np.ndarray, size: int) -> dict[str, np.ndarray]:
        missing = size - len(images)
        if missing and self.metadata["batch_size"]:
            empty = np.zeros((missing, *self.image_shape), np.float32)
            images = np.concatenate([images, empty])
        found = self._run(image=images)
        return {name: array[: size - missing] for name, array in found.items()}


def _read(path: str | os.PathLike) -> bytes:
    try:
        size = os.stat(path).st_size
        if size > MAX_MODEL_BYTES:
            raise InputError(
                f"{path}: {size} bytes; expected at most {MAX_MODEL_BYTES}"
            )
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if content[4:8] != _IDENTIFIER:
        raise InputError(f"{path}: not a TFLite file")
    return content


def _read_metadata(path: str | os.PathLike, content: bytes) -> dict[str, Any]:
    """The JSON that convert.py put into the file."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(content)
        for i in range(model.MetadataLength()):
            entry = model.Metadata(i)
            if entry.Name() == METADATA_NAME.encode():
                found = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
                metadata = json.loads(found)
                break
        else:
            raise InputError(
                f"{path}: not a model of air_tf; expected a file of convert.py"
            )
    except InputError:
        raise
    # Offsets of a broken file lead anywhere.
    except Exception as error:
        raise InputError(f"{path}: a broken TFLite file ({error})") from None
    if not isinstance(metadata, dict) or not {
        "image_shape",
        "max_objects",
        "batch_size",
    } <= set(metadata):
        raise InputError(f"{path}: its metadata is not that of convert.py")
    return metadata
