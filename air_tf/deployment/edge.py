"""Runs a converted model with ai-edge-litert; nothing here needs TensorFlow."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from air_tf.config import PictureConfig
from air_tf.deployment.answers import (
    ANSWERS,
    Answers,
    pictures_from_json,
    pictures_to_json,
)
from air_tf.errors import InputError
from air_tf.files import reading
from air_tf.images import batches, check_images
from air_tf.structs import Kinds, Scenes, Scenes3D

# Name of the entry in a .tflite file's metadata that holds its `Conversion`.
METADATA_NAME = "air_tf"
MAX_MODEL_BYTES = 2**30
_IDENTIFIER = b"TFL3"
_DYNAMIC_BATCH = 64
# Keys of the metadata that files of models without kinds do not have.
_MODEL, _NAMES, _SYMMETRIES = "model", "kind_names", "kind_symmetries"
_PICTURES = "pictures"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Settings of a conversion, which the .tflite file holds as JSON.

    Attributes:
      format: "float32", "float16", "dynamic" or "int8".
      image_shape: (H, W, C) of the canvas.
      max_objects: T.
      batch_size: images in a call; 0 for any number.
      num_calibration_images: training images from which "int8" took its ranges; None
        for other formats, and for files of version 0.1.
      kinds: of objects on a table, which only `AIR3D` tells apart; None for `AIR`.
      pictures: how windows of pictures of any size are cut; None for models of images.
    """

    format: str
    image_shape: tuple[int, int, int]
    max_objects: int
    batch_size: int = 1
    num_calibration_images: int | None = None
    kinds: Kinds | None = None
    pictures: PictureConfig | None = None

    @property
    def answers(self) -> Answers:
        """What the converted model gives."""
        return ANSWERS["AIR" if self.kinds is None else "AIR3D"]

    @property
    def loop(self) -> str:
        """The attend loop of the converted model, see `AIR.scenes`."""
        # LiteRT's int8 quantiser ends the process on a loop (tensorflow issue 75140).
        return "unrolled" if self.format == "int8" else "early_stop"

    @property
    def decodes(self) -> bool:
        """Whether the file has the signature `decode`."""
        return self.format != "int8" and bool(self.answers.drawn)

    def to_json(self) -> str:
        found = dataclasses.asdict(self)
        del found["kinds"], found["pictures"]
        if self.pictures is not None:
            found[_PICTURES] = pictures_to_json(self.pictures, self.image_shape[:2])
        if self.kinds is not None:
            names, symmetries = self.kinds
            found |= {
                _MODEL: self.answers.model,
                _NAMES: names,
                _SYMMETRIES: symmetries,
            }
        # Version 0.1 reads `max_steps`; other programs may read the loop.
        found |= {"max_steps": self.max_objects, "loop": self.loop}
        return json.dumps(found)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Conversion":
        """Reads what `to_json` wrote, in this version of air_tf or another one.

        Unknown keys are ignored.

        Raises:
          ValueError: for missing keys or invalid values.
        """
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        if "max_steps" in found:  # the name in version 0.1
            found.setdefault("max_objects", found["max_steps"])
        kinds = _read_kinds(found)
        pictures = None
        if _PICTURES in found:
            pictures, _ = pictures_from_json(found[_PICTURES])
        own = {"kinds", "pictures"}
        known = {field.name for field in dataclasses.fields(cls)} - own
        missing = known - {"num_calibration_images"} - set(found)
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))} missing")
        found = {name: value for name, value in found.items() if name in known}
        shape, batch_size = found["image_shape"], found["batch_size"]
        if not isinstance(shape, list) or len(shape) != 3:
            raise ValueError(f"image_shape {shape}")
        if not all(_at_least(n, 1) for n in (*shape, found["max_objects"])):
            raise ValueError("a size that is not a positive number")
        if not _at_least(batch_size, 0):
            raise ValueError(f"batch_size {batch_size}")
        num_images = found.get("num_calibration_images")
        if num_images is not None and not _at_least(num_images, 1):
            raise ValueError(f"num_calibration_images {num_images}")
        found |= {"image_shape": tuple(shape), "kinds": kinds, "pictures": pictures}
        return cls(**found)


