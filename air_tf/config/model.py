"""Settings of the model: those that affect its weights or its results."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from air_tf.config import checks, upgrade
from air_tf.config.canvas import (
    BACKGROUNDS,
    COMPOSITIONS,
    AdditiveConfig,
    AlphaConfig,
    BlackConfig,
    ConstantConfig,
    LearnedConfig,
)
from air_tf.config.checks import setting
from air_tf.errors import InputError

# There are not so many places in an image that differ.
MAX_PROPOSALS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class DifferenceConfig:
    """Inference from the image minus the canvas drawn so far (Difference-AIR).

    Eslami et al. 2016, section 3.1. The search over cells is not in the paper.
    """

    look_units: tuple[int, ...] = setting(
        (64, 64),
        "Hidden layers of the network that reads the patch around each cell of the "
        "search grid.",
    )
    cell_stride: int = setting(
        4, "Distance between neighbouring cells of the search grid, in pooled pixels."
    )
    cell_patch: int = setting(
        14, "Side of the square patch around a cell, in pooled pixels."
    )
    cell_reach: float = setting(
        1.5,
        "Largest distance of a window's centre from that of its cell, in units of "
        "cell_stride. Above 0.5, neighbouring cells overlap.",
    )
    num_refinements: int = setting(
        2,
        "Number of times that an attend step corrects its window, each time with the "
        "glimpse in the current window.",
    )
    proposals: int = setting(
        8,
        "How often an image that is explained badly is explained again, with the first "
        "attend step at another likely cell. The best explanation is kept. 0: never.",
    )
    proposal_distance: float = setting(
        0.25,
        "Smallest distance between the centres of these cells, in units of half the "
        "canvas.",
    )
    revisions: int = setting(
        0,
        "How often, after these, one object of such an image is explained again from "
        "what the others leave; before, every object of each proposal once. The best "
        "explanation is kept. Without effect with --proposals=0.",
    )
    examined_share: float = setting(
        0.3,
        "Share of the training images whose explanations count as bad: those that "
        "leave most in a window of the size of an object.",
    )
    bound_deviation: float = setting(
        5.0,
        "Standard deviation of a bound over samples of q, in nats. Differences between "
        "the bounds of counts are divided by it to give the probabilities of the "
        "counts of an image that was examined.",
    )

    def __post_init__(self):
        checks.require_ints(self, "look_units", None)
        checks.require(len(self.look_units) > 0, self, "look_units", "at least one")
        for name in ("cell_stride", "cell_patch", "num_refinements"):
            checks.require_int(self, name, 1)
        ok = checks.is_int(self.proposals) and 0 <= self.proposals <= MAX_PROPOSALS
        checks.require(ok, self, "proposals", f"0 to {MAX_PROPOSALS}")
        ok = checks.is_int(self.revisions) and 0 <= self.revisions <= MAX_PROPOSALS
        checks.require(ok, self, "revisions", f"0 to {MAX_PROPOSALS}")
        for name in ("cell_reach", "proposal_distance", "bound_deviation"):
            checks.require_positive(self, name)
        checks.require_share(self, "examined_share")
        checks.require(
            self.cell_patch >= self.cell_stride,
            self,
            "cell_patch",
            f"at least `cell_stride`, {self.cell_stride}: every pixel is read",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Inference with an LSTM that reads the image at each attend step.

    Eslami et al. 2016, section 2.2.
    """

    recurrent_units: int = setting(256, "Units of the LSTM.")

    def __post_init__(self):
        checks.require_int(self, "recurrent_units", 1)


