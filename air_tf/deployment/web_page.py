"""Puts a web page together: as one file, or as files for a web server.

Both have the same modules and resources. In one file, modules are data: URLs of the
page's import map, and resources lie packed in the page. Its Content-Security-Policy
forbids all requests.
"""

import base64
import functools
import gzip
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

import jinja2

from air_tf.deployment import litert_js

INDEX = "index.html"
_FOLDER = importlib.resources.files("air_tf.deployment") / "page"
_MODULES = (
    *("app", "handles", "model", "paper", "pixels", "resources", "scene", "view"),
)
_VENDOR = {
    "@litertjs/core": "core.js",
    "@litertjs/wasm-utils": "wasm-utils.js",
}
_START = "import 'air/app';"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("air_tf.deployment", "page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


class Page(NamedTuple):
    """What differs between pages.

    Attributes:
      title: name of the model.
      settings: for the modules, as JSON.
      model: contents of the .tflite file.
      pictures: a PNG file, see `air_tf.deployment.demo`.
    """

    title: str
    settings: dict[str, Any]
    model: bytes
    pictures: bytes


def one_file(page: Page) -> str:
    """The page as HTML that needs nothing beside it."""
    modules = {
        name: f"data:text/javascript;base64,{_base64(content)}"
        for name, content in _modules().items()
    }
    resources = {
        name: {"file": None, "text": _base64(content)}
        for name, content in _resources(page).items()
    }
    return _render(
        page, modules, resources, scripts="data: blob:", connections="'none'"
    )


def files(page: Page) -> dict[str, bytes]:
    """The page as contents of files by name, for a web server."""
    names = {name: f"{name.rpartition('/')[2]}.js" for name in _modules()}
    found = {names[name]: content for name, content in _modules().items()}
    packed = {
        "wasm": "runtime.wasm.gz",
        "glue": "runtime.js.gz",
        "model": "air.tflite.gz",
        "pictures": "pictures.png",
    }
    for name, content in _resources(page).items():
        found[packed[name]] = content
    html = _render(
        page,
        {name: f"./{file}" for name, file in names.items()},
        {name: {"file": file} for name, file in packed.items()},
        scripts="'self' blob:",
        connections="'self'",
    )
    return {**found, INDEX: html.encode()}


def _modules() -> dict[str, bytes]:
    """JavaScript by the name that it is imported by."""
    own = {f"air/{name}": _read(f"{name}.js").encode() for name in _MODULES}
    vendor = {name: litert_js.read_file(file) for name, file in _VENDOR.items()}
    return own | vendor


def _resources(page: Page) -> dict[str, bytes]:
    """What the page loads by name, packed unless it is small anyway."""
    return {
        "wasm": _packed_runtime("runtime.wasm"),
        "glue": _packed_runtime("runtime.js"),
        "model": _gzip(page.model),
        "pictures": page.pictures,
    }


@functools.cache
def _packed_runtime(name: str) -> bytes:
    return _gzip(litert_js.read_file(name))


def _render(
    page: Page,
    modules: Mapping[str, str],
    resources: Mapping[str, Mapping[str, str | None]],
    *,
    scripts: str,
    connections: str,
) -> str:
    import_map = json.dumps({"imports": modules})
    style, check = _read("style.css"), _read("check.js")
    inline = " ".join(_hash(text) for text in (import_map, check, _START))
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {inline} {scripts} 'wasm-unsafe-eval'",
            f"style-src {_hash(style)}",
            f"connect-src {connections}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return _TEMPLATES.get_template("index.html.jinja").render(
        policy=policy,
        style=style,
        import_map=import_map,
        check=check,
        start=_START,
        title=page.title,
        settings=page.settings,
        # Within an element, "</" would end it.
        settings_json=json.dumps(page.settings).replace("<", "\\u003c"),
        resources=resources,
        version=metadata.version("air_tf"),
        runtime_version=litert_js.version(),
        licence=litert_js.read_licence(),
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _hash(text: str) -> str:
    """An inline script or style, as a Content-Security-Policy allows it."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"
