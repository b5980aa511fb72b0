"""Reads models that this or an earlier version saved with Keras."""

import io
import json
import os
import pathlib
import tempfile
import zipfile
import zlib

import h5py
import keras

from air_tf.config import AIRConfig
from air_tf.config.upgrade import WEIGHTS_VERSION, version_of
from air_tf.errors import InputError
from air_tf.files import reading, reading_stored
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MAX_BYTES = {_CONFIG: 2**24, _WEIGHTS: 2**32}
# Raised by zipfile, zlib, json, h5py and Keras for files that are not what they seem.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
# Paths of weights in a file: in format 1, and in format 2.
_MOVED = {
    "attend/_cells": "attend/search/_cells",
    "attend/_where_head": "attend/search/_where_head",
    "attend/_lstm/_image_gates": "attend/search/_lstm/_image_dense",
    "attend/_lstm/_latent_gates": "attend/search/_lstm/_latent_gates",
    "attend/_lstm/_state_gates": "attend/search/_lstm/_state_gates",
    "attend/_encoder": "attend/encoder",
    "decoder": "generative/decoder",
    "vars": "generative/vars",
}


def read_model(path: str | os.PathLike) -> AIR | AIR3D:
    """The model in a .keras file.

    Raises:
      InputError: for a file that can't be read, holds another model, or was written
        by a version of air_tf whose settings this version can't read.
    """
    path = pathlib.Path(path)
    with reading(path):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        is_archive = zipfile.is_zipfile(path)
    if not is_archive:
        raise InputError(f"{path} can't be read: not a Keras model, or a broken one")
    try:
        with reading_stored(path):
            saved = _saved_config(path)
            if saved is not None and version_of(saved["config"]) < WEIGHTS_VERSION:
                return _upgraded(path, saved)
            model = keras.saving.load_model(path)
    except InputError:
        raise
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} can't be read ({reason})") from None
    if not isinstance(model, (AIR, AIR3D)):
        raise InputError(f"{path} is not an AIR model")
    return model


def _saved_config(path: pathlib.Path) -> dict | None:
    """Keras' config of the AIR model in a file; None for another model."""
    saved = json.loads(_member(path, _CONFIG))
    return saved["config"] if saved.get("registered_name") == "air_tf>AIR" else None


def _upgraded(path: pathlib.Path, saved: dict) -> AIR:
    """Reads the model in a file of format 1."""
    dtype = saved["dtype"]["config"]["name"]
    air = AIR(AIRConfig.from_dict(saved["config"]), dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        moved = pathlib.Path(folder) / _WEIGHTS
        content = io.BytesIO(_member(path, _WEIGHTS))
        with h5py.File(content, "r") as old, h5py.File(moved, "w") as new:
            for source, target in _MOVED.items():
                # A link could lead to another file.
                if isinstance(old.get(source, getlink=True), h5py.HardLink):
                    old.copy(source, new, name=target)
        air.load_weights(moved)
    return air


def _member(path: pathlib.Path, name: str) -> bytes:
    """A file in the archive, of bounded size."""
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(name).file_size
        if size > _MAX_BYTES[name]:
            raise InputError(
                f"{name} has {size} bytes; expected at most {_MAX_BYTES[name]}"
            )
        return archive.read(name)
