"""Settings of the model of objects on a table, whose decoder is a renderer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from air_tf.config import checks, upgrade
from air_tf.config.checks import setting
from air_tf.config.renderers import RENDERERS, AnalyticConfig, BlackBoxConfig
from air_tf.config.tabletop import TABLETOPS, Tabletop
from air_tf.errors import InputError

# Beyond this the sums over counts and kinds take too long.
MAX_OBJECTS_3D = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class AIR3DConfig:
    """The model of 3D scenes: its renderer, the sizes of its networks, its priors.

    Lengths on the table are in units of its reach. Fields that `AIRConfig` has, too,
    mean the same.
    """

    tabletop: Tabletop = setting(TABLETOPS["primitives"], "The scene.")
    renderer: AnalyticConfig | BlackBoxConfig = setting(
        AnalyticConfig(),
        "What draws the objects: ray casting of simple solids, with exact gradients "
        "(analytic), or MuJoCo, whose gradients are finite differences (black_box).",
    )
    image_shape: tuple[int, int, int] = setting(
        (32, 32, 3), "Canvas: height, width and channels."
    )
    max_objects: int = setting(
        3,
        "T, the number of attend steps: the largest count that can be inferred.",
    )
    input_gain: float = setting(
        3.0, "Factor of the image minus the empty table, before the networks."
    )
    look_pooling: int = setting(
        1,
        "Side in pixels of the squares over which the image is averaged for the "
        "network that finds the next object. Glimpses have full resolution.",
    )
    look_channels: tuple[int, ...] = setting(
        (16, 32), "Convolutions that read the image; the first halves its size."
    )
    presence_units: tuple[int, ...] = setting(
        (64,), "Hidden layers of the network that says whether there is one more."
    )
    salience: float = setting(
        8.0, "Weight in the attention of what no object found so far explains."
    )
    min_salience: float = setting(
        0.15,
        "Largest sum over colours of an unexplained pixel's difference at which the "
        "weight is halved.",
    )
    attention_reach: float = setting(
        0.5,
        "Radius on the table, around the most salient place, of the places whose mean "
        "is the first guess of the position.",
    )
    glimpse_size: tuple[int, int] = setting(
        (20, 20), "Height and width of a glimpse, in pixels."
    )
    glimpse_scale: float = setting(
        0.625, "Height of a glimpse over the height of the image."
    )
    glimpse_channels: tuple[int, ...] = setting(
        (32, 64), "Convolutions that read a glimpse; each halves its size."
    )
    glimpse_units: tuple[int, ...] = setting(
        (192, 96), "Dense layers that read a glimpse after them."
    )
    num_corrections: int = setting(
        1,
        "Number of times that an attend step corrects the position, each time with "
        "the glimpse there, before the glimpse that everything is read from.",
    )
    max_correction: float = setting(0.27, "Largest correction of a position by one.")
    min_position_scale: float = setting(
        0.01, "Lower bound of the standard deviations of q(position)."
    )
    min_yaw_scale: float = setting(
        0.02, "Lower bound of the standard deviation of q(yaw), in radians."
    )
    likelihood_scale: float = setting(
        0.05, "sigma, the standard deviation of each pixel in p(x | z)."
    )
    blur: float = setting(0.2, "Width of the objects' edges in p(x | z), in pixels.")
    crowding_scale: float = setting(
        0.05,
        "How solid objects are: the standard deviation, in p(z), of how far two of "
        "them may be nearer than the smallest distance, in units of the table's reach.",
    )
    count_decay: float = setting(
        0.37,
        "p(n) is proportional to count_decay ** n. With a smaller value, an object "
        "has to explain more of the image to be inferred.",
    )

    def __post_init__(self):
        checks.require(
            isinstance(self.tabletop, Tabletop), self, "tabletop", "a `Tabletop`"
        )
        checks.require(
            type(self.renderer) in RENDERERS.values(),
            self,
            "renderer",
            checks.one_of(cls.__name__ for cls in RENDERERS.values()),
        )
        checks.require_ints(self, "image_shape", 3, minimum=1)
        checks.require(
            self.image_shape[2] == 3,
            self,
            "image_shape",
            "3 channels: red, green, blue",
        )
        ok = min(self.image_shape[:2]) >= 8
        checks.require(ok, self, "image_shape", "a height and a width of at least 8")
        checks.require_int(self, "max_objects", 1)
        ok = self.max_objects <= MAX_OBJECTS_3D
        checks.require(ok, self, "max_objects", f"1 to {MAX_OBJECTS_3D}")
        checks.require_ints(self, "glimpse_size", 2, minimum=4)
        for name in (
            "look_channels",
            "glimpse_channels",
            "glimpse_units",
            "presence_units",
        ):
            checks.require_ints(self, name, None)
            filled = len(getattr(self, name)) > 0
            checks.require(filled, self, name, "at least one")
        checks.require_int(self, "num_corrections", 0)
        checks.require_int(self, "look_pooling", 1)
        for name in (
            "input_gain",
            "salience",
            "min_salience",
            "attention_reach",
            "max_correction",
            "min_position_scale",
            "min_yaw_scale",
            "likelihood_scale",
            "blur",
            "crowding_scale",
        ):
            checks.require_positive(self, name)
        for name in ("count_decay", "glimpse_scale"):
            checks.require_share(self, name)

    @property
    def num_kinds(self) -> int:
        """K."""
        return len(self.tabletop.kinds)

    @property
    def max_coordinate(self) -> float:
        """The largest coordinate of an inferred position, in units of the reach."""
        return 1.0 + (self.num_corrections + 1) * self.max_correction

    def num_steps(self, max_objects: int | None = None) -> int:
        """T: `max_objects`, or that of the config if None.

        Raises:
          InputError: if it is not a whole number of at least 1.
        """
        steps = self.max_objects if max_objects is None else max_objects
        if not checks.is_int(steps) or not 1 <= steps <= MAX_OBJECTS_3D:
            raise InputError(
                f"is {steps!r}; expected 1 to {MAX_OBJECTS_3D} for 3D scenes",
                field="max_objects",
            )
        return steps

    def num_proposals(self, proposals: int | None = None) -> int:
        """0: there are no proposals in 3D scenes.

        Raises:
          InputError: if `proposals` is neither None nor 0.
        """
        if proposals:
            raise InputError(
                f"is {proposals}; expected 0 for 3D scenes", field="proposals"
            )
        return 0

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, with the version of its format."""
        return {
            "version": upgrade.VERSION,
            **dataclasses.asdict(self),
            "tabletop": self.tabletop.to_dict(),
            "renderer": checks.to_choice(self.renderer, RENDERERS),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AIR3DConfig":
        """Reads the result of `to_dict`, of this or an earlier version.

        Raises:
          InputError: for a later version, or unknown or invalid settings.
        """
        values = upgrade.model3d_settings(values)
        values["tabletop"] = Tabletop.from_dict(values.get("tabletop"))
        values["renderer"] = checks.from_choice(
            values.get("renderer"), RENDERERS, field="renderer"
        )
        return cls(**checks.stored_fields(cls, values))
