"""Attend, Infer, Repeat: counts, locates and encodes objects without labels."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from air_tf.config import AIR3DConfig as AIR3DConfig
    from air_tf.config import AIRConfig as AIRConfig
    from air_tf.config import DataConfig as DataConfig
    from air_tf.config import DifferenceConfig as DifferenceConfig
    from air_tf.config import PictureConfig as PictureConfig
    from air_tf.config import RecurrentConfig as RecurrentConfig
    from air_tf.config import RunConfig as RunConfig
    from air_tf.config import TrainingConfig as TrainingConfig
    from air_tf.config.tabletop import Tabletop as Tabletop
    from air_tf.counter import ObjectCounter as ObjectCounter
    from air_tf.deployment.edge import EdgeModel as EdgeModel
    from air_tf.errors import AirTFError as AirTFError
    from air_tf.errors import InputError as InputError
    from air_tf.inference.editing import SceneEditor as SceneEditor
    from air_tf.model.air import AIR as AIR
    from air_tf.model.air3d import AIR3D as AIR3D
    from air_tf.pretrained import list_pretrained as list_pretrained
    from air_tf.runs import load_model as load_model
    from air_tf.structs import AIROutput as AIROutput
    from air_tf.structs import PictureObjects as PictureObjects
    from air_tf.structs import Scenes as Scenes
    from air_tf.structs import Scenes3D as Scenes3D

__version__ = "0.3.0"

# Imported on first use, so that code without TensorFlow does not import it.
_HOMES = {
    "AIR": "air_tf.model.air",
    "AIR3D": "air_tf.model.air3d",
    "AIR3DConfig": "air_tf.config",
    "AIRConfig": "air_tf.config",
    "AIROutput": "air_tf.structs",
    "AirTFError": "air_tf.errors",
    "DataConfig": "air_tf.config",
    "DifferenceConfig": "air_tf.config",
    "EdgeModel": "air_tf.deployment.edge",
    "InputError": "air_tf.errors",
    "ObjectCounter": "air_tf.counter",
    "PictureConfig": "air_tf.config",
    "PictureObjects": "air_tf.structs",
    "RecurrentConfig": "air_tf.config",
    "RunConfig": "air_tf.config",
    "SceneEditor": "air_tf.inference.editing",
    "Scenes": "air_tf.structs",
    "Scenes3D": "air_tf.structs",
    "Tabletop": "air_tf.config.tabletop",
    "TrainingConfig": "air_tf.config",
    "list_pretrained": "air_tf.pretrained",
    "load_model": "air_tf.runs",
}
__all__ = [*sorted(_HOMES), "__version__"]


# With `__getattr__`, type checkers would accept any attribute of the package.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
