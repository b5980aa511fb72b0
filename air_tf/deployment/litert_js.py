"""LiteRT.js, which runs .tflite files in a browser, as this package holds it.

The folder `litert` holds files of two npm packages, each compressed with xz, and their
licence. `contents.json` says which, from where, and their checksums. Of the builds of
the runtime, it is the one that every browser with WebAssembly SIMD can run; the others
need threads or relaxed SIMD.
"""

import hashlib
import importlib.resources
import json
import lzma
from typing import Any

from air_tf.errors import InputError

_FOLDER = importlib.resources.files("air_tf.deployment") / "litert"


def read_file(name: str) -> bytes:
    """The contents of a file.

    Args:
      name: a key of `files` in contents.json.

    Raises:
      InputError: if the installed file is not the one of the checksum.
    """
    packages = _contents()["packages"].values()
    (known,) = (p["files"][name] for p in packages if name in p["files"])
    packed = _FOLDER / f"{name}.xz"
    try:
        content = lzma.decompress(packed.read_bytes())
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise InputError(f"{packed} can't be read ({error})") from None
    if hashlib.sha256(content).hexdigest() != known["sha256"]:
        raise InputError(f"{packed} is damaged; expected air_tf to be installed again")
    return content


def read_licence() -> str:
    """What has to go with every copy of the runtime."""
    names = ", ".join(
        f"{name} {package['version']}"
        for name, package in _contents()["packages"].items()
    )
    text = (_FOLDER / "LICENSE").read_text(encoding="utf-8")
    return f"{names}\n{_contents()['source']}\nCopyright 2025 Google LLC\n\n{text}"


def version() -> str:
    """Of the runtime."""
    return _contents()["packages"]["@litertjs/core"]["version"]


def _contents() -> dict[str, Any]:
    return json.loads((_FOLDER / "contents.json").read_text(encoding="utf-8"))
