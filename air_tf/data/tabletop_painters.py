"""Pictures of scenes of objects on a table, and whose pixel each is."""

import abc
import contextlib
from collections.abc import Iterator
from importlib import metadata

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.data.scene_config import TabletopSceneConfig
from air_tf.errors import InputError
from air_tf.images import to_uint8
from air_tf.renderers import occlusion
from air_tf.renderers.analytic import Analytic
from air_tf.renderers.mujoco_process import MuJoCo
from air_tf.renderers.renderer import Layer, Renderer

# In the segmentation, objects have the pixels of which they cover at least this share.
_MIN_COVERAGE = 0.5
# Objects are drawn in multiples of this: the rest of a vector of 16 floats would be
# rounded in another way, and bytes would depend on which scenes are drawn together.
_ROWS = 16


class Painter(abc.ABC):
    """Draws pictures of N scenes of up to T objects.

    Attributes:
      name: of the program that draws, with its version if it is another package.
    """

    name: str

    @abc.abstractmethod
    def paint(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws scenes.

        Args:
          kinds: [N, T], -1 where there is no object.
          positions: [N, T, 2] float32.
          yaws: [N, T] float32.

        Returns:
          The pictures, [N, H, W, 3] uint8; and the segmentation, [N, H, W] uint8: k + 1
          where object k is visible, else 0.
        """


class MuJoCoPainter(Painter):
    """Lets MuJoCo draw.

    Where a picture is among those that are drawn together can change single values by
    1: MuJoCo draws them side by side.

    Args:
      mujoco: for the table.
    """

    def __init__(self, mujoco: MuJoCo):
        self._mujoco = mujoco
        self.name = f"MuJoCo {metadata.version('mujoco')}"

    def paint(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Painter`."""
        scenes = (kinds, positions, yaws)
        return self._mujoco.render(*scenes), self._mujoco.segment(*scenes)


class LayerPainter(Painter):
    """Puts together what a renderer draws of each object.

    The bytes of a picture do not depend on what else is drawn.

    Args:
      renderer: of the table.
      blur: width of the objects' edges, in pixels.
    """

    name = "air_tf"

    def __init__(self, renderer: Renderer, *, blur: float):
        self._renderer = renderer
        self._blur = blur

    def paint(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Painter`."""
        z_pres = (kinds >= 0).astype(np.float32)
        layers = self._layers(kinds, positions, yaws)
        images = occlusion.compose(self._renderer.ground(), *layers, z_pres)
        images = to_uint8(images)
        visible = occlusion.visible(layers.alpha, layers.depth, z_pres).numpy()
        most = visible.argmax(axis=1) + 1
        shown = np.where(visible.sum(axis=1) >= _MIN_COVERAGE, most, 0)
        return images, shown.astype(np.uint8)

    def _layers(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray
    ) -> Layer:
        """Every object alone; fields are [N, T, ...]."""
        shape = (*kinds.shape, *self._renderer.image_shape)
        layers = Layer(
            alpha=np.zeros(shape[:-1], np.float32),
            colour=np.zeros(shape, np.float32),
            depth=np.zeros(kinds.shape, np.float32),
        )
        for kind in np.unique(kinds[kinds >= 0]):
            chosen = kinds == kind
            num = chosen.sum()
            rows = np.arange(num + -num % _ROWS) % num
            drawn = self._renderer.layers(
                int(kind),
                tf.constant(positions[chosen][rows]),
                tf.constant(yaws[chosen][rows]),
                self._blur,
            )
            for whole, part in zip(layers, drawn, strict=True):
                whole[chosen] = part[:num]
        return layers


@contextlib.contextmanager
def open_painter(config: TabletopSceneConfig) -> Iterator[Painter]:
    """MuJoCo if it works here, else the package's own renderer.

    Raises:
      InputError: if MuJoCo does not work, and kinds are described by files, which only
        MuJoCo reads.
      RendererError: if MuJoCo's process ends.
    """
    mujoco = _start_mujoco(config)
    if mujoco is None:
        yield analytic_painter(config)
    else:
        with mujoco:
            yield MuJoCoPainter(mujoco)


def _start_mujoco(config: TabletopSceneConfig) -> MuJoCo | None:
    try:
        return MuJoCo(
            config.tabletop, config.canvas_size, max_objects=config.max_objects
        )
    except InputError as error:
        if any(kind.file is not None for kind in config.tabletop.kinds):
            raise
        logging.info("%s. The package's own renderer draws instead.", error)
        return None


def analytic_painter(config: TabletopSceneConfig) -> LayerPainter:
    """The package's own renderer, which draws kinds that have `parts`."""
    renderer = Analytic(config.tabletop, (*config.canvas_size, 3))
    return LayerPainter(renderer, blur=config.blur)
