"""Attend, Infer, Repeat: counts, locates and encodes objects without labels."""

import importlib
from typing import Any

# Loaded when first used, so that what needs no TensorFlow does not import it.
_HOMES = {
    "AIR": "air_tf.model.air",
    "AIRConfig": "air_tf.config",
    "AIROutput": "air_tf.structs",
    "EdgeModel": "air_tf.deployment.edge",
    "InputError": "air_tf.errors",
    "SceneEditor": "air_tf.inference.editing",
    "Scenes": "air_tf.structs",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
