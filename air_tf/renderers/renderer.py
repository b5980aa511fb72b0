"""Interface of a renderer: the given decoder of a scene of objects on a table.

A renderer draws one object at a time. Objects are put together by
`air_tf.renderers.occlusion`, nearer ones in front.
"""

import abc
import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from air_tf.config.tabletop import Tabletop
from air_tf.errors import RendererError
from air_tf.renderers.camera import Camera


@contextlib.contextmanager
def renderer_errors() -> Iterator[None]:
    """Raises the RendererError that is in an error of TensorFlow, in one line."""
    try:
        yield
    except tf.errors.UnknownError as error:
        _, found, text = str(error.message).partition(f"{RendererError.__name__}: ")
        if not found:
            raise
        raise RendererError(text.splitlines()[0]) from None


class Layer(NamedTuple):
    """One object in each of N pictures, without the table."""

    alpha: Any  # [N, H, W] in [0, 1], how much of a pixel the object covers
    colour: Any  # [N, H, W, 3] in [0, 1], its colour there; any value where alpha is 0
    depth: Any  # [N], of its position, see `Camera.project`


class Renderer(abc.ABC):
    """Draws single objects and the empty table.

    Args:
      tabletop: camera, light, table and kinds.
      image_shape: (H, W, 3).

    Attributes:
      tabletop: as given.
      image_shape: as given.
      camera: from the table to the picture.
    """

    def __init__(self, tabletop: Tabletop, image_shape: tuple[int, int, int]):
        self.tabletop = tabletop
        self.image_shape = image_shape
        self.camera = Camera(tabletop, image_shape)

    @abc.abstractmethod
    def ground(self) -> np.ndarray:
        """The picture of the empty table: [H, W, 3] float32 in [0, 1]."""

    @abc.abstractmethod
    def layers(
        self, kind: int, position: tf.Tensor, yaw: tf.Tensor, blur: tf.Tensor | float
    ) -> Layer:
        """Draws one object in each picture. Position and yaw have gradients.

        Args:
          kind: index of the kind, the same in all pictures.
          position: [N, 2], (x, y) on the table.
          yaw: [N], radians, counter-clockwise seen from above.
          blur: width of the object's edges, in pixels.
        """

    @abc.abstractmethod
    def blurred(self, images: tf.Tensor, blur: tf.Tensor | float) -> tf.Tensor:
        """Pictures [B, H, W, 3] as they are compared with objects of the same blur."""

    def project(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Camera.project`."""
        return self.camera.project(position)

    def close(self) -> None:  # noqa: B027, most renderers start nothing
        """Ends what the renderer has started."""