def _read_kinds(found: dict[str, Any]) -> Kinds | None:
    """The kinds in metadata; raises ValueError for models of unknown classes."""
    model = found.get(_MODEL, "AIR")
    if not isinstance(model, str) or model not in ANSWERS:
        raise ValueError(f"model {model}")
    if not ANSWERS[model].constants:
        return None
    names, symmetries = found.get(_NAMES), found.get(_SYMMETRIES)
    if not (
        isinstance(names, list)
        and isinstance(symmetries, list)
        and len(names) == len(symmetries) > 0
        and all(isinstance(name, str) for name in names)
        and all(_at_least(symmetry, 0) for symmetry in symmetries)
    ):
        raise ValueError(f"{_NAMES} {names}, {_SYMMETRIES} {symmetries}")
    return Kinds(tuple(names), tuple(symmetries))


def _at_least(value: Any, smallest: int) -> bool:
    return type(value) is int and value >= smallest


class EdgeModel:
    """A model that `scripts/convert.py` wrote.

    Args:
      path: the .tflite file.
      num_threads: CPU threads that one call uses.

    Attributes:
      conversion: the settings it was converted with.
      image_shape: (H, W, C) of the canvas.
      max_objects: T.
      kinds: of objects on a table; None for a model that knows none.
      max_batch_size: images that go through the attend loop together.

    Raises:
      InputError: if the file is broken or holds another model, or ai-edge-litert is
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
        self.conversion = _read_conversion(path, content)
        self.image_shape = self.conversion.image_shape
        self.max_objects = self.conversion.max_objects
        self.kinds = self.conversion.kinds
        self.max_batch_size = self.conversion.batch_size or _DYNAMIC_BATCH
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
        answers = self.conversion.answers
        required, known = set(answers.required_names), set(answers.all_names)
        if sorted(given) != ["image"] or not required <= set(found) <= known:
            raise InputError(f"{path} has other inputs or outputs than {answers.model}")
        if self.kinds is not None:
            named, known = len(self.kinds.names), found["kind_probs"]["shape"][-1]
            if named != known:
                raise InputError(f"{path} names {named} kinds of {known}")

    def infer(self, images: npt.ArrayLike) -> Scenes | Scenes3D:
        """Counts, locates and describes the objects, as the model's own `infer`.

        Args:
          images: [N, H, W, C], float in [0, 1], or uint8.

        Returns:
          Scenes as numpy arrays; `Scenes3D` for objects on a table.

        Raises:
          InputError: for images of another shape, or values out of range or NaN.
        """
        pixels = np.asarray(images)
        check_images(pixels, self.image_shape)
        if pixels.dtype == np.uint8:
            pixels = pixels / np.float32(255.0)
        pixels = pixels.astype(np.float32, copy=False)
        parts = [
            self._infer_batch(batch)
            for _, batch in batches(pixels, self.max_batch_size)
        ]
        return self.conversion.answers.to_scenes(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        )

    def _infer_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name; a batch that is not full is filled with black images."""
        num = len(images)
        missing = max(self.conversion.batch_size - num, 0)
        if missing:
            empty = np.zeros((missing, *self.image_shape), np.float32)
            images = np.concatenate([images, empty])
        found = self._run(image=images)
        return {name: array[:num] for name, array in found.items()}


def _read(path: str | os.PathLike) -> bytes:
    with reading(path):
        size = os.stat(path).st_size
        if size > MAX_MODEL_BYTES:
            raise InputError(
                f"{path}: {size} bytes; expected at most {MAX_MODEL_BYTES}"
            )
        content = pathlib.Path(path).read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise InputError(f"{path}: not a TFLite file")
    return content


def _read_conversion(path: str | os.PathLike, content: bytes) -> Conversion:
    """The settings that convert.py put into the file."""
    try:
        found = _find_metadata(content)
    # Offsets of a broken file lead anywhere.
    except Exception as error:
        raise InputError(f"{path}: a broken TFLite file ({error})") from None
    if found is None:
        raise InputError(
            f"{path}: not a model of air_tf; expected a file of convert.py"
        )
    try:
        return Conversion.from_json(found)
    except ValueError as error:
        raise InputError(
            f"{path}: its metadata are not those of this version's convert.py ({error})"
        ) from None


def _find_metadata(content: bytes) -> bytes | None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == METADATA_NAME.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    return None
