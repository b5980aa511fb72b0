"""What exports need of a model beside `scenes`, for each class of models.

What the exported models give is in `air_tf.deployment.answers`.
"""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from air_tf.config import PictureConfig
from air_tf.config.renderers import AnalyticConfig
from air_tf.deployment.answers import (
    ANSWERS,
    PICTURES,
    Answers,
    pictures_to_json,
)
from air_tf.inference.tabletop import kinds_of
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.attend3d import head_outputs
from air_tf.model.ground import code_size, ground_outputs
from air_tf.model.heads import HEAD_OUTPUTS
from air_tf.structs import Scenes, Scenes3D

# Latents are clamped to these, so that canvases are finite.
_MAX_SHIFT, _MAX_CODE, _MAX_LIGHT = 10.0, 100.0, 10.0
_MAX_YAW = 100.0  # radians


class Latent(NamedTuple):
    """An input of `decode`, which has the name of a field of scenes."""

    shape: tuple[int, ...]  # of one picture
    low: float
    high: float
    dtype: tf.DType = tf.float32

    def clean(self, x: tf.Tensor) -> tf.Tensor:
        """Clamps the input; NaN becomes 0."""
        if self.dtype.is_integer:
            return tf.clip_by_value(x, int(self.low), int(self.high))
        return clean(x, self.low, self.high)


def clean(x: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Replaces NaN by 0 and clamps all else to [low, high]."""
    # LiteRT has no is_nan.
    return tf.clip_by_value(tf.where(tf.equal(x, x), x, 0.0), low, high)


class Exportable(abc.ABC):
    """A model with a number of objects.

    Args:
      air: the model.
      max_objects: T.

    Attributes:
      air: as given.
      max_objects: as given.
      answers: names of outputs.
      latents: inputs of `canvas` by name; empty if no exported graph can draw.
      constants: for one picture, the values of `answers.constants`, and of `PICTURES`
        for models of pictures of any size, by name; texts as bytes, as a session
        returns them.
      fixed_camera: whether pictures must have the canvas' aspect ratio.
      quantised: names of the operations that int8 quantises.
      heads: numbers of outputs of those that it does not, see `convert`.
    """

    answers: Answers
    fixed_camera: bool
    quantised: frozenset[str]

    def __init__(self, air: Any, max_objects: int):
        self.air = air
        self.max_objects = max_objects
        self.latents: dict[str, Latent] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.heads: set[int] = set()

    def clean_latents(self, values: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Inputs of `decode` by name, cleaned; raises ValueError for other shapes."""
        return {
            name: latent.clean(tf.ensure_shape(value, [None, *latent.shape]))
            for (name, latent), value in zip(self.latents.items(), values, strict=True)
        }

    @abc.abstractmethod
    def canvas(self, latents: dict[str, tf.Tensor]) -> tf.Tensor:
        """Draws `latents`, [B, ...]: [B, H, W, C]."""

    @abc.abstractmethod
    def reconstruction(self, scenes: Any) -> tf.Tensor:
        """The canvas of scenes in the graph, as `canvas` draws them."""

    @abc.abstractmethod
    def with_canvas(self, scenes: Any) -> dict[str, np.ndarray]:
        """Fields of scenes in numpy, and their `canvas`."""

    def samples(self, num: int) -> dict[str, np.ndarray]:
        """Scenes of T objects from the prior, with their `canvas`."""
        steps = self.max_objects
        return self.with_canvas(
            self.air.generate(num, num_objects=steps, max_objects=steps)
        )


class ExportableAIR(Exportable):
    """`AIR`, whose scenes have a canvas. `decode` draws on a ground that is given."""

    answers = ANSWERS["AIR"]
    fixed_camera = False
    quantised = frozenset({"FULLY_CONNECTED"})

    def __init__(
        self, air: AIR, max_objects: int, pictures: PictureConfig | None = None
    ):
        super().__init__(air, max_objects)
        if pictures is not None:
            text = pictures_to_json(pictures, air.config.image_shape[:2])
            self.constants[PICTURES.name] = np.array([text.encode()], object)
        size = air.config.z_what_size
        self.latents = {
            "z_where": Latent((max_objects, 3), -_MAX_SHIFT, _MAX_SHIFT),
            "z_what": Latent((max_objects, size), -_MAX_CODE, _MAX_CODE),
            "presence": Latent((max_objects,), 0.0, 1.0),
        }
        self.heads = HEAD_OUTPUTS | {2 * size}
        if code_size(air.config):
            shape = air.config.image_shape
            self.latents["ground"] = Latent(shape, -_MAX_LIGHT, _MAX_LIGHT)
            self.heads |= ground_outputs(air.config)

    def canvas(self, latents):
        return self.air.decode(
            latents["z_where"],
            latents["z_what"],
            latents["presence"],
            latents.get("ground"),
        )

    def drawn_scenes(self, latents: dict[str, tf.Tensor]) -> Scenes:
        """The scenes of `latents`, which a .tflite file draws."""
        return self.air.drawn_scenes(
            latents["z_where"],
            latents["z_what"],
            latents["presence"],
            latents.get("ground"),
        )

    def reconstruction(self, scenes: Scenes):
        return scenes.canvas

    def with_canvas(self, scenes: Scenes):
        return scenes._asdict()


class ExportableAIR3D(Exportable):
    """`AIR3D`: a graph can draw only with the renderer in TensorFlow."""

    answers = ANSWERS["AIR3D"]
    fixed_camera = True
    quantised = frozenset({"FULLY_CONNECTED", "CONV_2D"})

    def __init__(self, air: AIR3D, max_objects: int):
        super().__init__(air, max_objects)
        config = air.config
        if isinstance(config.renderer, AnalyticConfig):
            farthest = config.tabletop.reach * config.max_coordinate
            self.latents = {
                "kind": Latent((max_objects,), 0, config.num_kinds - 1, tf.int32),
                "position": Latent((max_objects, 2), -farthest, farthest),
                "yaw": Latent((max_objects,), -_MAX_YAW, _MAX_YAW),
                "presence": Latent((max_objects,), 0.0, 1.0),
            }
        kinds = kinds_of(config)
        assert kinds is not None
        self.constants = {
            "kind_names": np.array([name.encode() for name in kinds.names], object),
            "kind_symmetries": np.array(kinds.symmetries, np.int32),
        }
        self.heads = head_outputs(config)

    def canvas(self, latents):
        return self.air.render(
            latents["kind"], latents["position"], latents["yaw"], latents["presence"]
        )

    def reconstruction(self, scenes: Scenes3D):
        return self.canvas({name: getattr(scenes, name) for name in self.latents})

    def with_canvas(self, scenes: Scenes3D):
        """The canvas is the empty table if no exported graph can draw."""
        if self.latents:
            canvas = self.air.draw(scenes)
        else:
            num = len(scenes.num_objects)
            canvas = np.tile(self.air.ground.numpy(), (num, 1, 1, 1))
        return {**scenes._asdict(), "canvas": canvas}


def exportable(
    air: AIR | AIR3D, max_objects: int, pictures: PictureConfig | None = None
) -> Exportable:
    """The model with T = `max_objects`, and its settings of pictures of any size."""
    if isinstance(air, AIR):
        return ExportableAIR(air, max_objects, pictures)
    return ExportableAIR3D(air, max_objects)
