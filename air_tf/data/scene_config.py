"""Settings of generated scenes.

Together with the pool of objects, if any, they determine every byte of a scene.
"""

import dataclasses
from typing import Any

from air_tf.config import checks
from air_tf.config.checks import setting
from air_tf.config.tabletop import TABLETOPS, Tabletop

BACKGROUNDS = ("black", "plain", "gradient", "texture")
DSPRITE_COLORS = ("white", "hsv", "rgb")
DSPRITE_BACKGROUNDS = ("black", "grey", "rgb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonConfig:
    """Settings that all kinds of scenes have."""

    counts: tuple[int, ...] = setting(
        (0, 1, 2), "Numbers of objects, all equally probable."
    )
    canvas_size: tuple[int, int] = setting((50, 50), "Height and width in pixels.")
    scene_attempts: int = setting(
        1000,
        "How often a scene is drawn again before its objects are said not to fit.",
    )
    seed: int = setting(0, "Seed of the scenes.")

    def __post_init__(self):
        checks.require_ints(self, "counts", None, minimum=0)
        checks.require(len(self.counts) > 0, self, "counts", "at least one number")
        checks.require_ints(self, "canvas_size", 2)
        checks.require_int(self, "scene_attempts", 1)
        checks.require_int(self, "seed", 0)

    @property
    def channels(self) -> int:
        """Of the picture: 1 for grey, 3 for colours."""
        return 3

    @property
    def max_objects(self) -> int:
        """Most objects of a scene; at least 1, so that no array is empty."""
        return max(1, *self.counts)

    @property
    def place(self) -> str:
        """Where objects may not fit, for messages."""
        height, width = self.canvas_size
        return f"a canvas of {height}x{width}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlatConfig(CommonConfig):
    """Settings of scenes whose objects are pictures, placed on the canvas."""

    place_attempts: int = setting(
        100,
        "Random places tried for an object that may not overlap others, before the "
        "whole scene is drawn again.",
    )

    def __post_init__(self):
        super().__post_init__()
        checks.require_int(self, "place_attempts", 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneConfig(FlatConfig):
    """How scenes are composed from pictures of single objects."""

    overlap: bool = setting(
        False,
        "If true, whole pictures with their margins are placed; they may overlap as "
        "long as no pixel saturates. If false, bounding boxes of the ink are placed "
        "anywhere on the canvas and never overlap.",
    )
    shrink: tuple[float, float] = setting(
        (1.3, 0.1),
        "Mean and standard deviation of the number that a picture's height and width "
        "are divided by.",
    )
    min_shrink: float = setting(0.1, "Lower bound of that number.")
    enlarge: tuple[float, float] = setting(
        (1.0, 1.0),
        "Smallest and largest number that they are then multiplied by; its logarithm "
        "is uniformly distributed.",
    )
    grid: float = setting(
        0.0,
        "If above 0, pixels on some rows and columns are made at least this bright, "
        "from 0 to 1.",
    )
    grid_spacing: int = setting(
        5,
        "Every how many rows and columns belong to the grid; the first of each is "
        "random.",
    )
    pixel_range: tuple[float, float] = setting(
        (0.0, 1.0), "Brightness that black and the brightest ink become, from 0 to 1."
    )
    noise: float = setting(
        0.0,
        "Standard deviation of Gaussian noise that is added to each pixel, where 1 is "
        "the full range; what leaves the range is clipped.",
    )

    def __post_init__(self):
        super().__post_init__()
        checks.require_bool(self, "overlap")
        checks.require(
            _are_two_numbers(self.shrink)
            and self.shrink[0] > 0
            and self.shrink[1] >= 0,
            self,
            "shrink",
            "a mean above 0 and a standard deviation of at least 0",
        )
        checks.require_positive(self, "min_shrink")
        checks.require(
            _are_two_numbers(self.enlarge) and 0 < self.enlarge[0] <= self.enlarge[1],
            self,
            "enlarge",
            "two numbers above 0, the smaller first",
        )
        _require_within_one(self, "grid")
        checks.require_int(self, "grid_spacing", 1)
        _require_range(self, "pixel_range")
        _require_within_one(self, "noise")

    @property
    def channels(self) -> int:
        return 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpriteConfig(FlatConfig):
    """How scenes of coloured shapes are drawn."""

    counts: tuple[int, ...] = setting(
        (0, 1, 2, 3), "Numbers of objects, all equally probable."
    )
    overlap: bool = setting(
        False,
        "If true, objects may hide parts of earlier ones. If false, bounding boxes "
        "never overlap.",
    )
    min_visible: float = setting(
        1 / 3, "Smallest visible share of an object's pixels in an accepted scene."
    )
    size: tuple[float, float] = setting(
        (10.0, 20.0),
        "Smallest and largest side in pixels of the square that a shape fills; sizes "
        "are uniformly distributed.",
    )
    rotation: bool = setting(False, "Shapes are rotated by a random angle.")
    object_saturation: tuple[float, float] = setting(
        (0.5, 1.0), "Range of the saturation (HSV) of objects, uniformly distributed."
    )
    object_value: tuple[float, float] = setting(
        (0.7, 1.0), "Range of the value (HSV) of objects, uniformly distributed."
    )
    background: str = setting("black", f"{checks.one_of(BACKGROUNDS)}.")
    background_value: tuple[float, float] = setting(
        (0.1, 0.4),
        "Range of the value (HSV) of backgrounds other than black, uniformly "
        "distributed.",
    )
    texture_cells: int = setting(
        6, "Rows and columns of random values that a texture is interpolated from."
    )
    supersampling: int = setting(
        8, "Shapes are drawn this many times larger, then averaged down."
    )
    min_coverage: float = setting(
        0.5,
        "In the segmentation, a pixel belongs to an object that covers at least this "
        "share of it.",
    )

    def __post_init__(self):
        super().__post_init__()
        checks.require(
            _are_two_numbers(self.size) and 1 <= self.size[0] <= self.size[1],
            self,
            "size",
            "two numbers of pixels, the smaller first, of at least 1",
        )
        checks.require_bool(self, "overlap")
        checks.require_bool(self, "rotation")
        checks.require_choice(self, "background", BACKGROUNDS)
        for name in ("object_saturation", "object_value", "background_value"):
            _require_range(self, name)
        _require_within_one(self, "min_visible")
        checks.require_share(self, "min_coverage")
        checks.require_int(self, "texture_cells", 1)
        checks.require_int(self, "supersampling", 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TetrominoConfig(FlatConfig):
    """How scenes of tetrominoes are drawn."""

    counts: tuple[int, ...] = setting((3,), "Numbers of objects, all equally probable.")
    canvas_size: tuple[int, int] = setting((35, 35), "Height and width in pixels.")
    block: int = setting(5, "Side of each of a piece's four squares, in pixels.")
    step: int = setting(1, "Pieces lie at multiples of this many pixels.")

    def __post_init__(self):
        super().__post_init__()
        checks.require_int(self, "block", 1)
        checks.require_int(self, "step", 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DSpriteConfig(CommonConfig):
    """How scenes of the shapes of dSprites are drawn."""

    counts: tuple[int, ...] = setting(
        (2, 3, 4, 5), "Numbers of objects, all equally probable."
    )
    canvas_size: tuple[int, int] = setting((64, 64), "Height and width in pixels.")
    size: float = setting(
        17.0, "Square root of the area of all shapes at scale 1, in pixels."
    )
    color: str = setting("hsv", f"Of objects: {checks.one_of(DSPRITE_COLORS)}.")
    saturation: tuple[float, float] = setting(
        (0.5, 1.0), "Range of the saturation of hsv, uniformly distributed."
    )
    value: tuple[float, float] = setting(
        (0.5, 1.0), "Range of the value of hsv, uniformly distributed."
    )
    background: str = setting(
        "grey",
        f"{checks.one_of(DSPRITE_BACKGROUNDS)}; all levels are equally probable.",
    )
    min_visible: float = setting(
        0.1, "Smallest visible share of an object's pixels in an accepted scene."
    )

    def __post_init__(self):
        super().__post_init__()
        checks.require_positive(self, "size")
        checks.require_choice(self, "color", DSPRITE_COLORS)
        checks.require_choice(self, "background", DSPRITE_BACKGROUNDS)
        for name in ("saturation", "value"):
            _require_range(self, name)
        _require_within_one(self, "min_visible")

    @property
    def channels(self) -> int:
        return 1 if (self.color, self.background) == ("white", "black") else 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class TabletopSceneConfig(CommonConfig):
    """How scenes of objects on a table are drawn."""

    counts: tuple[int, ...] = setting(
        (0, 1, 2, 3), "Numbers of objects, all equally probable."
    )
    canvas_size: tuple[int, int] = setting((32, 32), "Height and width in pixels.")
    tabletop: Tabletop = setting(
        TABLETOPS["primitives"], "Camera, light, table, and kinds of objects."
    )
    blur: float = setting(
        0.2, "Width of edges in pixels, if air_tf's own renderer draws the pictures."
    )

    def __post_init__(self):
        super().__post_init__()
        ok = isinstance(self.tabletop, Tabletop)
        checks.require(ok, self, "tabletop", "a `Tabletop`")
        checks.require_positive(self, "blur")

    @property
    def place(self) -> str:
        side = 2 * self.tabletop.reach
        return (
            f"a table of {side:g}x{side:g} with `min_distance` "
            f"{self.tabletop.min_distance:g}"
        )


def _are_two_numbers(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(checks.is_number(one) for one in value)
    )


def _require_range(config: Any, name: str) -> None:
    value = getattr(config, name)
    ok = _are_two_numbers(value) and 0 <= value[0] <= value[1] <= 1
    checks.require(ok, config, name, "two numbers from 0 to 1, the smaller first")


def _require_within_one(config: Any, name: str) -> None:
    value = getattr(config, name)
    ok = checks.is_number(value) and 0 <= value <= 1
    checks.require(ok, config, name, "a number from 0 to 1")
