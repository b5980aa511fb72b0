"""Where rays meet a box, a sphere or an upright cylinder.

Shapes: N objects, P rays. Distances to an edge are signed, in pixels and of first
order; those to a silhouette are positive inside.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from air_tf.config.tabletop import Part
from air_tf.renderers.rays import Rays

# Edges that don't exist are as far away as this, in pixels.
_NOWHERE = 1e6
# Smallest squared slope of a round surface, where its shade would jump at its limb.
_LIMB = 0.03


class Surface(NamedTuple):
    """What rays see of a solid. Values away from it are those near its edge."""

    distance: Any  # [N, P], to the silhouette
    light: Any  # [N, P], share of the diffuse light, in [0, 1]
    depth: Any  # [N, P], along the optical axis


class Pose(NamedTuple):
    """Where objects are, seen from the camera, and how they are turned: [N, 1] each."""

    x: Any
    y: Any
    cos: Any
    sin: Any


def centre(part: Part, pose: Pose, rays: Rays) -> tuple[tf.Tensor, tf.Tensor, float]:
    """Centre of a part, seen from the camera: [N, 1], [N, 1] and the same for all."""
    x, y, z = part.centre
    z -= rays.height
    if x == y == 0:  # spares the yaw
        return pose.x, pose.y, z
    return (
        pose.x + x * pose.cos - y * pose.sin,
        pose.y + x * pose.sin + y * pose.cos,
        z,
    )


def soften(distance: tf.Tensor, blur: tf.Tensor | float) -> tf.Tensor:
    """Share of a pixel inside an edge; the sigmoid of a silhouette is as steep."""
    return tf.clip_by_value(0.5 + distance * (0.25 / blur), 0.0, 1.0)


def sphere(part: Part, pose: Pose, rays: Rays, blur: tf.Tensor | float) -> Surface:
    """Meets the rays with spheres."""
    del blur  # there is no edge but the silhouette
    x, y, z = centre(part, pose, rays)
    (radius,) = part.size
    along = x * rays.x + (y * rays.y + z * rays.z)  # [N, P]
    nearest = tf.maximum(along * (1 / rays.length_squared), 0.01)
    squared = nearest * (nearest * rays.length_squared - 2 * along)
    squared += x * x + y * y + z * z
    inside = tf.maximum(radius**2 - squared, _LIMB * radius**2)
    depth = nearest - tf.sqrt(inside * (1 / rays.length_squared))
    light = rays.to_light
    facing = depth * rays.facing - (x * light[0] + y * light[1] + z * light[2])
    miss = tf.sqrt(tf.maximum(squared, 1e-8))
    return Surface(
        distance=(radius - miss) / (nearest * rays.pixel),
        light=tf.nn.relu(facing * (1 / radius)),
        depth=depth,
    )


def cylinder(part: Part, pose: Pose, rays: Rays, blur: tf.Tensor | float) -> Surface:
    """Meets the rays with upright cylinders, in the frame that is seen from above."""
    x, y, _ = centre(part, pose, rays)
    radius, half_height = part.size
    near, far = rays.between(part.centre[2] - half_height, part.centre[2] + half_height)
    along = x * rays.along_x + y * rays.along_y  # [N, P]
    left = x * rays.along_y - y * rays.along_x  # of the ray, seen from the axis
    # A ray meets the solid if its part between the two ends comes near the axis.
    nearest = tf.clip_by_value(along, near, far)
    inside = tf.maximum(radius**2 - left * left, _LIMB * radius**2)
    root = tf.sqrt(inside)
    to_edge, pixels = _to_circle(radius, nearest, along, left, rays)
    side = along - root  # horizontal distance where it meets the side
    to_rim, rim_pixels = _to_circle(radius, near, along, left, rays)
    # The distance is small where this matters: what the scale adds to the gradient is
    # smaller still.
    rim_pixels = tf.stop_gradient(rim_pixels)
    # Behind the axis, there is no side below the rim.
    behind = (near - along) * rim_pixels + 2 * blur
    end = soften(tf.maximum(to_rim * rim_pixels, behind), blur)
    lit_side = tf.nn.relu((left * rays.light_left - root * rays.light_along) / radius)
    return Surface(
        distance=to_edge * pixels,
        light=lit_side + end * (rays.light_up - lit_side),
        # A ray that passes below the solid is soon as near as its upper end.
        depth=tf.maximum(near, tf.minimum(side, 2 * far - side)) * (1 / rays.flat),
    )


def _to_circle(radius, horizontal, along, left, rays: Rays):
    """Distance inwards from a circle around an axis, and pixels per distance: [N, P].

    The circle is at the height of the ray's point at a horizontal distance.
    """
    a, b, c = rays.metric
    ahead = horizontal - along
    squared = ahead * ahead + left * left
    # How the distance changes in the picture; near the axis, it has no one direction.
    near_axis = 0.1 * radius**2
    stretched = a * (ahead * ahead + near_axis) + c * (left * left + near_axis)
    stretched += 2 * b * ahead * left
    scale = tf.math.rsqrt(stretched / (squared + 2 * near_axis)) / horizontal
    return radius - tf.sqrt(squared + 1e-8), scale


def box(part: Part, pose: Pose, rays: Rays, blur: tf.Tensor | float) -> Surface:
    """Meets the rays with boxes: the silhouette of a box is a polygon.

    An edge and the camera span a plane; it is a line in the picture.
    """
    view = _view(part, pose, rays)
    lines = [_lines(first, part, view, rays, blur) for first in range(3)]

    def distance(axis: int, slot: int) -> tf.Tensor:
        u, v, one = (term[:, slot : slot + 1] for term in lines[axis])
        return u * rays.u + (v * rays.v + one)  # [N, P]

    silhouette = distance(0, 0)
    for axis, slot in ((0, 1), (1, 0), (1, 1), (2, 0), (2, 1)):
        silhouette = tf.minimum(silhouette, distance(axis, slot))
    x_before_y, y_before_z, z_before_x = (distance(axis, 2) for axis in range(3))
    is_x = soften(x_before_y, blur)
    is_z = soften(tf.minimum(z_before_x, -y_before_z), blur)
    x, y, z = (tf.nn.relu(view.facing[i] * view.light[i]) for i in range(3))
    flat = y + is_x * (x - y)
    return Surface(
        distance=silhouette,
        light=flat + is_z * (z - flat),
        depth=_entry(part, view, rays),
    )


class _View(NamedTuple):
    """A camera and a light in the coordinates of boxes: per axis x, y, z: [N, 1]."""

    origin: tuple[Any, Any, Any]
    # 1 or -1: the face on this side is seen; 0: none is.
    facing: tuple[Any, Any, Any]
    right: tuple[Any, Any, Any]
    up: tuple[Any, Any, Any]
    forward: tuple[Any, Any, Any]
    light: tuple[Any, Any, Any]


def _view(part: Part, pose: Pose, rays: Rays) -> _View:
    def turned(x, y, z) -> tuple[Any, Any, Any]:
        return (
            pose.cos * x + pose.sin * y,
            pose.cos * y - pose.sin * x,
            tf.fill(tf.shape(pose.cos), float(z)),
        )

    origin = tuple(
        value - offset
        for value, offset in zip(
            turned(-pose.x, -pose.y, rays.height), part.centre, strict=True
        )
    )
    facing = tuple(
        tf.sign(value) * tf.cast(tf.abs(value) > size, value.dtype)
        for value, size in zip(origin, part.size, strict=True)
    )
    right, up, forward = (turned(*(float(v) for v in axis)) for axis in rays.axes)
    return _View(origin, facing, right, up, forward, turned(*rays.to_light))


def _lines(
    first: int, part: Part, view: _View, rays: Rays, blur: tf.Tensor | float
) -> tuple[Any, Any, Any]:
    """Lines of edges between the faces across axis i = `first` and the next one, j.

    Returns:
      Factors of u, of v, and 1 in the distance to the line: [N, 3]. The columns are
      two edges of the silhouette, and the edge between the two faces that are seen,
      where the distance is positive on the side of face i.
    """
    i, j = first, (first + 1) % 3
    hidden_i, hidden_j = view.facing[i] == 0, view.facing[j] == 0
    one = tf.ones_like(view.facing[i])
    sign_i = tf.where(hidden_i, one, view.facing[i])
    sign_j = tf.where(hidden_j, one, view.facing[j])
    # Between a face that is seen and one that is not; both edges of a face at an axis
    # of which no face is seen.
    signs_i = tf.concat([sign_i, tf.where(hidden_j, sign_i, -sign_i), sign_i], 1)
    signs_j = tf.concat([tf.where(hidden_i, sign_j, -sign_j), sign_j, sign_j], 1)
    at_i = signs_i * part.size[i] - view.origin[i]  # [N, 3]
    at_j = signs_j * part.size[j] - view.origin[j]
    inwards = tf.sign(view.origin[j] * at_i - view.origin[i] * at_j)[:, :2]
    sides = tf.concat([inwards, -sign_i * sign_j], 1)
    # The normal of the plane is at_j along axis i and -at_i along axis j.
    u, v, constant = (
        sides * (at_j * axis[i] - at_i * axis[j])
        for axis in (view.right, view.up, view.forward)
    )
    scale = tf.math.rsqrt(u * u + v * v + 1e-12) / rays.pixel
    silhouette = tf.cast(~(hidden_i & hidden_j), scale.dtype)
    inner = tf.cast(~(hidden_i | hidden_j), scale.dtype)
    exists = tf.concat([silhouette, silhouette, inner], 1)
    # Where only one of the two faces is seen, it is on this side of everything.
    only = tf.where(hidden_i, -one, one)
    nowhere = (1 - exists) * _NOWHERE * tf.concat([one, one, only], 1)
    give = _wide(i, j, part, view, rays, blur) - _wide(j, i, part, view, rays, blur)
    nowhere += tf.concat([0 * one, 0 * one, inner * give * (6.0 * blur)], 1)
    scale *= exists
    return u * scale, v * scale, constant * scale + nowhere


def _wide(
    i: int, j: int, part: Part, view: _View, rays: Rays, blur: tf.Tensor | float
) -> tf.Tensor:
    """How wide the face across axis i seems along axis j, in soft edges: [N, 1].

    At most 1. A narrower face leaves its edge to the other one, until it is gone.
    """
    squared = sum(value * value for value in view.origin)
    gap = tf.nn.relu(tf.abs(view.origin[i]) - part.size[i])
    pixels = 2.0 * part.size[j] * gap / (squared * rays.pixel)
    return tf.minimum(pixels / (4.0 * blur), 1.0)


def _entry(part: Part, view: _View, rays: Rays) -> tf.Tensor:
    """Depth at which rays enter boxes."""
    depth = None
    for i in range(3):
        towards = view.right[i] * rays.u + (view.up[i] * rays.v + view.forward[i])
        gap = tf.nn.relu(tf.abs(view.origin[i]) - part.size[i])
        found = gap / tf.maximum(-view.facing[i] * towards, 1e-3)
        depth = found if depth is None else tf.maximum(depth, found)
    return depth


SOLIDS: dict[str, Callable[[Part, Pose, Rays, Any], Surface]] = {
    "box": box,
    "sphere": sphere,
    "cylinder": cylinder,
}
