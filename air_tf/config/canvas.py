"""Settings of how a canvas is drawn: how objects are put together, and the ground."""

import dataclasses

from air_tf.config import checks
from air_tf.config.checks import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdditiveConfig:
    """Objects add light, as in Eslami et al. 2016."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlphaConfig:
    """Objects have a colour and a mask, and hide what is behind them."""

    mask_bias: float = setting(
        -1.0,
        "Initial bias of the decoder's mask, before the sigmoid: untrained objects are "
        "thin grey veils.",
    )
    colour_grid: tuple[int, int] = setting(
        (1, 1),
        "Rows and columns of colours that an object's colour is interpolated from. "
        "With one, what touches in another colour is another object.",
    )

    def __post_init__(self):
        checks.require_number(self, "mask_bias")
        checks.require_ints(self, "colour_grid", 2)


COMPOSITIONS: dict[str, type] = {"additive": AdditiveConfig, "alpha": AlphaConfig}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlackConfig:
    """The canvas without objects is black."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConstantConfig:
    """The canvas without objects has one colour, inferred for each picture."""

    ground_pooling: int = setting(
        4,
        "Side in pixels of the squares over which the image is averaged for the "
        "network that infers the ground.",
    )
    ground_units: tuple[int, ...] = setting(
        (64,), "Hidden layers of the network that infers the ground."
    )

    def __post_init__(self):
        checks.require_int(self, "ground_pooling", 1)
        checks.require_ints(self, "ground_units", None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StripedConfig(ConstantConfig):
    """The canvas without objects has one colour, and straight lines on it.

    Every row and every column adds a colour of its own, inferred for each picture;
    where they cross, the one that adds or takes more.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnedConfig:
    """The canvas without objects is smooth, and inferred for each picture.

    It is a sum of a few cosine waves, fitted to what objects leave to see. What all
    pictures share is added at full resolution.
    """

    ground_waves: tuple[int, int] = setting(
        (8, 8),
        "Number of waves down and along the canvas that grounds are made of: the "
        "resolution of a grid of so many cells.",
    )
    ground_tolerance: float = setting(
        0.1,
        "A pixel that differs from the ground by more than about twice this, over all "
        "channels, belongs to an object. Smaller than the contrast of objects; at "
        "least the noise.",
    )
    ground_rounds: int = setting(
        6, "How often the ground is fitted to the pixels that do not differ from it."
    )

    def __post_init__(self):
        checks.require_ints(self, "ground_waves", 2)
        checks.require_positive(self, "ground_tolerance")
        checks.require_int(self, "ground_rounds", 1)


BACKGROUNDS: dict[str, type] = {
    "black": BlackConfig,
    "constant": ConstantConfig,
    "striped": StripedConfig,
    "learned": LearnedConfig,
}
