"""Settings: every default is written once, here, and checked when it is set.

A field's `help` metadata is also the text that `--help` shows for its flag.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from air_tf.errors import InputError

OBJECTIVES = ("enumeration", "nvil", "reinforce", "vimco", "concrete", "iwae")
MULTI_SAMPLE_OBJECTIVES = ("vimco", "iwae")
INFERENCES = ("difference", "recurrent")
BACKGROUNDS = ("black", "plain", "gradient", "texture")
_NUM_PARTICLES = 5


def _setting(default: Any, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help})


def _require(ok: bool, config: Any, name: str, expected: str) -> None:
    if not ok:
        raise InputError(f"{name} is {getattr(config, name)!r}; expected {expected}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def _require_int(config: Any, name: str, minimum: int) -> None:
    value = getattr(config, name)
    _require(
        _is_int(value) and value >= minimum,
        config,
        name,
        f"a whole number of at least {minimum}",
    )


def _require_positive(config: Any, name: str) -> None:
    value = getattr(config, name)
    _require(_is_number(value) and value > 0, config, name, "a number above 0")


def _require_ints(config: Any, name: str, length: int | None, minimum: int = 1) -> None:
    values = getattr(config, name)
    _require(
        isinstance(values, tuple)
        and (length is None or len(values) == length)
        and all(_is_int(v) and v >= minimum for v in values),
        config,
        name,
        f"a tuple of {'' if length is None else f'{length} '}whole numbers of at least "
        f"{minimum}",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AIRConfig:
    """The model: sizes of its networks, its priors and its likelihood.

    The window `z_where` is (scale, shift_y, shift_x): scale is the size of the
    window over the size of the canvas, the shifts lie in [-1, 1].
    """

    image_shape: tuple[int, int, int] = _setting(
        (50, 50, 1), "Canvas: height, width and channels."
    )
    max_objects: int = _setting(
        3, "T, the most objects that the model looks for in one image."
    )
    glimpse_size: tuple[int, int] = _setting(
        (28, 28), "Height and width of a glimpse, in pixels."
    )
    z_what_size: int = _setting(50, "D, the size of an object's appearance code.")
    inference: str = _setting(
        "difference",
        "What a step remembers: what has been drawn so far, which it subtracts from "
        "the image (difference), or an LSTM's state (recurrent).",
    )
    look_pooling: int = _setting(
        2,
        "The network that decides where to look sees the mean of each square of so "
        "many pixels a side; glimpses are always read at full resolution.",
    )
    look_units: tuple[int, ...] = _setting(
        (64, 64),
        "Layers of the network that sees the surroundings of every cell of 4 x 4 such "
        "squares, in the difference form.",
    )
    recurrent_units: int = _setting(
        256, "Units of the LSTM that decides where to look, in the recurrent form."
    )
    where_units: tuple[int, ...] = _setting(
        (200,),
        "Hidden layers from a glimpse (difference) or the LSTM (recurrent) to z_where.",
    )
    encoder_units: tuple[int, ...] = _setting(
        (200,), "Hidden layers of the glimpse encoder, q(z_what | glimpse)."
    )
    decoder_units: tuple[int, ...] = _setting(
        (200,), "Hidden layers of the glimpse decoder, p(glimpse | z_what)."
    )
    decoder_bias: float = _setting(
        -2.0, "Initial bias of the decoder's output: objects start out dark."
    )
    likelihood_scale: float = _setting(
        0.3, "sigma, the standard deviation of p(x | z) for each pixel."
    )
    count_decay: float = _setting(
        0.01, "p(n) is proportional to count_decay ** n: what one more object costs."
    )
    where_prior_loc: tuple[float, float, float] = _setting(
        (0.35, 0.0, 0.0), "Mean of p(z_where)."
    )
    where_prior_scale: tuple[float, float, float] = _setting(
        (0.1, 0.5, 0.5), "Standard deviation of p(z_where)."
    )

    def __post_init__(self):
        _require_ints(self, "image_shape", 3, minimum=1)
        _require(
            self.inference in INFERENCES, self, "inference", " or ".join(INFERENCES)
        )
        _require_ints(self, "look_units", None)
        _require(len(self.look_units) > 0, self, "look_units", "at least one")
        _require_int(self, "max_objects", 1)
        _require_ints(self, "glimpse_size", 2)
        for name in ("look_pooling", "z_what_size", "recurrent_units"):
            _require_int(self, name, 1)
        for name in ("where_units", "encoder_units", "decoder_units"):
            _require_ints(self, name, None)
        _require(_is_number(self.decoder_bias), self, "decoder_bias", "a finite number")
        _require_positive(self, "likelihood_scale")
        _require(
            _is_number(self.count_decay) and 0 < self.count_decay <= 1,
            self,
            "count_decay",
            "a number above 0 and at most 1",
        )
        for name in ("where_prior_loc", "where_prior_scale"):
            values = getattr(self, name)
            _require(
                isinstance(values, tuple)
                and len(values) == 3
                and all(_is_number(v) for v in values),
                self,
                name,
                "3 finite numbers: scale, shift_y, shift_x",
            )
        _require(
            0 < self.where_prior_loc[0] < 1,
            self,
            "where_prior_loc",
            "a scale between 0 and 1 as the first number",
        )
        _require(
            min(self.where_prior_scale) > 0,
            self,
            "where_prior_scale",
            "standard deviations above 0",
        )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AIRConfig":
        """Reads what `to_dict` gave, also after a round trip through JSON."""
        return cls(**_known_fields(cls, values))


def _known_fields(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - names)
    if unknown:
        raise InputError(f"{cls.__name__} has no field {', '.join(unknown)}")
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def _require_scene(config: Any) -> None:
    """Checks what all kinds of scenes have."""
    _require_ints(config, "counts", None, minimum=0)
    _require(len(config.counts) > 0, config, "counts", "at least one number")
    _require_ints(config, "canvas_size", 2)
    _require_int(config, "seed", 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """How scenes are composed of single objects."""

    counts: tuple[int, ...] = _setting(
        (0, 1, 2), "Numbers of objects, equally probable."
    )
    canvas_size: tuple[int, int] = _setting((50, 50), "Height and width in pixels.")
    shrink: tuple[float, float] = _setting(
        (1.3, 0.1), "Mean and deviation of what a picture's size is divided by."
    )
    overlap: bool = _setting(
        False,
        "Objects may overlap as long as no pixel saturates, and are placed with "
        "their margins; otherwise their ink boxes never overlap and lie anywhere.",
    )
    seed: int = _setting(0, "Seed of the scenes.")

    def __post_init__(self):
        _require_scene(self)
        _require(
            len(self.shrink) == 2
            and all(_is_number(v) for v in self.shrink)
            and self.shrink[0] > 0
            and self.shrink[1] >= 0,
            self,
            "shrink",
            "a mean above 0 and a standard deviation",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpriteConfig:
    """How scenes of coloured shapes are drawn."""

    counts: tuple[int, ...] = _setting(
        (0, 1, 2, 3), "Numbers of objects, equally probable."
    )
    canvas_size: tuple[int, int] = _setting((50, 50), "Height and width in pixels.")
    size: tuple[float, float] = _setting(
        (10.0, 20.0),
        "Smallest and largest side of the square that a shape fills, in pixels; all "
        "sizes between are equally probable.",
    )
    rotation: bool = _setting(False, "Shapes are turned by any angle.")
    overlap: bool = _setting(
        False,
        "Objects may hide a part of those drawn before them, at most "
        "two thirds; otherwise their boxes never overlap.",
    )
    background: str = _setting("black", f"{', '.join(BACKGROUNDS)}.")
    seed: int = _setting(0, "Seed of the scenes.")

    def __post_init__(self):
        _require_scene(self)
        _require(
            len(self.size) == 2
            and all(_is_number(v) for v in self.size)
            and 1 <= self.size[0] <= self.size[1],
            self,
            "size",
            "two numbers of pixels, the smaller first",
        )
        for name in ("rotation", "overlap"):
            _require(isinstance(getattr(self, name), bool), self, name, "true or false")
        _require(
            self.background in BACKGROUNDS, self, "background", ", ".join(BACKGROUNDS)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where images come from."""

    dataset: str = _setting(
        "multi_digits",
        "multi_digits, multi_mnist, multi_omniglot or sprites, also with a "
        "configuration, as in multi_mnist/0-3; or your own pictures: file "
        "(--data_file) or folder (--image_dir).",
    )
    data_file: str | None = _setting(
        None,
        "For --dataset=file: an .npz file with image, [N, H, W] or [N, H, W, C], "
        "uint8 or float in [0, 1], and perhaps count, [N].",
    )
    image_dir: str | None = _setting(
        None,
        "For --dataset=folder: PNG and JPEG files, stretched to --image_shape.",
    )

    def __post_init__(self):
        for dataset, name in (("file", "data_file"), ("folder", "image_dir")):
            given = getattr(self, name)
            if self.dataset == dataset:
                _require(bool(given), self, name, f"a path with --dataset={dataset}")
            else:
                _require(
                    given is None, self, name, f"nothing unless --dataset={dataset}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained."""

    objective: str = _setting(
        "enumeration",
        "What is maximised, and how its gradient is estimated: "
        f"{', '.join(OBJECTIVES)}.",
    )
    num_particles: int | None = _setting(
        None,
        f"Samples an image, for {' and '.join(MULTI_SAMPLE_OBJECTIVES)} only. "
        f"Default: {_NUM_PARTICLES}.",
    )
    steps: int = _setting(2700, "Gradient steps.")
    batch_size: int = _setting(64, "Images in a step.")
    learning_rate: float = _setting(
        1.5e-3,
        "Of Adam; constant for half of the steps, then a cosine down to a tenth.",
    )
    seed: int = _setting(0, "Seed of weights, batches and samples.")
    steps_per_evaluation: int = _setting(
        300, "Steps between looks at held-out images, each with a checkpoint."
    )
    jit_compile: bool = _setting(
        True, "Compile the training step with XLA: starts later, runs faster."
    )
    mixed_precision: bool = _setting(
        False, "Compute in bfloat16 where that is safe; for GPUs."
    )

    def __post_init__(self):
        _require(
            self.objective in OBJECTIVES,
            self,
            "objective",
            f"{', '.join(OBJECTIVES[:-1])} or {OBJECTIVES[-1]}",
        )
        if self.num_particles is not None:
            _require(
                self.objective in MULTI_SAMPLE_OBJECTIVES,
                self,
                "num_particles",
                f"nothing with objective {self.objective}, which takes one sample",
            )
            _require_int(self, "num_particles", 2)
        for name in ("steps", "batch_size", "steps_per_evaluation"):
            _require_int(self, name, 1)
        _require_int(self, "seed", 0)
        _require(self.seed < 2**31, self, "seed", "less than 2 ** 31")
        _require_positive(self, "learning_rate")
        for name in ("jit_compile", "mixed_precision"):
            _require(isinstance(getattr(self, name), bool), self, name, "true or false")

    @property
    def samples_per_image(self) -> int:
        """K, how often a step infers each of its images."""
        if self.objective in MULTI_SAMPLE_OBJECTIVES:
            return self.num_particles or _NUM_PARTICLES
        return 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that a training run is made of."""

    model: AIRConfig = AIRConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def with_image_shape(self, shape: tuple[int, ...]) -> "RunConfig":
        """The same for another canvas."""
        model = dataclasses.replace(self.model, image_shape=tuple(shape))
        return dataclasses.replace(self, model=model)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Reads what `to_dict` gave, also after a round trip through JSON."""
        parts = _known_fields(cls, values)
        return cls(
            model=AIRConfig.from_dict(parts["model"]),
            data=DataConfig(**_known_fields(DataConfig, parts["data"])),
            training=TrainingConfig(**_known_fields(TrainingConfig, parts["training"])),
        )


PRESETS = {
    "default": RunConfig(),
    # Sizes and settings of Eslami et al. 2016, section 3.1 and appendix, as
    # far as they are known, and otherwise of Pyro's examples/air: Adam at
    # 1e-4, a narrow prior on the scale around one object's size.
    "paper": RunConfig(
        model=AIRConfig(
            inference="recurrent",
            look_pooling=1,
            where_prior_loc=(0.35, 0.0, 0.0),
            where_prior_scale=(0.05, 1.0, 1.0),
        ),
        training=TrainingConfig(learning_rate=1e-4, steps=200_000),
    ),
}
