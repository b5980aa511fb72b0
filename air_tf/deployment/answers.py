"""What exported models give, for each class of models. Needs numpy alone.

What exports need of the models themselves is in `air_tf.deployment.exportable`.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from air_tf.config import PictureConfig
from air_tf.errors import InputError
from air_tf.structs import Kinds, Scenes, Scenes3D, TabletopScenes


class Output(NamedTuple):
    """A named output of an exported model."""

    name: str
    shape: str
    meaning: str
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Answers:
    """The outputs of the exported models of one class.

    Attributes:
      model: name of the class.
      scenes: what its `infer` returns; its fields have the names of the outputs.
      small: outputs of all signatures that infer, and of .tflite files.
      large: further outputs of `reconstruct` and of .tflite files. Files of earlier
        versions give only the first.
      constants: further outputs of `serve_image_bytes`, the same for every picture:
        those who send pictures have no other description of the model.
      drawn: outputs of `decode` in .tflite files; empty if they have none.
    """

    model: str
    scenes: type[Scenes] | type[Scenes3D]
    small: tuple[Output, ...]
    large: tuple[Output, ...]
    constants: tuple[Output, ...] = ()
    drawn: tuple[Output, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs of `serving_default`."""
        return tuple(output.name for output in self.small)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Of the outputs of a .tflite file."""
        return (*self.names, *(output.name for output in self.large))

    @property
    def required_names(self) -> tuple[str, ...]:
        """Of the outputs that every .tflite file gives."""
        return (*self.names, self.large[0].name)

    def to_scenes(self, outputs: Mapping[str, np.ndarray]) -> Scenes | Scenes3D:
        """Builds scenes from named outputs.

        Args:
          outputs: an array for each of `names`, optionally for `large`.

        Returns:
          Scenes with q(n >= t) added; large fields are None if there are no such
          outputs.

        Raises:
          KeyError, TypeError: for other names.
        """
        count_probs = outputs["num_objects_probs"]
        at_least = np.cumsum(count_probs[:, ::-1], axis=1)[:, ::-1]  # [N, T + 1]
        large = dict.fromkeys(output.name for output in self.large)
        fields = {**large, **outputs, "presence_probs": at_least[:, 1:]}
        return self.scenes(**fields)


_BOXES = Output(
    "boxes", "[B, T, 4]", "(ymin, xmin, ymax, xmax) as fractions of the image"
)
_COUNT = (
    Output("num_objects", "[B]", "the most probable count", "int32"),
    Output("num_objects_probs", "[B, T + 1]", "probabilities of 0 to T objects"),
    _BOXES,
    Output("presence", "[B, T]", "1 for the first `num_objects` objects, then 0"),
)
_CANVAS = Output("canvas", "[B, H, W, C]", "the reconstruction")
_MASK = Output("mask", "[B, T, H, W]", "how much of a pixel each object is seen in")
_TRIPS = Output("num_trips", "[B]", "attend steps that the image's batch took", "int32")

_AIR = Answers(
    model="AIR",
    scenes=Scenes,
    small=(
        *_COUNT,
        Output("z_where", "[B, T, 3]", "(scale, shift_y, shift_x) of each object"),
        Output("z_what", "[B, T, D]", "appearance code of each object"),
        _TRIPS,
    ),
    large=(
        _CANVAS,
        _MASK,
        Output("ground", "[B, H, W, C]", "the canvas without objects"),
    ),
    drawn=(_BOXES, _CANVAS, _MASK),
)
_AIR3D = Answers(
    model="AIR3D",
    scenes=Scenes3D,
    small=(
        *_COUNT,
        Output("presence_probs", "[B, T]", "probabilities of at least 1 to T objects"),
        Output("kind", "[B, T]", "the most probable kind of each object", "int32"),
        Output("kind_probs", "[B, T, K]", "probabilities of the kinds"),
        Output("position", "[B, T, 2]", "(x, y) on the table, in its unit"),
        Output("position_scale", "[B, T, 2]", "standard deviations of `position`"),
        Output(
            "yaw",
            "[B, T]",
            "turn about the vertical in radians, counter-clockwise seen from above",
        ),
        Output(
            "yaw_scale",
            "[B, T]",
            "standard deviations of `yaw`; 0 for kinds that have none",
        ),
        _TRIPS,
    ),
    large=(_MASK,),
    # The fields of `Kinds`.
    constants=(
        Output("kind_names", "[B, K]", "names of the kinds", "string"),
        Output(
            "kind_symmetries",
            "[B, K]",
            "number of yaws within a full turn that look the same; 0 for all yaws",
            "int32",
        ),
    ),
)

# Further constant of `serve_image_bytes`, of models of pictures of any size: JSON with
# the `image_shape` of the canvas and the fields of `PictureConfig`.
PICTURES = Output("pictures", "[B, 1]", "how windows of pictures are cut", "string")

ANSWERS = {answers.model: answers for answers in (_AIR, _AIR3D)}


def find_answers(names: Iterable[str]) -> Answers:
    """The class of models that has these outputs, and perhaps others.

    Raises:
      KeyError: if there is none.
    """
    names = set(names)
    for answers in ANSWERS.values():
        if names.issuperset(answers.names):
            return answers
    raise KeyError("no class of models has these outputs")


def dtype_of(name: str) -> str:
    """The type of an output; that of most if the name is unknown."""
    for answers in ANSWERS.values():
        for output in (*answers.small, *answers.constants, PICTURES):
            if output.name == name:
                return output.dtype
    return "float32"


def read_pictures(
    outputs: Mapping[str, np.ndarray],
) -> tuple[PictureConfig, tuple[int, int]] | None:
    """What `serve_image_bytes` says of pictures of any size.

    Args:
      outputs: arrays by name; texts are str.

    Returns:
      The settings and (h, w) of the canvas; None for other models.

    Raises:
      InputError: for settings that this version of air_tf can't read.
    """
    if PICTURES.name not in outputs:
        return None
    return pictures_from_json(str(outputs[PICTURES.name][0, 0]))


def pictures_to_json(settings: PictureConfig, shape: tuple[int, int]) -> str:
    """What `pictures_from_json` reads."""
    return json.dumps({**settings.to_dict(), "canvas": shape})


def pictures_from_json(text: str) -> tuple[PictureConfig, tuple[int, int]]:
    """Settings of pictures and (h, w) of the canvas.

    Raises:
      InputError: for invalid settings.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    canvas = found.pop("canvas", None) if isinstance(found, dict) else None
    if not isinstance(canvas, list) or [type(side) for side in canvas] != [int, int]:
        raise InputError("no settings of pictures")
    return PictureConfig.from_dict(found), (canvas[0], canvas[1])


def read_answer(outputs: Mapping[str, np.ndarray]) -> Scenes | TabletopScenes:
    """What `serve_image_bytes` answers for one picture, or `reconstruct` for several.

    Args:
      outputs: arrays by name; texts are str. B = 1 for models with constants.

    Raises:
      KeyError, TypeError, IndexError: for outputs of no class of models.
    """
    answers = find_answers(outputs)
    names = [output.name for output in answers.constants]
    constants = [tuple(outputs[name][0].tolist()) for name in names]
    left_out = {*names, PICTURES.name}
    scenes = answers.to_scenes(
        {name: array for name, array in outputs.items() if name not in left_out}
    )
    if isinstance(scenes, Scenes):
        return scenes
    return TabletopScenes(scenes, Kinds(*constants))
