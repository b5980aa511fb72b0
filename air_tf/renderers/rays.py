"""What the rays through the pixels of a picture need, once for all objects."""

import numpy as np

from air_tf.config.tabletop import Tabletop
from air_tf.renderers.axes import Axes, to_light
from air_tf.renderers.camera import Camera

# Distances from the camera within which objects are seen, in units of the reach.
_NEAR, _FAR = 1e-2, 1e3
# Rays are kept off the vertical and the horizontal by this much.
_OFF = 1e-4


class Rays:
    """Constants of the P = H * W rays through the pixels, float32.

    A ray is `forward + u * right + v * up`. Seen from above, it is a line: `along` is
    its direction there, and `left` is perpendicular to it.

    Attributes:
      u: [P], v: [P], places in the picture at distance 1.
      x: [P], y: [P], z: [P], directions in the scene.
      length_squared: [P], of the directions.
      height: of the camera above the table.
      pixel: size of a pixel at distance 1.
      axes: the camera's.
      along_x: [P], along_y: [P], unit vectors `along`.
      flat: [P], horizontal length of the directions.
      to_light: unit vector (x, y, z).
      facing: [P], directions times `to_light`.
      light_along: [P], light_left: [P], `to_light` in the frame seen from above.
      light_up: [P], share of diffuse light on a horizontal surface that the ray meets.
    """

    def __init__(self, camera: Camera, tabletop: Tabletop, rows: int, columns: int):
        rays = camera.rays(rows, columns).reshape(-1, 3)
        flat = np.hypot(rays[:, 0], rays[:, 1])
        rays[:, 1] = np.where(flat < _OFF, _OFF, rays[:, 1])
        level = np.abs(rays[:, 2]) < _OFF
        rays[:, 2] = np.where(level, -_OFF, rays[:, 2])
        light = to_light(tabletop)
        x, y, z = rays.T
        flat = np.hypot(x, y)
        along_x, along_y = x / flat, y / flat
        self.height = float(camera.origin[2])
        self.to_light = tuple(float(value) for value in light)
        self._flat, self._z = flat, z
        self.pixel = float(camera.pixel)
        self.u, self.v = _float32(rays @ camera.right), _float32(rays @ camera.up)
        self.x, self.y, self.z = _float32(x), _float32(y), _float32(z)
        self.length_squared = _float32(np.sum(rays**2, axis=1))
        self.along_x, self.along_y = _float32(along_x), _float32(along_y)
        self.flat = _float32(flat)
        self.facing = _float32(rays @ light)
        self.light_along = _float32(light[0] * along_x + light[1] * along_y)
        self.light_left = _float32(light[1] * along_x - light[0] * along_y)
        self.light_up = _float32(np.maximum(-np.sign(z) * light[2], 0.0))
        self.axes = Axes(camera.right, camera.up, camera.forward)
        self._stretch()

    def _stretch(self) -> None:
        """How far a ray's point at a given height moves in the scene, per pixel.

        At horizontal distance tau, `n` pixels of movement in the picture move the point
        by tau * J n, in the frame (along, left); `metric` is J J^T.
        """
        columns = []
        for axis in self.axes[:2]:
            along = axis[0] * self.along_x + axis[1] * self.along_y
            left = axis[1] * self.along_x - axis[0] * self.along_y
            along = along - axis[2] / self._z * self._flat
            columns.append((along, left))
        scale = (self.pixel / self._flat) ** 2
        (a, b), (c, d) = columns
        self.metric = (
            _float32(scale * (a * a + c * c)),
            _float32(scale * (a * b + c * d)),
            _float32(scale * (b * b + d * d)),
        )

    def between(self, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Horizontal distances at which rays enter and leave a layer of heights.

        Args:
          low: height of the layer's lower side above the table.
          high: height of its upper side.

        Returns:
          [P] and [P]; both are far away for rays that miss the layer.
        """
        ends = [(height - self.height) / self._z for height in (low, high)]
        near, far = np.minimum(*ends), np.maximum(*ends)
        missed = far < _NEAR
        near = np.where(missed, _FAR, np.clip(near, _NEAR, _FAR))
        far = np.where(missed, _FAR, np.clip(far, _NEAR, _FAR))
        return _float32(near * self._flat), _float32(far * self._flat)


def _float32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
