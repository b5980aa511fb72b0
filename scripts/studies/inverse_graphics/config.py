"""Settings of the study of inverse graphics: everything that changes its results."""

import dataclasses
from typing import Any

from air_tf.config import checks
from air_tf.config.checks import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverseGraphicsConfig:
    """How the methods that AIR3D is compared with work.

    Positions are in units of the table's reach. The phase of an object is its yaw
    times the symmetry of its kind, in radians.
    """

    num_images: int = setting(200, "Test images that all methods are compared on.")
    starts: tuple[int, ...] = setting(
        (1, 4, 16), "Numbers of random starts of the optimisation, in rising order."
    )
    optimisation_steps: int = setting(100, "Steps of Adam for each image.")
    position_rates: tuple[float, ...] = setting(
        (0.05, 0.1, 0.2),
        "Learning rates of positions at the start of the optimisation, of which the "
        "best on validation images is used; they fall to a third.",
    )
    phase_rates: tuple[float, ...] = setting(
        (0.1, 0.3), "Likewise, of phases; every pair of the two is tried."
    )
    num_validation_images: int = setting(
        50, "Validation images that the learning rates are chosen on."
    )
    validation_starts: int = setting(
        4, "Random starts of the optimisation when the learning rates are chosen."
    )
    initial_blur: float = setting(
        4.0,
        "Width of the objects' edges at the start of the optimisation, in pixels; it "
        "falls to that of the run.",
    )
    initial_scale: float = setting(
        1.0,
        "Standard deviation of a pixel at the start of the optimisation; it falls to "
        "that of the run.",
    )
    explore_share: float = setting(
        0.5,
        "Share of the optimisation's steps in which the weight of scenes with all T "
        "objects falls to that of their probability.",
    )
    supervised_steps: int | None = setting(
        None, "Training steps of the supervised network. Default: those of the run."
    )
    position_loss_weight: float = setting(
        50.0, "Weight of squared errors of positions in the supervised loss."
    )
    phase_loss_weight: float = setting(
        2.0, "Weight of one minus the cosine of phase errors in the supervised loss."
    )
    mask_loss_weight: float = setting(
        0.1, "Weight of the squared errors of masks' pixels in the supervised loss."
    )
    search_seed: int = setting(0, "Seed of the optimisation's random starts.")

    def __post_init__(self) -> None:
        for name in (
            "num_images",
            "optimisation_steps",
            "num_validation_images",
            "validation_starts",
        ):
            checks.require_int(self, name, 1)
        if self.supervised_steps is not None:
            checks.require_int(self, "supervised_steps", 1)
        checks.require_int(self, "search_seed", 0)
        checks.require_ints(self, "starts", None)
        rising = self.starts == tuple(sorted(set(self.starts)))
        expected = "at least one number, in rising order"
        checks.require(rising and len(self.starts) > 0, self, "starts", expected)
        for name in ("position_rates", "phase_rates"):
            rates = getattr(self, name)
            ok = isinstance(rates, tuple) and len(rates) > 0
            ok = ok and all(checks.is_number(rate) and rate > 0 for rate in rates)
            checks.require(ok, self, name, "at least one number above 0")
        for name in (
            "initial_blur",
            "initial_scale",
            "position_loss_weight",
            "phase_loss_weight",
            "mask_loss_weight",
        ):
            checks.require_positive(self, name)
        checks.require_share(self, "explore_share")

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)