# Buffers and canvases of more attend steps do not fit into memory.
MAX_OBJECTS = 100
INFERENCES: dict[str, type] = {
    "difference": DifferenceConfig,
    "recurrent": RecurrentConfig,
}
_CHOICES = {
    "inference": INFERENCES,
    "composition": COMPOSITIONS,
    "background": BACKGROUNDS,
}
# The value of `likelihood_scale` with which it is inferred.
LEARNED = "learned"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AIRConfig:
    """The model: sizes of its networks, its priors and its likelihood.

    The window `z_where` is (scale, shift_y, shift_x): scale is the size of the
    window over the size of the canvas, the shifts lie in [-1, 1].
    """

    image_shape: tuple[int, int, int] = setting(
        (50, 50, 1), "Canvas: height, width and channels."
    )
    max_objects: int = setting(
        3,
        "T, the number of attend steps: the largest count that can be inferred.",
    )
    glimpse_size: tuple[int, int] = setting(
        (28, 28), "Height and width of a glimpse, in pixels."
    )
    z_what_size: int = setting(50, "D, the size of an object's appearance code.")
    inference: DifferenceConfig | RecurrentConfig = setting(
        DifferenceConfig(),
        "Input of an attend step: the image minus the canvas drawn so far "
        "(difference), or the image and the state of an LSTM (recurrent).",
    )
    look_pooling: int = setting(
        2,
        "Side in pixels of the squares over which the image is averaged for the "
        "network that finds the next object. Glimpses have full resolution.",
    )
    where_units: tuple[int, ...] = setting(
        (200,),
        "Hidden layers of the network that gives z_where from a glimpse (difference) "
        "or the LSTM's output (recurrent).",
    )
    encoder_units: tuple[int, ...] = setting(
        (200,), "Hidden layers of the glimpse encoder, q(z_what | glimpse)."
    )
    decoder_units: tuple[int, ...] = setting(
        (200,), "Hidden layers of the glimpse decoder, p(glimpse | z_what)."
    )
    decoder_bias: float = setting(
        -2.0,
        "Initial bias of the decoder's output, before the sigmoid: below 0, the pixels "
        "of untrained objects are below 0.5. Without effect with --composition=alpha.",
    )
    where_head_gain: float = setting(
        0.1,
        "Variance of the initial weights of the layers that give presence and "
        "z_where, relative to Glorot's.",
    )
    where_raw_scale: float = setting(
        -2.0,
        "Initial standard deviation of q(z_where), before the softplus.",
    )
    what_raw_scale: float = setting(
        0.5, "Initial standard deviation of q(z_what), before the softplus."
    )
    min_where_scale: float = setting(
        0.01, "Lower bound of the standard deviations of q(z_where)."
    )
    min_what_scale: float = setting(
        0.001, "Lower bound of the standard deviations of q(z_what)."
    )
    min_window_scale: float = setting(
        0.02,
        "Lower bound of the scale of windows, because a sampled scale can be 0 or "
        "negative.",
    )
    composition: AdditiveConfig | AlphaConfig = setting(
        AdditiveConfig(),
        "How objects are put together: they add light (additive), or hide what is "
        "behind them (alpha).",
    )
    background: BlackConfig | ConstantConfig | LearnedConfig = setting(
        BlackConfig(),
        "The canvas without objects: black, one colour for each picture (constant), "
        "with a colour for each row and each column (striped), or smooth, a sum of "
        "waves for each picture, plus what all pictures share (learned).",
    )
    likelihood_scale: float | str = setting(
        0.3,
        "sigma, the standard deviation of each pixel in p(x | z): a number, or "
        "learned.",
    )
    min_likelihood_scale: float = setting(
        0.1, "Lower bound of sigma with --likelihood_scale=learned."
    )
    count_decay: float = setting(
        0.01,
        "p(n) is proportional to count_decay ** n. With a smaller value, an object "
        "has to explain more of the image to be inferred.",
    )
    min_count_prob: float = setting(
        1e-6,
        "Lower bound of each probability of p(n) as fitted to the training images.",
    )
    where_prior_loc: tuple[float, float, float] = setting(
        (0.35, 0.0, 0.0), "Mean of p(z_where)."
    )
    where_prior_scale: tuple[float, float, float] = setting(
        (0.1, 0.5, 0.5), "Standard deviation of p(z_where)."
    )
    box_threshold: float = setting(
        0.1, "A box encloses the pixels of its object that are brighter than this."
    )

    def __post_init__(self):
        checks.require_ints(self, "image_shape", 3, minimum=1)
        checks.require(
            type(self.inference) in INFERENCES.values(),
            self,
            "inference",
            checks.one_of(cls.__name__ for cls in INFERENCES.values()),
        )
        for name, choices in (
            ("composition", COMPOSITIONS),
            ("background", BACKGROUNDS),
        ):
            expected = checks.one_of(cls.__name__ for cls in choices.values())
            known = type(getattr(self, name)) in choices.values()
            checks.require(known, self, name, expected)
        self._check_composition()
        if isinstance(self.background, ConstantConfig):
            smallest = min(self.image_shape[:2])
            checks.require(
                self.background.ground_pooling <= smallest,
                self.background,
                "ground_pooling",
                f"at most {smallest}, a side of the canvas",
            )
        if isinstance(self.background, LearnedConfig):
            down, along = self.background.ground_waves
            height, width = self.image_shape[:2]
            checks.require(
                down <= height and along <= width,
                self.background,
                "ground_waves",
                f"at most {height},{width}, the canvas",
            )
        checks.require_ints(self, "glimpse_size", 2)
        for name in ("max_objects", "look_pooling", "z_what_size"):
            checks.require_int(self, name, 1)
        checks.require(
            self.max_objects <= MAX_OBJECTS, self, "max_objects", f"1 to {MAX_OBJECTS}"
        )
        for name in ("where_units", "encoder_units", "decoder_units"):
            checks.require_ints(self, name, None)
        for name in ("decoder_bias", "where_raw_scale", "what_raw_scale"):
            checks.require_number(self, name)
        for name in (
            "where_head_gain",
            "min_where_scale",
            "min_what_scale",
            "min_likelihood_scale",
        ):
            checks.require_positive(self, name)
        scale = self.likelihood_scale
        checks.require(
            self.learns_scale or (checks.is_number(scale) and float(scale) > 0),
            self,
            "likelihood_scale",
            f"a number above 0, or {LEARNED}",
        )
        for name in ("count_decay", "min_window_scale"):
            checks.require_share(self, name)
        for name in ("min_count_prob", "box_threshold"):
            value = getattr(self, name)
            ok = checks.is_number(value) and 0 < value < 1
            checks.require(ok, self, name, "a number between 0 and 1")
        for name in ("where_prior_loc", "where_prior_scale"):
            values = getattr(self, name)
            checks.require(
                isinstance(values, tuple)
                and len(values) == 3
                and all(checks.is_number(v) for v in values),
                self,
                name,
                "3 finite numbers: scale, shift_y, shift_x",
            )
        checks.require(
            0 < self.where_prior_loc[0] < 1,
            self,
            "where_prior_loc",
            "a scale between 0 and 1 as the first number",
        )
        checks.require(
            min(self.where_prior_scale) > 0,
            self,
            "where_prior_scale",
            "standard deviations above 0",
        )

    def _check_composition(self) -> None:
        """Recurrent inference moves blank steps, which only exist in sums of light."""
        if isinstance(self.composition, AlphaConfig) and not isinstance(
            self.inference, DifferenceConfig
        ):
            raise InputError(
                "is alpha; expected additive with `inference` recurrent, whose memory "
                "does not say what is hidden",
                field="composition",
            )

    @property
    def learns_scale(self) -> bool:
        """Whether sigma is a weight of the model."""
        return self.likelihood_scale == LEARNED

    def num_steps(self, max_objects: int | None = None) -> int:
        """T: `max_objects`, or that of the config if None.

        Raises:
          InputError: if it is not a whole number of at least 1.
        """
        steps = self.max_objects if max_objects is None else max_objects
        if not checks.is_int(steps) or steps < 1:
            raise InputError(
                f"is {steps!r}; expected a whole number of at least 1",
                field="max_objects",
            )
        return steps

    def num_proposals(self, proposals: int | None = None) -> int:
        """K: `proposals`, or that of the config if None.

        Raises:
          InputError: if it is out of range, or above 0 for a model without proposals.
        """
        own = getattr(self.inference, "proposals", 0)
        number = own if proposals is None else proposals
        if not checks.is_int(number) or not 0 <= number <= MAX_PROPOSALS:
            raise InputError(
                f"is {number!r}; expected 0 to {MAX_PROPOSALS}", field="proposals"
            )
        if number and not own:
            raise InputError(
                f"is {number}; expected 0 for this model, which has none",
                field="proposals",
            )
        return number

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, with the version of its format."""
        return {
            "version": upgrade.VERSION,
            **dataclasses.asdict(self),
            **{
                name: checks.to_choice(getattr(self, name), choices)
                for name, choices in _CHOICES.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AIRConfig":
        """Reads the result of `to_dict`, of this or an earlier version.

        Raises:
          InputError: for a later version, or unknown or invalid settings.
        """
        values = upgrade.model_settings(values)
        for name, choices in _CHOICES.items():
            values[name] = checks.from_choice(values.get(name), choices, field=name)
        return cls(**checks.stored_fields(cls, values))
