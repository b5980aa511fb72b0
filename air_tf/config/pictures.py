"""Settings of pictures of any size, and what follows from the size of their objects."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from air_tf.config import checks
from air_tf.config.checks import setting

BRIGHT, DARK = "bright", "dark"
# Pixels of pictures with larger objects are averaged until the largest has this size.
_LARGEST_IN_WINDOW = 40
# Side of a window over the size of the largest object, and what it is a multiple of.
_WINDOW, _MULTIPLE = 1.5, 8
# T at least and at most. A window of 1.5 times the size of objects that touch shows
# parts of 2.5 * 2.5 of them; with fewer attend steps, the model learns to draw two with
# one. More attend steps cost training time.
_MAX_OBJECTS = (6, 8)
# Standard deviation of the size of objects, over their range.
_SPREAD = 0.3
_MIN_GLIMPSE, _MAX_GLIMPSE = 12, 28


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureConfig:
    """How pictures of any size are read, and cut into windows of the canvas' size.

    What is None is measured in the pictures that a run is trained on, see
    `air_tf.data.measure`, and stored with the run.
    """

    object_size: tuple[float, float] | None = setting(
        None,
        "Smallest and largest size of an object, in pixels of the picture: the longer "
        "side of its box. Canvas, glimpses, T and p(z_where) follow from it. Default: "
        "guessed from the pictures.",
    )
    polarity: str | None = setting(
        None,
        "Whether objects are brighter than the ground or darker: bright or dark. "
        "Default: guessed from the pictures.",
    )
    levels: tuple[float, float] | None = setting(
        None,
        "Intensities that become 0 and 1, as shares of the largest value that the "
        "file's type can hold; of floating-point pictures, as they are. Default: the "
        "1st and the 99.95th percentile of all training pictures.",
    )
    knee: float = setting(
        0.15,
        "Intensities z from 0 to 1 become log(1 + z / knee) / log(1 + 1 / knee), which "
        "brings dim and bright objects closer together. Large values change nothing.",
    )
    sharpening: float = setting(
        1.0,
        "How much of the difference between less and more blurred intensities is "
        "added, which separates objects that touch.",
    )
    contrast_floor: float = setting(
        0.2,
        "Intensities are stretched to the range in the neighbourhood of the size of "
        "the largest object, but at most by 1 over this: ground stays dark.",
    )
    channel: int | None = setting(
        None, "Channel to use, from 0 on. Default: the grey of all."
    )
    page: int = setting(0, "Page of TIFF files to use, from 0 on.")
    anywhere_share: float = setting(
        0.5,
        "Share of the training windows that lie anywhere in a picture. The others "
        "hold a pixel that differs from the ground.",
    )
    mask_threshold: float = setting(
        0.35,
        "An object lies where its mask is larger than this share of the mask's largest "
        "value.",
    )
    min_contrast: float = setting(
        0.12,
        "Objects that differ less from the ground are none: the mean over their "
        "pixels, of intensities from 0 to 1.",
    )

    def __post_init__(self):
        if self.object_size is not None:
            size = self.object_size
            checks.require(
                _two_numbers(size) and 2 <= size[0] <= size[1],
                self,
                "object_size",
                "two numbers of pixels, at least 2, the smaller first",
            )
        if self.polarity is not None:
            checks.require_choice(self, "polarity", (BRIGHT, DARK))
        if self.levels is not None:
            checks.require(
                _two_numbers(self.levels) and self.levels[0] < self.levels[1],
                self,
                "levels",
                "two numbers, the smaller first",
            )
        checks.require_positive(self, "knee")
        if self.channel is not None:
            checks.require_int(self, "channel", 0)
        checks.require_int(self, "page", 0)
        checks.require_positive(self, "contrast_floor")
        ok = checks.is_number(self.sharpening) and self.sharpening >= 0
        checks.require(ok, self, "sharpening", "a number of at least 0")
        for name in ("anywhere_share", "mask_threshold", "min_contrast"):
            value = getattr(self, name)
            ok = checks.is_number(value) and 0 <= value <= 1
            checks.require(ok, self, name, "a number from 0 to 1")

    @property
    def sizes(self) -> tuple[float, float]:
        """`object_size`, once it is known."""
        assert self.object_size is not None, "measured before it is used"
        return self.object_size

    @property
    def binning(self) -> int:
        """Side of the squares of pixels that are averaged before anything else."""
        return math.ceil(self.sizes[1] / _LARGEST_IN_WINDOW)

    @property
    def binned_sizes(self) -> tuple[float, float]:
        """Smallest and largest size of an object in averaged pixels."""
        smallest, largest = self.sizes
        return smallest / self.binning, largest / self.binning

    def model_settings(self) -> dict[str, Any]:
        """Fields of `AIRConfig` that follow from the size of objects."""
        smallest, largest = self.binned_sizes
        side = _MULTIPLE * math.ceil(_WINDOW * largest / _MULTIPLE)
        usual = math.sqrt(smallest * largest)
        fit = round(0.5 * (side / usual) ** 2)
        glimpse = min(max(round(1.45 * usual), _MIN_GLIMPSE), _MAX_GLIMPSE)
        return {
            "image_shape": (side, side, 1),
            "glimpse_size": (glimpse, glimpse),
            "max_objects": min(max(fit, _MAX_OBJECTS[0]), _MAX_OBJECTS[1]),
            "where_prior_loc": ((smallest + largest) / 2 / side, 0.0, 0.0),
            "where_prior_scale": (
                max(_SPREAD * (largest - smallest) / side, 0.03),
                0.6,
                0.6,
            ),
        }

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PictureConfig":
        """Reads the result of `to_dict`.

        Raises:
          InputError: for unknown, missing or invalid settings.
        """
        return cls(**checks.stored_fields(cls, values))


def _two_numbers(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == 2
        and all(map(checks.is_number, values))
    )
