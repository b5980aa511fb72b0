"""A differentiable renderer of boxes, spheres and upright cylinders in TensorFlow."""

import numpy as np
import tensorflow as tf

from air_tf.config.tabletop import Kind, Part, Tabletop
from air_tf.errors import InputError
from air_tf.renderers.camera import Camera
from air_tf.renderers.forward_mode import forward_mode
from air_tf.renderers.rays import Rays
from air_tf.renderers.renderer import Layer, Renderer
from air_tf.renderers.solids import SOLIDS, Pose, Surface, centre

# Difference of depths of two parts, in pixels, over which the order changes.
_SOFTNESS = 0.5


class Analytic(Renderer):
    """Casts a ray through the centre of each pixel.

    How much of a pixel an object covers is the sigmoid of the signed distance to the
    object's silhouette, in pixels, divided by `blur`: smooth in position and yaw. The
    colour is that of the point that the ray meets, with ambient and diffuse light.
    Inside, lengths are in units of the table's reach.

    Raises:
      InputError: for kinds that are described by a file.
    """

    def __init__(self, tabletop: Tabletop, image_shape: tuple[int, int, int]):
        super().__init__(tabletop, image_shape)
        for kind in tabletop.kinds:
            if kind.file is not None:
                raise InputError(
                    f"is analytic, but the kind {kind.name} is described by the file "
                    f"{kind.file}; expected black_box",
                    field="renderer",
                )
        scene = tabletop.scaled(1.0 / tabletop.reach)
        self._kinds = scene.kinds
        self._rays = Rays(Camera(scene, image_shape), scene, *image_shape[:2])
        distance = np.subtract(scene.camera_position, scene.camera_target)
        self._softness = float(_SOFTNESS * self._rays.pixel * np.linalg.norm(distance))

    def ground(self) -> np.ndarray:
        """See `Renderer`; rays that miss the table are black."""
        tabletop, rays = self.tabletop, self._rays
        meets = rays.z < 0
        light = tabletop.ambient + tabletop.diffuse * max(rays.to_light[2], 0.0)
        colour = np.minimum(light * np.array(tabletop.table_colour), 1.0)
        picture = meets[:, np.newaxis] * colour
        return picture.reshape(self.image_shape).astype(np.float32)

    def layers(
        self, kind: int, position: tf.Tensor, yaw: tf.Tensor, blur: tf.Tensor | float
    ) -> Layer:
        """See `Renderer`."""
        unit = self.tabletop.reach
        origin = self.camera.origin / unit

        @forward_mode
        def draw(x, y, yaw):
            yaw = yaw[:, tf.newaxis]
            pose = Pose(
                x=x[:, tf.newaxis] / unit - float(origin[0]),
                y=y[:, tf.newaxis] / unit - float(origin[1]),
                cos=tf.cos(yaw),
                sin=tf.sin(yaw),
            )
            return self._union(self._kinds[kind], pose, blur)

        position, yaw = tf.cast(position, tf.float32), tf.cast(yaw, tf.float32)
        alpha, colour = draw(position[:, 0], position[:, 1], yaw)
        height, width = self.image_shape[:2]
        _, depth = self.project(position)
        return Layer(
            alpha=tf.reshape(alpha, [-1, height, width]),
            colour=tf.reshape(colour, [-1, height, width, 3]),
            depth=depth,
        )

    def blurred(self, images: tf.Tensor, blur: tf.Tensor | float) -> tf.Tensor:
        """The pictures themselves: `blur` only helps the search."""
        del blur
        return images

    def _union(
        self, kind: Kind, pose: Pose, blur: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Alpha [N, P] and colour [N, P, 3] of all parts."""
        surfaces = [
            SOLIDS[part.shape](part, pose, self._rays, blur) for part in kind.parts
        ]
        colours = [
            self._colour(part, surface, pose, blur)
            for part, surface in zip(kind.parts, surfaces, strict=True)
        ]
        alphas = [tf.sigmoid(surface.distance / blur) for surface in surfaces]
        if len(kind.parts) == 1:
            return alphas[0], colours[0]
        depths = [surface.depth for surface in surfaces]
        weights = _visible(alphas, depths, self._softness)
        total: tf.Tensor = 1e-6
        mixed: tf.Tensor = 0.0
        for weight, colour in zip(weights, colours, strict=True):
            total += weight
            mixed += weight[..., tf.newaxis] * colour
        alpha = alphas[0]
        for other in alphas[1:]:
            alpha = tf.maximum(alpha, other)
        return alpha, mixed / total[..., tf.newaxis]

    def _colour(
        self, part: Part, surface: Surface, pose: Pose, blur: tf.Tensor | float
    ) -> tf.Tensor:
        light = self.tabletop.ambient + self.tabletop.diffuse * surface.light
        colour = np.array(part.colour, np.float32)
        if part.checker_colour is not None:
            other = np.array(part.checker_colour, np.float32)
            share = self._checker(part, surface.depth, pose, blur)
            colour = colour + share[..., tf.newaxis] * (other - colour)
        lit = light[..., tf.newaxis] * colour
        if self.tabletop.ambient + self.tabletop.diffuse > 1:
            lit = tf.minimum(lit, 1.0)
        return lit

    def _checker(
        self, part: Part, depth: tf.Tensor, pose: Pose, blur: tf.Tensor | float
    ) -> tf.Tensor:
        """Share of a pixel in which x and y have opposite signs, [N, P]."""
        rays = self._rays
        x, y, _ = centre(part, pose, rays)
        x, y = depth * rays.x - x, depth * rays.y - y
        x, y = pose.cos * x + pose.sin * y, pose.cos * y - pose.sin * x
        # Lengths in pixels, for the edges between the colours.
        scale = 0.5 / (blur * rays.pixel * tf.stop_gradient(depth))
        sides = [tf.clip_by_value(value * scale, -1.0, 1.0) for value in (x, y)]
        return 0.5 - 0.5 * sides[0] * sides[1]


def _visible(
    alphas: list[tf.Tensor], depths: list[tf.Tensor], softness: float
) -> list[tf.Tensor]:
    """How much of a pixel each part covers, seen through nearer parts."""
    weights = list(alphas)
    for first in range(len(alphas)):
        for second in range(first):
            farther = depths[first] - depths[second]
            hidden = tf.clip_by_value(0.5 + farther / softness, 0.0, 1.0)
            weights[first] *= 1.0 - hidden * alphas[second]
            weights[second] *= 1.0 - (1.0 - hidden) * alphas[first]
    return weights
