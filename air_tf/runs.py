"""A training run: its folder, settings, model and images.

The folder holds

- config.json: all settings, package versions, fingerprint of the user's images
- metrics.csv: a row for every evaluation on validation images
- checkpoints/latest.weights.h5: weights and optimizer state, to resume from
- checkpoints/best.weights.h5: weights with the best held-out ELBO
- logs/: TensorBoard
- frames/: of the film, until the training ends
- model.keras, metrics.json, reconstructions.png, training_curve.png, samples.png,
  learning.gif and learning.png, written after the last training step
"""

import contextlib
import csv
import os
import pathlib
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from air_tf.config import AIR3DConfig, RunConfig, differing_settings
from air_tf.config.checks import one_of
from air_tf.config.upgrade import VERSION, version_of
from air_tf.errors import InputError
from air_tf.files import (
    as_read_from_json,
    read_json,
    reading,
    reading_stored,
    replacing,
    write_json,
)
from air_tf.pretrained import folder_of, is_pretrained, list_pretrained
from air_tf.structs import ImageSet

# TensorFlow takes seconds to import, and settings don't need it. So the functions below
# import models, and what reads images, where they need them.
if TYPE_CHECKING:
    from air_tf.model.air import AIR
    from air_tf.model.air3d import AIR3D

_PACKAGES = ("air_tf", "tensorflow", "keras", "tensorflow-probability", "numpy")
# Disk space of a run, in copies of the weights: two checkpoints with Adam's two
# moments, a third during writing, the model and the logs.
_CHECKPOINT_COPIES = 12
_FIELD = "model_dir"


