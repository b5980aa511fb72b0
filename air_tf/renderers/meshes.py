"""Meshes of solids, for MuJoCo.

MuJoCo's own cylinders have many more triangles, which take time, and how a texture lies
on its own solids has changed between its versions.
"""

import numpy as np

from air_tf.config.tabletop import Part

_TURNS = 64  # parts of a full turn
_TEXTURE_PIXELS = 64

# Points of a half outline: distance from the axis, height, and the same of the normal.
_Outline = list[tuple[float, float, float, float]]


def needs_mesh(part: Part) -> bool:
    """Whether a part is drawn as a mesh."""
    return part.shape == "cylinder" or part.checker_colour is not None


def mesh_assets(part: Part, name: str) -> str:
    """MJCF of a mesh and its material, both called `name`.

    Args:
      part: any solid.
      name: unique.
    """
    if part.shape == "box":
        vertices, normals, faces = _box(part.size)
    else:
        outline = _sphere(*part.size) if part.shape == "sphere" else _tin(*part.size)
        vertices, normals, faces = _turned(outline)
    mesh = (
        f'<mesh name="{name}" vertex="{_text(vertices)}" normal="{_text(normals)}" '
        f'face="{_text(faces)}"'
    )
    if part.checker_colour is None:
        return f'<material name="{name}" rgba="{_text(part.colour)} 1"/>{mesh}/>'
    # The texture is twice as wide as the solid: nothing comes near its edge.
    size = 4 * np.abs(vertices[:, :2]).max(axis=0)
    return (
        f'<texture name="{name}" type="2d" builtin="checker" '
        f'width="{_TEXTURE_PIXELS}" height="{_TEXTURE_PIXELS}" '
        f'rgb1="{_text(part.colour)}" rgb2="{_text(part.checker_colour)}"/>'
        f'<material name="{name}" texture="{name}"/>'
        f'{mesh} texcoord="{_text(0.5 + vertices[:, :2] / size)}"/>'
    )


def _text(values) -> str:
    return " ".join(str(value) for value in np.asarray(values).ravel().tolist())


def _sphere(radius: float) -> _Outline:
    angles = np.linspace(-np.pi / 2, np.pi / 2, _TURNS // 2 + 1)
    return [
        (radius * np.cos(a), radius * np.sin(a), np.cos(a), np.sin(a)) for a in angles
    ]


def _tin(radius: float, half_height: float) -> _Outline:
    low, high = -half_height, half_height
    return [
        (0.0, low, 0.0, -1.0),
        (radius, low, 0.0, -1.0),
        (radius, low, 1.0, 0.0),
        (radius, high, 1.0, 0.0),
        (radius, high, 0.0, 1.0),
        (0.0, high, 0.0, 1.0),
    ]


def _turned(outline: _Outline) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3], normals [V, 3] and triangles [F, 3] of a surface of turns."""
    angles = 2 * np.pi * np.arange(_TURNS) / _TURNS
    radius, height, across, upwards = np.array(outline).T[:, :, np.newaxis]
    cos, sin = np.cos(angles), np.sin(angles)
    vertices = np.stack(np.broadcast_arrays(radius * cos, radius * sin, height), -1)
    normals = np.stack(np.broadcast_arrays(across * cos, across * sin, upwards), -1)
    faces = []
    for ring in range(len(outline) - 1):
        for turn in range(_TURNS):
            following = (turn + 1) % _TURNS
            low, high = ring * _TURNS, (ring + 1) * _TURNS
            if outline[ring][0] > 1e-9:
                faces.append((low + turn, low + following, high + following))
            if outline[ring + 1][0] > 1e-9:
                faces.append((low + turn, high + following, high + turn))
    return vertices.reshape(-1, 3), normals.reshape(-1, 3), np.array(faces)


def _box(size: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vertices: list[np.ndarray] = []
    normals: list[np.ndarray] = []
    faces: list[tuple[int, int, int]] = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            normal, across, along = np.zeros((3, 3))
            normal[axis] = side
            across[(axis + 1) % 3], along[(axis + 2) % 3] = side, 1.0
            first = len(vertices)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                vertices.append((normal + a * across + b * along) * size)
                normals.append(normal)
            faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return np.array(vertices), np.array(normals), np.array(faces)
