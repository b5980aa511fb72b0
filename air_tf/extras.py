"""Packages that only some parts of air_tf need; pyproject.toml has their versions."""

import importlib.util

from air_tf.errors import InputError

# Names to import, by the extra that installs them.
_MODULES = {
    "pictures": ("pandas", "skimage", "tifffile"),
    "imagej": ("roifile",),
    "scale": ("apache_beam",),
    "serving": ("tensorflow_serving",),
}


def require_extra(extra: str) -> None:
    """Raises InputError if a package of an extra is not installed."""
    for module in _MODULES[extra]:
        if importlib.util.find_spec(module) is None:
            raise InputError(
                f"{module} is not installed; expected pip install 'air_tf[{extra}]'"
            )
