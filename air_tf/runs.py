"""The folder of a run: what is in it, and when it may be used again.

- config.json: all settings, versions, data
- metrics.csv: a row for every evaluation
- checkpoints/latest.weights.h5: weights and optimizer, to resume from
- checkpoints/best.weights.h5: weights with the best held-out ELBO
- logs/: TensorBoard
- model.keras, metrics.json, reconstructions.png, training_curve.png and
  samples.png, written when training has ended
"""

import contextlib
import csv
import os
import pathlib
import platform
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import keras

from air_tf.config import RunConfig
from air_tf.errors import InputError
from air_tf.files import as_read_from_json, read_json, replacing, write_json
from air_tf.model.air import AIR

_PACKAGES = ("air_tf", "tensorflow", "keras", "tensorflow-probability", "numpy")
# Where images lie may change between two parts of a run; what they are may not.
_PATHS = ("data_file", "image_dir")
# Two checkpoints with Adam's moments, one being written, the model and logs.
_CHECKPOINT_COPIES = 12


class RunDir:
    """Paths and files of one run.

    Args:
      path: the folder.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
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

    def open(
        self, config: RunConfig, data_fingerprint: str | None, num_weights: int
    ) -> None:
        """Starts a run in this folder, or takes up the one that is there.

        Args:
          config: of the run.
          data_fingerprint: of a user's own images.
          num_weights: of the model, for the space it will need.

        Raises:
          InputError: if the folder holds a run of another config, or something
            else, or can't be written to.
        """
        wanted = {
            **as_read_from_json(config.to_dict()),
            "data_fingerprint": data_fingerprint,
        }
        if self.config_file.exists():
            _require_same(self.config_file, wanted, read_json(self.config_file))
        elif self.path.exists() and not self.path.is_dir():
            raise InputError(f"model_dir {self.path} is a file; expected a folder")
        elif any(not path.is_dir() for path in self.path.rglob("*")):
            raise InputError(
                f"model_dir {self.path} is not empty and holds no config.json; "
                "expected a new folder or that of a run"
            )
        try:
            self.latest.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path / "write_test") as probe:
                probe.write_text("")
            (self.path / "write_test").unlink()
        except OSError as error:
            raise InputError(
                f"model_dir {self.path} can't be written to ({error.strerror})"
            ) from None
        needed = _CHECKPOINT_COPIES * 4 * num_weights
        free = shutil.disk_usage(self.path).free
        if not self.model_file.exists() and free < needed:
            raise InputError(
                f"model_dir {self.path} has {free // 2**20} MiB free; a run needs "
                f"{needed // 2**20 + 1}"
            )
        if not self.config_file.exists():
            about = {"versions": _versions(), "machine": platform.platform()}
            write_json(self.config_file, wanted | about)

    def read_config(self) -> RunConfig:
        """The config of the run that is here.

        Raises:
          InputError: if there is none.
        """
        found = self._read_config_file()
        parts = ("model", "data", "training")
        missing = [name for name in parts if not isinstance(found.get(name), dict)]
        if missing:
            raise InputError(f"{self.config_file} has no field {', '.join(missing)}")
        return RunConfig.from_dict({name: found[name] for name in parts})

    def read_versions(self) -> dict[str, str]:
        """Of Python and the packages that the run was started with."""
        return self._read_config_file().get("versions", {})

    def read_data_fingerprint(self) -> str | None:
        return self._read_config_file().get("data_fingerprint")

    def _read_config_file(self) -> dict[str, Any]:
        if not self.config_file.is_file():
            raise InputError(
                f"model_dir {self.path} holds no config.json; expected the folder of "
                "a run"
            )
        return read_json(self.config_file)

    def load_model(self) -> AIR:
        """The trained model.

        Raises:
          InputError: if there is none, or it can't be read.
        """
        self.read_config()
        if not self.model_file.is_file():
            raise InputError(
                f"model_dir {self.path} holds no model.keras; its training has not "
                "ended yet, run scripts/train.py again to resume it"
            )
        if not zipfile.is_zipfile(self.model_file):
            raise InputError(
                f"{self.model_file} can't be read: not a Keras model, or a broken one"
            )
        try:
            model = keras.saving.load_model(self.model_file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.model_file} can't be read ({str(error).splitlines()[0]})"
            ) from None
        if not isinstance(model, AIR):
            raise InputError(f"{self.model_file} is not an AIR model")
        return model

    def copy_to(self, path: pathlib.Path) -> None:
        """Copies what is needed to use the model, and its figures."""
        path.mkdir(parents=True)
        for file in (self.config_file, self.model_file, self.metrics_json):
            shutil.copyfile(file, path / file.name)

    def read_metrics_json(self) -> dict[str, Any]:
        return read_json(self.metrics_json)

    def read_metrics_csv(self) -> list[dict[str, float | None]]:
        """Rows of metrics.csv; what was not known is None."""
        if not self.metrics_csv.exists():
            return []
        with open(self.metrics_csv, newline="") as file:
            return [
                {key: _number(key, value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]

    def write_metrics_csv(self, rows: Sequence[Mapping[str, Any]]) -> None:
        with (
            replacing(self.metrics_csv) as temporary,
            open(temporary, "w", newline="") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def differing_settings(wanted: Mapping, found: Mapping) -> list[str]:
    """What differs between two configs as dictionaries, in words."""
    differing = []
    for part in ("model", "data", "training"):
        old, new = found.get(part, {}), wanted[part]
        differing += [
            f"{name} (there {old.get(name)!r}, here {new.get(name)!r})"
            for name in sorted({*old, *new})
            if name not in _PATHS and old.get(name) != new.get(name)
        ]
    return differing


def _require_same(path, wanted: Mapping, found: Mapping) -> None:
    differing = differing_settings(wanted, found)
    if found.get("data_fingerprint") != wanted["data_fingerprint"]:
        differing.append("the images themselves")
    if differing:
        raise InputError(
            f"model_dir {path.parent} holds a run of another config, which differs in "
            f"{', '.join(differing)}; expected the same or another --model_dir"
        )


def _number(name: str, text: str) -> float | None:
    if not text:
        return None
    return int(float(text)) if name == "step" else float(text)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
