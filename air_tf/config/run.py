"""All settings of a training run."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from air_tf.config import checks, upgrade
from air_tf.config.canvas import AdditiveConfig
from air_tf.config.checks import setting
from air_tf.config.datasets import BUILDERS, USER_SOURCES
from air_tf.config.model import INFERENCES, MAX_OBJECTS, AIRConfig
from air_tf.config.model3d import AIR3DConfig
from air_tf.config.objectives import (
    OBJECTIVES,
    OBJECTIVES_3D,
    EnumerationConfig,
    ObjectiveConfig,
)
from air_tf.config.pictures import PictureConfig
from air_tf.config.renderers import BlackBoxConfig
from air_tf.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images that a run is trained and tested on."""

    dataset: str = setting(
        "multi_digits",
        f"{checks.one_of(BUILDERS)}, optionally with a configuration, as in "
        "multi_mnist/0-3; or your own pictures: file (--data_file) or folder "
        "(--image_dir).",
    )
    data_file: str | None = setting(
        None,
        "For --dataset=file: an .npz file with the array image, [N, H, W] or "
        "[N, H, W, C], uint8 or float in [0, 1], and optionally count, [N].",
    )
    image_dir: str | None = setting(
        None,
        "For --dataset=folder: a folder of PNG, JPEG and TIFF files of any size. For "
        "3D scenes, PNG and JPEG files, which are resized to --image_shape.",
    )

    def __post_init__(self):
        checks.require(isinstance(self.dataset, str), self, "dataset", "a name")
        for dataset, name in USER_SOURCES.items():
            given = getattr(self, name)
            if self.dataset == dataset and not given:
                text = f"is missing; expected a path with `dataset` {dataset}"
                raise InputError(text, field=name)
            if self.dataset != dataset:
                expected = f"nothing unless `dataset` is {dataset}"
                checks.require(given is None, self, name, expected)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained."""

    objective: ObjectiveConfig = setting(
        EnumerationConfig(),
        "The bound that is maximised, and the estimator of its gradient: "
        f"{checks.one_of(name for name in OBJECTIVES if name not in OBJECTIVES_3D)}; "
        f"for 3D scenes {checks.one_of(OBJECTIVES_3D)}.",
    )
    steps: int = setting(2700, "Number of training steps.")
    batch_size: int = setting(64, "Number of images in a training step.")
    learning_rate: float = setting(
        1.5e-3, "Learning rate of Adam: constant at first, then a cosine decay."
    )
    constant_rate_share: float = setting(
        0.5, "Share of the training steps with a constant learning rate."
    )
    final_rate_share: float = setting(
        0.1, "Learning rate at the end of training, relative to that at the start."
    )
    seed: int = setting(0, "Seed of initial weights, batches and samples of q.")
    steps_per_evaluation: int = setting(
        300,
        "Training steps between evaluations on validation images. A checkpoint is "
        "written after each evaluation.",
    )
    num_validation_images: int = setting(
        1000,
        "Number of validation images. The weights with their best ELBO are kept.",
    )
    num_prior_images: int = setting(
        10_000,
        "Number of training images that p(n) and p(z_where) of generated scenes are "
        "fitted to.",
    )
    min_fitted_where_scale: float = setting(
        1e-3, "Lower bound of the standard deviations of the fitted p(z_where)."
    )
    max_unrolled_steps: int = setting(
        8,
        "If T is at most this, the attend loop is unrolled in training, which compiles "
        "more slowly and runs faster.",
    )
    jit_compile: bool = setting(
        True,
        "Compile the training step with XLA: starts more slowly, runs faster. "
        "--renderer=black_box turns this off: XLA can't compile it.",
    )
    mixed_precision: bool = setting(
        False, "Compute the layers of networks in bfloat16; for GPUs."
    )

    def __post_init__(self):
        checks.require(
            type(self.objective) in OBJECTIVES.values(),
            self,
            "objective",
            checks.one_of(cls.__name__ for cls in OBJECTIVES.values()),
        )
        for name in (
            "steps",
            "batch_size",
            "steps_per_evaluation",
            "num_validation_images",
            "num_prior_images",
        ):
            checks.require_int(self, name, 1)
        checks.require_int(self, "max_unrolled_steps", 0)
        checks.require_int(self, "seed", 0)
        checks.require(self.seed < 2**31, self, "seed", "less than 2 ** 31")
        for name in ("learning_rate", "min_fitted_where_scale"):
            checks.require_positive(self, name)
        checks.require_share(self, "constant_rate_share")
        checks.require_share(self, "final_rate_share")
        for name in ("jit_compile", "mixed_precision"):
            checks.require_bool(self, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of a run."""

    model: AIRConfig | AIR3DConfig = AIRConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    # Of runs that cut windows from pictures of any size. Those of earlier versions, and
    # of 3D scenes, resize the pictures of a folder to the canvas.
    pictures: PictureConfig | None = None

    def __post_init__(self):
        # Refuses what does not go with the form of inference.
        _ = self.objective
        self._check_pictures()
        if not isinstance(self.model, AIR3DConfig):
            return
        if (
            isinstance(self.model.renderer, BlackBoxConfig)
            and self.training.jit_compile
        ):
            raise InputError(
                "is true; expected false with `renderer` black_box, which runs in "
                "another process",
                field="jit_compile",
            )

    def _check_pictures(self) -> None:
        if self.pictures is None:
            return
        if self.data.dataset != "folder" or isinstance(self.model, AIR3DConfig):
            raise InputError(
                "is given; expected nothing unless `dataset` is folder, with a model "
                "of two-dimensional scenes",
                field="pictures",
            )
        height, width, channels = self.model.image_shape
        if channels != 1:
            raise InputError(
                f"is {height},{width},{channels}; expected 1 as the last number, since "
                "pictures of any size are read in grey, or one channel of them",
                field="image_shape",
            )
        size = self.pictures.object_size
        if size is not None and self.pictures.binned_sizes[1] >= min(height, width):
            raise InputError(
                f"is {size[0]:g},{size[1]:g}; expected a largest size below "
                f"{min(height, width) * self.pictures.binning}, the canvas",
                field="object_size",
            )

    @property
    def objective(self) -> ObjectiveConfig:
        """Settings of the objective, with the defaults for settings that are None."""
        objective = self.training.objective
        chosen = checks.choice_name(objective, OBJECTIVES)
        if isinstance(self.model, AIR3DConfig):
            if chosen in OBJECTIVES_3D:
                return objective
            expected = f"{checks.one_of(OBJECTIVES_3D)} for 3D scenes"
            raise InputError(f"is {chosen}; expected {expected}", field="objective")
        if chosen in OBJECTIVES_3D:
            others = [name for name in OBJECTIVES if name not in OBJECTIVES_3D]
            raise InputError(
                f"is {chosen}, for 3D scenes; expected {checks.one_of(others)}",
                field="objective",
            )
        if not isinstance(objective, EnumerationConfig):
            return objective
        if objective.move_blank_steps and self.model.composition != AdditiveConfig():
            raise InputError(
                "is true; expected false with `composition` alpha: blank steps are "
                "only known where objects add light",
                field="move_blank_steps",
            )
        name = checks.choice_name(self.model.inference, INFERENCES)
        return objective.for_inference(name)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, with the version of its format."""
        training = dataclasses.asdict(self.training)
        training["objective"] = checks.to_choice(self.objective, OBJECTIVES)
        return {
            "version": upgrade.VERSION,
            "model": self.model.to_dict(),
            "data": dataclasses.asdict(self.data),
            "training": training,
            "pictures": None if self.pictures is None else self.pictures.to_dict(),
        }

    def prediction_steps(self, max_objects: int | None = None) -> int:
        """T in predictions: `max_objects`, or the default if None.

        It is that of training; twice as much for windows of pictures, of which few are
        crowded, so that training can do with less.

        Raises:
          InputError: if it is not a whole number of at least 1.
        """
        usual = self.model.max_objects
        if max_objects is None and self.pictures is not None:
            return min(2 * usual, MAX_OBJECTS)
        return self.model.num_steps(max_objects)

    def with_image_shape(self, shape: tuple[int, int, int]) -> "RunConfig":
        """A copy with another canvas, (H, W, C)."""
        model = dataclasses.replace(self.model, image_shape=shape)
        return dataclasses.replace(self, model=model)

    def with_data(self, changes: Mapping[str, Any]) -> "RunConfig":
        """A copy with other images.

        Args:
          changes: fields of `DataConfig`. Without "dataset", they override those of
            this config.

        Raises:
          InputError: for fields that do not go together.
        """
        if "dataset" not in changes:
            changes = {**dataclasses.asdict(self.data), **changes}
        data = DataConfig(**changes)
        pictures = self.pictures if data.dataset == "folder" else None
        return dataclasses.replace(self, data=data, pictures=pictures)

    def with_training(self, **changes: Any) -> "RunConfig":
        """A copy with some settings of training replaced."""
        training = dataclasses.replace(self.training, **changes)
        return dataclasses.replace(self, training=training)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Reads the result of `to_dict`, of this or an earlier version.

        Raises:
          InputError: for a later version, or unknown or invalid settings.
        """
        parts = upgrade.run_settings(values)
        # First, since the form of inference chooses defaults of the objective.
        form = AIR3DConfig if "tabletop" in parts["model"] else AIRConfig
        model = form.from_dict(parts["model"])
        training = parts["training"]
        training["objective"] = checks.from_choice(
            training.get("objective"), OBJECTIVES, field="objective"
        )
        return cls(
            model=model,
            data=DataConfig(**checks.stored_fields(DataConfig, parts["data"])),
            training=TrainingConfig(**checks.stored_fields(TrainingConfig, training)),
            pictures=None
            if parts["pictures"] is None
            else PictureConfig.from_dict(parts["pictures"]),
        )


def differing_settings(wanted: Mapping, found: Mapping) -> list[str]:
    """The settings that differ between two results of `RunConfig.to_dict`.

    The paths of the user's images are ignored: their content is compared by its
    fingerprint, see `RunDir.open`.

    Args:
      wanted: of the run to start or resume.
      found: of the run that exists.

    Returns:
      For each setting, its name and both values, as text for a message; of a scene,
      only the name.
    """
    wanted, found = _flat(wanted), _flat(found)
    return [
        # The description of a scene is longer than a message.
        name
        if name == "tabletop"
        else f"{name} (there {found.get(name)!r}, here {wanted.get(name)!r})"
        for name in sorted({*wanted, *found})
        if name not in ("data_file", "image_dir")
        and wanted.get(name) != found.get(name)
    ]


def _flat(values: Mapping) -> dict[str, Any]:
    """All settings in one dictionary; those of a choice beside the choice's name."""
    flat = {}
    for part in ("model", "data", "training", "pictures"):
        for name, value in (values.get(part) or {}).items():
            if isinstance(value, Mapping) and name != "tabletop":
                flat[name] = value.get("name")
                flat |= {key: one for key, one in value.items() if key != "name"}
            else:
                flat[name] = value
    return flat
