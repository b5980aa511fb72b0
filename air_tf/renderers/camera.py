"""From places on the table to places in the picture, and back."""

import math

import numpy as np
import tensorflow as tf

from air_tf.config.tabletop import Tabletop
from air_tf.renderers.axes import camera_axes


class Camera:
    """A pinhole camera that looks at a table.

    Args:
      tabletop: the scene.
      image_shape: (H, W, C) of its pictures; pixels are square.

    Attributes:
      origin: [3], position of the camera.
      right: [3], unit vector to the right in the picture.
      up: [3], unit vector upwards in the picture.
      forward: [3], unit vector along the optical axis.
      half_height: tangent of half the vertical field of view.
      half_width: the same for the horizontal one.
      pixel: size of a pixel at distance 1.
    """

    def __init__(self, tabletop: Tabletop, image_shape: tuple[int, int, int]):
        height, width = image_shape[:2]
        self._height_of_objects = tabletop.object_height
        self._unit = tabletop.reach
        self.origin = np.array(tabletop.camera_position, np.float64)
        self.right, self.up, self.forward = camera_axes(tabletop)
        self.half_height = math.tan(math.radians(tabletop.field_of_view) / 2)
        self.half_width = self.half_height * width / height
        self.pixel = 2 * self.half_height / height

    def project(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Where objects at these positions are in the picture.

        Args:
          position: [..., 2], (x, y) on the table.

        Returns:
          Their centres in the picture, [..., 2], (y, x) in [-1, 1], y downwards; and
          their distances along the optical axis, [...], in units of `reach`.
        """
        x, y = position[..., 0], position[..., 1]
        z = self._height_of_objects

        def along(axis: np.ndarray) -> tf.Tensor:
            known = (z - self.origin[2]) * axis[2] - self.origin[:2] @ axis[:2]
            return x * float(axis[0]) + y * float(axis[1]) + float(known)

        depth = along(self.forward)
        place = tf.stack(
            [
                -along(self.up) / (depth * self.half_height),
                along(self.right) / (depth * self.half_width),
            ],
            axis=-1,
        )
        return place, depth / self._unit

    def rays(self, rows: int, columns: int) -> np.ndarray:
        """Directions through the centres of rows x columns cells of the picture.

        Returns:
          [rows, columns, 3]; their length along the optical axis is 1.
        """
        v = (1.0 - (2 * np.arange(rows) + 1) / rows) * self.half_height
        u = ((2 * np.arange(columns) + 1) / columns - 1.0) * self.half_width
        return self.forward + v[:, None, None] * self.up + u[None, :, None] * self.right

    def positions(self, rows: int, columns: int, reach: float) -> np.ndarray:
        """Positions on the table of objects seen in the cells of a grid.

        Args:
          rows: of the grid.
          columns: of the grid.
          reach: largest coordinate; cells that show no table get the nearest place.

        Returns:
          [rows, columns, 2] float32, (x, y).
        """
        rays = self.rays(rows, columns)
        height = self._height_of_objects - self.origin[2]
        # Rays that don't go down meet the plane behind the camera: far away instead.
        down = np.minimum(rays[..., 2], -1e-3)
        places = self.origin + (height / down)[..., None] * rays
        return np.clip(places[..., :2], -reach, reach).astype(np.float32)
