"""The registry of renderers, and their settings.

Settings are separate from the implementation, so that programs define flags without
TensorFlow.
"""

import dataclasses

from air_tf.config import checks
from air_tf.config.checks import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class RendererConfig:
    """Base class of the settings of a renderer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnalyticConfig(RendererConfig):
    """A differentiable renderer of boxes, spheres and cylinders, in TensorFlow."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlackBoxConfig(RendererConfig):
    """MuJoCo, with gradients by central finite differences."""

    position_step: float = setting(
        0.03, "Step of finite differences in x and y, in the scene's unit."
    )
    yaw_step: float = setting(0.15, "Step of finite differences in yaw, in radians.")

    def __post_init__(self):
        checks.require_positive(self, "position_step")
        checks.require_positive(self, "yaw_step")


RENDERERS: dict[str, type[RendererConfig]] = {
    "analytic": AnalyticConfig,
    "black_box": BlackBoxConfig,
}


def renderer_name(config: RendererConfig) -> str:
    """The name of a renderer in `RENDERERS`."""
    return checks.choice_name(config, RENDERERS)
