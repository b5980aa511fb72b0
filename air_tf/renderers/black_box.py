"""A renderer that is only called: MuJoCo, with gradients by finite differences."""

import numpy as np
import tensorflow as tf

from air_tf.config.renderers import BlackBoxConfig
from air_tf.config.tabletop import Tabletop
from air_tf.renderers.gaussian import gaussian_blur
from air_tf.renderers.mujoco_process import MuJoCo
from air_tf.renderers.renderer import Layer, Renderer

# Standard deviation in pixels of the Gaussian that continues a colour beyond an edge.
_CONTINUED = 1.0


class BlackBox(Renderer):
    """Draws objects with MuJoCo, one in a picture.

    The gradient is that of central differences (Eslami et al. 2016, 3D scenes): two
    more pictures for each of x, y and yaw. An object covers the pixels that differ from
    the empty table. Its colours there are those of the picture: they hold MuJoCo's
    antialiasing. XLA can't compile this.

    Args:
      config: the steps of the differences.
      tabletop: see `Renderer`.
      image_shape: (H, W, 3).

    Raises:
      InputError: see `MuJoCo`.
      RendererError: see `MuJoCo`. TensorFlow puts those of later calls into errors of
        its own, see `renderer_errors`.
    """

    def __init__(
        self,
        config: BlackBoxConfig,
        tabletop: Tabletop,
        image_shape: tuple[int, int, int],
    ):
        super().__init__(tabletop, image_shape)
        self._steps = np.diag(
            [config.position_step, config.position_step, config.yaw_step]
        ).astype(np.float32)
        self._mujoco = MuJoCo(tabletop, image_shape[:2], max_objects=1)
        self._table = self._mujoco.render(
            np.full([1, 1], -1), np.zeros([1, 1, 2]), np.zeros([1, 1])
        )[0]

    def close(self) -> None:
        """Ends MuJoCo's process."""
        self._mujoco.close()

    def ground(self) -> np.ndarray:
        """See `Renderer`."""
        return self._table.astype(np.float32) / np.float32(255.0)

    def blurred(self, images: tf.Tensor, blur: tf.Tensor | float) -> tf.Tensor:
        """Pictures of which all but the table is blurred, as objects are."""
        ground = self.ground()
        return ground + gaussian_blur(images - ground, blur)

    def layers(
        self, kind: int, position: tf.Tensor, yaw: tf.Tensor, blur: tf.Tensor | float
    ) -> Layer:
        """See `Renderer`; `blur` is the standard deviation of a Gaussian, in pixels."""
        blur = tf.convert_to_tensor(blur, tf.float32)
        # The yaw of an object that looks the same from all sides has no effect.
        steps = self._steps[: 3 if self.tabletop.kinds[kind].symmetry else 2]

        @tf.custom_gradient
        def draw(pose):
            def backward(d_alpha, d_colour):
                moved = pose + np.concatenate([steps, -steps])[:, np.newaxis]
                alpha, colour = self._draw(kind, tf.reshape(moved, [-1, 3]), blur)
                change = _sum(d_alpha * _difference(alpha, steps)) + _sum(
                    d_colour * _difference(colour, steps)
                )  # [steps, N]
                change /= 2 * steps.sum(axis=1, keepdims=True)
                return tf.transpose(change) @ np.sign(steps)

            return self._draw(kind, pose, blur), backward

        pose = tf.concat([position, yaw[:, tf.newaxis]], axis=1)  # [N, 3]
        alpha, colour = draw(tf.cast(pose, tf.float32))
        _, depth = self.project(position)
        return Layer(alpha=alpha, colour=colour, depth=depth)

    def _draw(
        self, kind: int, pose: tf.Tensor, blur: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Alpha [N, H, W] and colour [N, H, W, 3] of objects at poses [N, 3]."""

        def render(pose: np.ndarray) -> np.ndarray:
            kinds = np.full([len(pose), 1], kind)
            return self._mujoco.render(kinds, pose[:, np.newaxis, :2], pose[:, 2:])

        pixels = tf.numpy_function(render, [pose], tf.uint8, stateful=False)
        pixels = tf.ensure_shape(pixels, [pose.shape[0], *self.image_shape])
        covered = tf.reduce_any(pixels != self._table, axis=-1, keepdims=True)
        alpha = tf.cast(covered, tf.float32)
        premultiplied = alpha * tf.cast(pixels, tf.float32) / 255.0
        drawn = gaussian_blur(tf.concat([alpha, premultiplied], axis=-1), blur)
        # Where there is no object, the colour is that of what is near: an object that
        # moves there brings it along.
        near = drawn + 1e-3 * gaussian_blur(drawn, _CONTINUED)
        colour = near[..., 1:] / (near[..., :1] + 1e-12)
        return drawn[..., 0], colour


def _difference(values: tf.Tensor, steps: np.ndarray) -> tf.Tensor:
    """[2 * steps * N, ...] of both directions to [steps, N, ...]."""
    shape = tf.concat([[2, len(steps), -1], tf.shape(values)[1:]], axis=0)
    ahead, behind = tf.unstack(tf.reshape(values, shape))
    return ahead - behind


def _sum(values: tf.Tensor) -> tf.Tensor:
    """Over all axes but the first two."""
    return tf.reduce_sum(values, axis=tf.range(2, tf.rank(values)))
