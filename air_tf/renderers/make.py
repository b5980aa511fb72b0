"""Makes the renderer that settings choose."""

from air_tf.config.renderers import AnalyticConfig, BlackBoxConfig, RendererConfig
from air_tf.config.tabletop import Tabletop
from air_tf.errors import InputError
from air_tf.renderers.analytic import Analytic
from air_tf.renderers.black_box import BlackBox
from air_tf.renderers.renderer import Renderer


def make_renderer(
    config: RendererConfig, tabletop: Tabletop, image_shape: tuple[int, int, int]
) -> Renderer:
    """Makes a renderer.

    Args:
      config: which one, and its settings.
      tabletop: what it draws.
      image_shape: (H, W, 3).

    Raises:
      InputError: for pictures without three channels, or kinds that the renderer can't
        draw; for BlackBoxConfig, also if MuJoCo or OpenGL is missing.
    """
    if image_shape[2] != 3:
        raise InputError(
            f"is {image_shape}; expected three channels", field="image_shape"
        )
    if isinstance(config, BlackBoxConfig):
        return BlackBox(config, tabletop, image_shape)
    assert isinstance(config, AnalyticConfig)
    return Analytic(tabletop, image_shape)
