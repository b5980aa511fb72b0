"""Trained models that come with the package.

Each is the folder of a run without what only training needs: config.json, model.keras
and metrics.json, and README.md, the model's card. `scripts/pretrain.py` makes them.

They are named like the preset that they were trained with, as in
`pretrained:default`, wherever the folder of a run is expected. The prefix tells
them from folders: none is ever taken for the other.
"""

import os
import pathlib

from air_tf.config.checks import one_of
from air_tf.config.presets import PRESETS
from air_tf.errors import InputError

# The presets that a trained model comes with.
NAMES = ("digits_any_size", "default", "sprites_plain", "tetrominoes")
FOLDER = pathlib.Path(__file__).parent
_PREFIX = "pretrained:"


def list_pretrained() -> dict[str, str]:
    """Trained models that come with the package.

    Returns:
      For each model, as `air_tf.load_model` takes it, what its preset is for.
    """
    return {f"{_PREFIX}{name}": PRESETS[name].reason for name in NAMES}


def is_pretrained(path: str | os.PathLike) -> bool:
    """Whether this names a model that comes with the package, and no folder."""
    return os.fspath(path).startswith(_PREFIX)


def folder_of(path: str | os.PathLike) -> pathlib.Path:
    """The folder of the model that `path` names.

    Args:
      path: for which `is_pretrained` is true.

    Raises:
      InputError: if there is no model of this name.
    """
    name = os.fspath(path).removeprefix(_PREFIX)
    if name not in NAMES:
        raise InputError(
            f"is {os.fspath(path)}; expected {one_of(list_pretrained())}",
            field="model_dir",
        )
    return FOLDER / name


def refuse_pretrained(path: str | os.PathLike) -> None:
    """Refuses to train a model that comes with the package.

    Raises:
      InputError: if `path` names one.
    """
    if is_pretrained(path):
        folder_of(path)  # refuses an unknown name
        raise InputError(
            f"is {os.fspath(path)}, which is trained already and stays as it is; "
            "expected the folder of a run",
            field="model_dir",
        )