class RunDir:
    """The paths of a run's files, and functions that read and write them.

    Args:
      path: the folder; or the name of a model that comes with the package, see
        `air_tf.pretrained`.

    Raises:
      InputError: for a name that there is no model of.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = folder_of(path) if is_pretrained(path) else pathlib.Path(path)
        self.config_file = self.path / "config.json"
        self.metrics_csv = self.path / "metrics.csv"
        self.metrics_json = self.path / "metrics.json"
        self.latest = self.path / "checkpoints" / "latest.weights.h5"
        self.best = self.path / "checkpoints" / "best.weights.h5"
        self.logs = self.path / "logs"
        self.model_file = self.path / "model.keras"
        self.reconstructions = self.path / "reconstructions.png"
        self.training_curve = self.path / "training_curve.png"
        self.samples = self.path / "samples.png"
        self.frames = self.path / "frames"
        self.film = self.path / "learning.gif"
        self.film_strip = self.path / "learning.png"

    def open(
        self, config: RunConfig, data_fingerprint: str | None, num_weights: int
    ) -> None:
        """Starts a run in this folder, or checks that its run can be resumed.

        Args:
          config: of the run.
          data_fingerprint: of the user's own images; None for a dataset.
          num_weights: number of weights of the model, to check the free disk space.

        Raises:
          InputError: if the folder holds a run with another config or other files,
            can't be written to, or has too little free space.
        """
        wanted = {
            **as_read_from_json(config.to_dict()),
            "data_fingerprint": data_fingerprint,
        }
        with reading(self.path, field=_FIELD):
            if self.config_file.exists():
                self._require_same(wanted)
                if self.metrics_json.exists():
                    return  # nothing will be written
            elif self.path.exists() and not self.path.is_dir():
                raise InputError(
                    f"{self.path} is a file; expected a folder", field=_FIELD
                )
            elif any(not path.is_dir() for path in self.path.rglob("*")):
                raise InputError(
                    f"{self.path} is not empty and holds no config.json; expected a "
                    "new folder or that of a run",
                    field=_FIELD,
                )
        self._require_writable()
        needed = _CHECKPOINT_COPIES * 4 * num_weights
        free = shutil.disk_usage(self.path).free
        if not self.model_file.exists() and free < needed:
            raise InputError(
                f"{self.path} has {free // 2**20} MiB free; a run needs "
                f"{needed // 2**20 + 1}",
                field=_FIELD,
            )
        if not self.config_file.exists():
            about = {"versions": versions(), "machine": platform.platform()}
            write_json(self.config_file, wanted | about)

    def _require_writable(self) -> None:
        """Raises InputError where files can't be made."""
        probe = self.path / "write_test"
        try:
            self.latest.parent.mkdir(parents=True, exist_ok=True)
            self.frames.mkdir(exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"{self.path} can't be written to ({error.strerror})", field=_FIELD
            ) from None

    def _require_same(self, wanted: Mapping[str, Any]) -> None:
        """Raises InputError for a run with other settings, or that can't be resumed."""
        stored = self._read_config_file()
        found = as_read_from_json(self.read_config().to_dict())
        differing = differing_settings(wanted, found)
        if stored.get("data_fingerprint") != wanted["data_fingerprint"]:
            differing.append("the images themselves")
        if differing:
            raise InputError(
                f"{self.path} holds a run of another config, which differs in "
                f"{', '.join(differing)}; expected the same or another `model_dir`",
                field=_FIELD,
            )
        if version_of(stored) < VERSION and not self.metrics_json.exists():
            raise InputError(
                f"{self.path} holds an unfinished run of an earlier version of air_tf, "
                "which can't be resumed; expected another `model_dir`",
                field=_FIELD,
            )

    def read_config(self) -> RunConfig:
        """The config of the run in this folder.

        Raises:
          InputError: if there is no run, or one of a version of air_tf whose settings
            this version can't read.
        """
        found = self._read_config_file()
        parts = ("model", "data", "training")
        missing = [name for name in parts if not isinstance(found.get(name), dict)]
        if missing:
            raise InputError(f"{self.config_file} has no field {', '.join(missing)}")
        with reading_stored(self.config_file):
            return RunConfig.from_dict(found)

    def read_versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that the run was started with."""
        return self._read_config_file().get("versions", {})

    def read_data_fingerprint(self) -> str | None:
        """Of the user's own images that the run was trained on; None for a dataset."""
        return self._read_config_file().get("data_fingerprint")

    def _read_config_file(self) -> dict[str, Any]:
        with reading(self.path, field=_FIELD):
            found = self.config_file.is_file()
        if not found:
            raise InputError(
                f"{self.path} holds no config.json; expected the folder of a run, or "
                f"{one_of(list_pretrained())}",
                field=_FIELD,
            )
        return read_json(self.config_file)

    def require_model(self, *, in_2d: bool = False) -> RunConfig:
        """Checks that there is a trained model, without reading it.

        Args:
          in_2d: whether it must be of two-dimensional scenes.

        Returns:
          The config of the run.

        Raises:
          InputError: if there is none.
        """
        config = self.read_config()
        if not self.model_file.is_file():
            raise InputError(
                f"{self.path} holds no model.keras; its training has not ended yet, "
                "run scripts/train.py again to resume it",
                field=_FIELD,
            )
        if in_2d and isinstance(config.model, AIR3DConfig):
            raise InputError(
                f"{self.path} is a run of 3D scenes; expected one of two-dimensional "
                "scenes",
                field=_FIELD,
            )
        return config

    def load_air(self) -> "AIR":
        """The trained model of two-dimensional scenes.

        Raises:
          InputError: if there is none, or it can't be read.
        """
        self.require_model(in_2d=True)
        model: Any = self.load_model()
        return model

    def load_model(self, proposals: int | None = None) -> "AIR | AIR3D":
        """The trained model.

        Args:
          proposals: K, see `AIR.with_proposals`; that of training if omitted.

        Raises:
          InputError: if there is no model, or it can't be read; or for `proposals`
            that it can't have.
        """
        self.require_model()
        from air_tf.model.air import AIR
        from air_tf.model.saving import read_model

        model = read_model(self.model_file)
        number = model.config.num_proposals(proposals)
        return model.with_proposals(number) if isinstance(model, AIR) else model

    def load_images(
        self,
        splits: Sequence[str],
        *,
        data_dir: str | None = None,
        with_details: Sequence[str] = (),
    ) -> dict[str, ImageSet]:
        """Loads splits of the run's dataset.

        Args:
          splits: names in `SPLITS`.
          data_dir: of TFDS; TFDS' default if omitted.
          with_details: splits that also get labels and segmentation.

        Returns:
          Images by the name of their split.

        Raises:
          InputError: if the run or its images can't be read.
        """
        return load_images(
            self.read_config(), splits, data_dir=data_dir, with_details=with_details
        )

    def copy_to(self, path: pathlib.Path) -> None:
        """Copies config.json, model.keras and metrics.json to a new folder."""
        path.mkdir(parents=True)
        for file in (self.config_file, self.model_file, self.metrics_json):
            shutil.copyfile(file, path / file.name)

    def read_metrics_json(self) -> dict[str, Any]:
        return read_json(self.metrics_json)

    def read_metrics_csv(self) -> list[dict[str, float | None]]:
        """The rows of metrics.csv; unavailable metrics are None."""
        if not self.metrics_csv.exists():
            return []
        with (
            reading(self.metrics_csv),
            open(self.metrics_csv, newline="", encoding="utf-8") as file,
        ):
            try:
                return [
                    {key: _number(key, value) for key, value in row.items()}
                    for row in csv.DictReader(file)
                ]
            except (ValueError, TypeError, csv.Error) as error:
                raise InputError(f"{self.metrics_csv} is damaged ({error})") from None

    def frame(self, step: int) -> pathlib.Path:
        """The frame of the film after so many steps."""
        return self.frames / f"{step:09d}.png"

    def read_frames(self) -> list[pathlib.Path]:
        """Frames of the film in the order of steps; none after the training's end."""
        return sorted(self.frames.glob("[0-9]*.png"))

    def write_metrics_csv(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with (
            replacing(self.metrics_csv) as temporary,
            open(temporary, "w", newline="") as file,
        ):
            names = dict.fromkeys(key for row in rows for key in row)
            writer = csv.DictWriter(file, fieldnames=list(names))
            writer.writeheader()
            writer.writerows(rows)


def _number(name: str, text: str) -> float | None:
    if not text:
        return None
    return int(float(text)) if name == "step" else float(text)


def versions() -> dict[str, str]:
    """Of Python and of the packages that a run depends on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def make_model(config: RunConfig) -> "AIR | AIR3D":
    """A new model with the run's initial weights.

    Raises:
      InputError: for a renderer that can't be started.
    """
    import keras

    from air_tf.model.air import AIR
    from air_tf.model.air3d import AIR3D

    keras.utils.set_random_seed(config.training.seed)
    policy = "mixed_bfloat16" if config.training.mixed_precision else "float32"
    if isinstance(config.model, AIR3DConfig):
        return AIR3D.of_table(config.model, dtype=policy)
    return AIR(config.model, dtype=policy)


def load_images(
    config: RunConfig,
    splits: Sequence[str],
    *,
    data_dir: str | None = None,
    with_details: Sequence[str] = (),
) -> dict[str, ImageSet]:
    """Loads splits of a run's dataset, see `RunDir.load_images`."""
    from air_tf.data import sources

    return sources.load_splits(
        config.data,
        splits,
        image_shape=config.model.image_shape,
        data_dir=data_dir,
        with_details=with_details,
        of_one_camera=isinstance(config.model, AIR3DConfig),
        pictures=config.pictures,
    )


def load_model(path: str | os.PathLike) -> "AIR | AIR3D":
    """The trained model of a run.

    Args:
      path: the folder of a run, or its model.keras; or the name of a model that comes
        with the package, such as "pretrained:default", see `list_pretrained`.

    Raises:
      InputError: if there is no model, or it can't be read.
    """
    from air_tf.model.saving import read_model

    with reading(path):
        is_file = pathlib.Path(path).is_file()
    return read_model(path) if is_file else RunDir(path).load_model()
