"""Reads the file of a kind, OBJ or MJCF, and the files that it names.

Nothing is read that lies outside the folder of the kind's file.
"""

import os
import pathlib
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple
from xml.etree.ElementTree import Element

from air_tf.config.tabletop import Kind
from air_tf.errors import InputError

MAX_FILE_BYTES = 100 * 2**20
OBJECT = "air_tf_object"  # name of the body
# Includes within includes: more of them are a circle.
_MAX_DEPTH = 10
# What a file may say about its object; the rest says how it moves.
_SECTIONS = ("compiler", "default", "asset", "worldbody")
_NOT_DRAWN = ("light", "camera", "site", "joint", "freejoint", "inertial")
_NOT_KNOWN = ("attach", "composite", "flexcomp", "model", "plugin", "skin")
# Attributes that this module has taken account of, or that hide geoms.
_TAKEN = ("assetdir", "meshdir", "texturedir", "strippath", "discardvisual")


class KindFile(NamedTuple):
    """An MJCF model of one object, and the contents of the files that it names.

    The names of these begin with that of the kind, so that kinds share none.
    """

    mjcf: str
    assets: dict[str, bytes]


def read_kind_file(kind: Kind) -> KindFile:
    """Reads the file of a kind.

    The object is all that `worldbody` of an MJCF file holds, but for planes.

    Raises:
      InputError: if a file can't be read, is too large, lies in another folder, or is
        neither an OBJ nor an MJCF file.
    """
    path = pathlib.Path(str(kind.file))
    files = _Files(kind, path)
    if path.suffix.lower() == ".obj":
        name = f"{kind.name}_0.obj"
        return KindFile(_mesh_model(kind, name), {name: files.read(files.main)})
    if path.suffix.lower() != ".xml":
        raise files.error(path, "is neither an OBJ file nor an MJCF file (.xml)")
    root = _object_model(files)
    return KindFile(
        assets=_take_assets(root, files, kind),
        mjcf=ElementTree.tostring(root, encoding="unicode"),
    )


class _Files:
    """The files in the folder of a kind's file."""

    def __init__(self, kind: Kind, path: pathlib.Path):
        self._kind = kind
        path = path.resolve()
        self._folder = path.parent
        self.main = path.name

    def error(self, path: str | os.PathLike, text: str) -> InputError:
        return InputError(f"of the kind {self._kind.name}: {path} {text}", field="file")

    def read(self, name: str) -> bytes:
        """Reads a file by its path from the folder."""
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder):
            text = f"names {name}, which lies outside its folder"
            raise self.error(self._folder / self.main, text)
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                text = f"has {size} bytes; expected at most {MAX_FILE_BYTES}"
                raise self.error(path, text)
            return path.read_bytes()
        except OSError as error:
            raise self.error(path, f"can't be read ({error.strerror})") from None


def _mesh_model(kind: Kind, name: str) -> str:
    red, green, blue = kind.colour
    return (
        f'<mujoco><asset><mesh name="mesh" file="{name}"/></asset>'
        f'<worldbody><body name="{OBJECT}">'
        f'<geom type="mesh" mesh="mesh" rgba="{red} {green} {blue} 1"/>'
        "</body></worldbody></mujoco>"
    )


def _object_model(files: _Files) -> Element:
    """What a file says about its object, in a body of its own."""
    root = Element("mujoco")
    world = Element("body", name=OBJECT)
    for section in _parse(files, files.main, 0):
        if section.tag == "worldbody":
            world.extend(section)
            world.attrib.update(section.attrib)
        elif section.tag in _SECTIONS:
            root.append(section)
    for element in root.iter():
        _require_known(element, files)
    for element in list(world.iter()):
        _require_known(element, files)
        element.attrib.pop("mocap", None)
        for child in list(element):
            if child.tag in _NOT_DRAWN or child.get("type") == "plane":
                element.remove(child)
    ElementTree.SubElement(root, "worldbody").append(world)
    return root


def _require_known(element: Element, files: _Files) -> None:
    if element.tag in _NOT_KNOWN:
        text = f"holds <{element.tag}>, which objects on a table can't have"
        raise files.error(files.main, text)


def _parse(files: _Files, name: str, depth: int) -> Element:
    """The root of an MJCF file, with the contents of included files in their places."""
    if depth > _MAX_DEPTH:
        raise files.error(name, "is included by itself")
    try:
        root = ElementTree.fromstring(files.read(name))
    except ElementTree.ParseError as error:
        raise files.error(name, f"is no XML file ({error})") from None
    if root.tag not in ("mujoco", "mujocoinclude"):
        raise files.error(name, f"is no MJCF file: it holds <{root.tag}>")
    for element in list(root.iter()):
        for place, child in reversed(list(enumerate(element))):
            if child.tag == "include":
                included = _parse(files, child.get("file", ""), depth + 1)
                element[place : place + 1] = list(included)
    return root


def _take_assets(root: Element, files: _Files, kind: Kind) -> dict[str, bytes]:
    """Reads the files that a model names, and gives them names of their own."""
    folders: dict[str, str] = {}
    for compiler in root.iter("compiler"):
        every = compiler.get("assetdir", "")
        for tag in ("mesh", "texture"):
            given = compiler.get(f"{tag}dir", every)
            folders[tag] = given or folders.get(tag, "")
        for name in _TAKEN:
            compiler.attrib.pop(name, None)
    assets: dict[str, bytes] = {}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key.startswith("file"):
                path = pathlib.PurePosixPath(folders.get(element.tag, ""), value)
                # The name of a file is the name of the asset, if that has none.
                element.attrib.setdefault("name", path.stem)
                name = f"{kind.name}_{len(assets)}{path.suffix}"
                assets[name] = files.read(str(path))
                element.set(key, name)
    return assets
