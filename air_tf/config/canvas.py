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
class LearnedConfig(ConstantConfig):
    """The canvas without objects is smooth, and inferred for each picture.

    It is drawn from a code, with the resolution of a coarse grid. What all pictures
    share is added at full resolution.
    """

    ground_grid: tuple[int, int] = setting(
        (4, 4),
        "Rows and columns of colours that the ground is interpolated from. A finer "
        "grid can draw objects.",
    )
    ground_code_size: int = setting(16, "Size of the ground's code.")
    ground_delay: tuple[float, float] = setting(
        (0.1, 0.3),
        "Until the first share of the training steps, the ground of a picture has one "
        "colour, so that objects are learned first; from the second on, all its "
        "colours are free.",
    )

    def __post_init__(self):
        super().__post_init__()
        checks.require_ints(self, "ground_grid", 2)
        checks.require_int(self, "ground_code_size", 1)
        delay = self.ground_delay
        checks.require(
            isinstance(delay, tuple)
            and len(delay) == 2
            and all(map(checks.is_number, delay))
            and 0 <= delay[0] < delay[1] <= 1,
            self,
            "ground_delay",
            "two shares from 0 to 1, the smaller first",
        )


BACKGROUNDS: dict[str, type] = {
    "black": BlackConfig,
    "constant": ConstantConfig,
    "striped": StripedConfig,
    "learned": LearnedConfig,
}
