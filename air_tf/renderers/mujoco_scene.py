"""A tabletop as a model of MuJoCo. Nothing here needs TensorFlow."""

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from air_tf.config.tabletop import Kind, Part, Tabletop
from air_tf.errors import InputError
from air_tf.renderers.axes import camera_axes
from air_tf.renderers.kind_files import OBJECT, KindFile, read_kind_file
from air_tf.renderers.meshes import mesh_assets, needs_mesh

CAMERA = "camera"
_SAMPLES = 4  # of a pixel
_FAR = 50.0  # times the distance between the camera and its target


def body_name(kind: Kind, slot: int) -> str:
    """Name of the body that stands for an object of this kind in a slot."""
    return f"{kind.name}_{slot}"


def compile_scene(
    tabletop: Tabletop, *, num_slots: int, buffer_size: tuple[int, int]
) -> Any:
    """Makes a model with a body of each kind in each slot.

    Args:
      tabletop: the scene.
      num_slots: most objects on the table.
      buffer_size: (height, width) in pixels of what is drawn at once.

    Returns:
      A `mujoco.MjModel`; its bodies are mocap bodies.

    Raises:
      InputError: if the file of a kind can't be read.
    """
    files = [
        (kind, read_kind_file(kind)) for kind in tabletop.kinds if kind.file is not None
    ]
    for kind, file in files:
        _require_valid(kind, file)
    # Attached objects look for their files here.
    assets = {name: data for _, file in files for name, data in file.assets.items()}
    spec = mujoco.MjSpec.from_string(
        _mjcf(tabletop, num_slots, buffer_size), assets=assets
    )
    for kind, file in files:
        for slot in range(num_slots):
            name = body_name(kind, slot)
            frame = spec.body(name).add_frame()
            child = _object_spec(kind, file)
            frame.attach_body(child.body(OBJECT), f"{name}_", "")
    try:
        return spec.compile()
    except ValueError as error:
        raise InputError(
            f"MuJoCo can't read this scene ({' '.join(str(error).split())})"
        ) from None


def _require_valid(kind: Kind, file: KindFile) -> None:
    try:
        reason = "" if _object_spec(kind, file).compile().ngeom else "it is empty"
    except ValueError as error:
        reason = " ".join(str(error).split())
    if reason:
        raise InputError(
            f"of the kind {kind.name}: {kind.file} is no model that MuJoCo can read "
            f"({reason})",
            field="file",
        )


def _object_spec(kind: Kind, file: KindFile) -> Any:
    """The object of a file, in the scene's unit."""
    spec = mujoco.MjSpec.from_string(file.mjcf, assets=file.assets)
    scale = kind.file_scale
    for geom in spec.geoms:
        geom.pos, geom.size = scale * geom.pos, scale * geom.size
        geom.fromto = scale * np.asarray(geom.fromto)
        geom.contype = geom.conaffinity = 0  # spares convex hulls
    for item in (*spec.bodies, *spec.frames):
        item.pos = scale * item.pos
    for mesh in spec.meshes:
        mesh.scale = scale * mesh.scale
        # Of all kinds of inertia, it is defined for open surfaces.
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    for field in spec.hfields:
        field.size = scale * field.size
    return spec


def _mjcf(tabletop: Tabletop, num_slots: int, buffer_size: tuple[int, int]) -> str:
    axes = camera_axes(tabletop)
    distance = np.linalg.norm(
        np.subtract(tabletop.camera_position, tabletop.camera_target)
    )
    # As far as the camera sees. An infinite plane is one of many squares: slow.
    table = _text([_FAR * distance] * 3)
    assets = "".join(
        mesh_assets(part, _mesh_name(kind, index))
        for kind in tabletop.kinds
        for index, part in enumerate(kind.parts)
        if needs_mesh(part)
    )
    bodies = "".join(
        f'<body name="{body_name(kind, slot)}" mocap="true">{_geoms(kind)}</body>'
        for slot in range(num_slots)
        for kind in tabletop.kinds
    )
    height, width = buffer_size
    return f"""<mujoco>
<visual>
<global offheight="{height}" offwidth="{width}"/>
<quality offsamples="{_SAMPLES}" shadowsize="0" numquads="1"/>
<headlight ambient="{_text([tabletop.ambient] * 3)}" diffuse="0 0 0" specular="0 0 0"/>
<map zfar="{_FAR}"/>
</visual>
<statistic extent="{distance}" center="0 0 0"/>
<asset>{assets}</asset>
<worldbody>
<light directional="true" dir="{_text(tabletop.light_direction)}" castshadow="false"
ambient="0 0 0" diffuse="{_text([tabletop.diffuse] * 3)}" specular="0 0 0"/>
<camera name="{CAMERA}" pos="{_text(tabletop.camera_position)}"
xyaxes="{_text([*axes.right, *axes.up])}" fovy="{tabletop.field_of_view}"/>
<geom type="plane" size="{table}" rgba="{_text(tabletop.table_colour)} 1"/>
{bodies}
</worldbody>
</mujoco>"""


def _geoms(kind: Kind) -> str:
    return "".join(
        _geom(part, _mesh_name(kind, index)) for index, part in enumerate(kind.parts)
    )


def _mesh_name(kind: Kind, index: int) -> str:
    return f"{kind.name}_part_{index}"


def _geom(part: Part, mesh_name: str) -> str:
    if needs_mesh(part):
        form = f'type="mesh" mesh="{mesh_name}" material="{mesh_name}"'
    else:
        form = f'type="{part.shape}" size="{_text(part.size)}"'
        form += f' rgba="{_text(part.colour)} 1"'
    return f'<geom {form} pos="{_text(part.centre)}" contype="0" conaffinity="0"/>'


def _text(values: Iterable[float]) -> str:
    return " ".join(str(float(value)) for value in values)
