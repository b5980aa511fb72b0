"""Settings of a scene of objects on a table: what a renderer has to know.

The table is the plane z = 0, and the axis z points up. Lengths are in the unit that the
scene is described in; positions of objects on the table are (x, y) in this unit.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from air_tf.config import checks
from air_tf.config.checks import setting
from air_tf.errors import InputError

Vector = tuple[float, float, float]

# Shapes, with how many lengths give their size.
SHAPES = {"box": 3, "sphere": 1, "cylinder": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A solid, in the coordinates of its object, which turns about the axis z."""

    shape: str = setting("box", f"One of {', '.join(SHAPES)}; cylinders stand upright.")
    size: tuple[float, ...] = setting(
        (0.1, 0.1, 0.1),
        "Half extents (x, y, z) of a box; radius of a sphere; radius and half height "
        "of a cylinder.",
    )
    centre: Vector = setting((0.0, 0.0, 0.1), "Centre (x, y, z).")
    colour: Vector = setting((0.9, 0.15, 0.15), "Red, green and blue, in [0, 1].")
    checker_colour: Vector | None = setting(
        None,
        "Colour where x and y have opposite signs, so that a turn can be seen. "
        "Default: that of the rest.",
    )

    def __post_init__(self):
        checks.require_choice(self, "shape", tuple(SHAPES))
        expected = f"{SHAPES[self.shape]} numbers above 0"
        _require_numbers(self, "size", SHAPES[self.shape], expected, low=1e-6)
        _require_numbers(self, "centre", 3, "3 finite numbers")
        colours = ["colour"] + ["checker_colour"] * (self.checker_colour is not None)
        for name in colours:
            _require_numbers(self, name, 3, "3 numbers from 0 to 1", low=0.0, high=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object: its parts, or a file that describes it."""

    name: str = setting("cube", "Name of the kind.")
    symmetry: int = setting(
        1,
        "Number of turns about the axis z within 360 degrees after which the object "
        "looks the same: 4 for a cube, 1 for a cup; 0 if it looks the same from all "
        "sides.",
    )
    parts: tuple[Part, ...] = setting((), "Solids that the object is the union of.")
    file: str | None = setting(
        None, "Instead of parts: an OBJ or MJCF file, for --renderer=black_box."
    )
    file_scale: float = setting(1.0, "Factor from the file's unit to the scene's.")
    colour: Vector = setting((0.7, 0.7, 0.7), "Of an OBJ file, which has no colour.")

    def __post_init__(self):
        ok = isinstance(self.name, str) and self.name.isidentifier()
        checks.require(ok, self, "name", "letters, digits and underscores")
        checks.require_int(self, "symmetry", 0)
        ok = isinstance(self.parts, tuple) and all(
            isinstance(part, Part) for part in self.parts
        )
        checks.require(ok, self, "parts", "a tuple of `Part`")
        ok = self.file is None or (isinstance(self.file, str) and self.file != "")
        checks.require(ok, self, "file", "the path of a file")
        if bool(self.parts) == bool(self.file):
            raise InputError(
                f"holds {len(self.parts)} solids and `file` is {self.file!r}; expected "
                "one of the two",
                field="parts",
            )
        checks.require_positive(self, "file_scale")
        expected = "3 numbers from 0 to 1"
        _require_numbers(self, "colour", 3, expected, low=0.0, high=1.0)


# The most kinds whose combinations the exact sum over kinds can hold.
MAX_KINDS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tabletop:
    """A camera, a light, a table, and the kinds of objects that may be on it."""

    name: str = setting("primitives", "Name of the scene.")
    kinds: tuple[Kind, ...] = setting((), "Kinds of objects.")
    reach: float = setting(
        0.55, "Positions of objects are in [-reach, reach], along both axes."
    )
    min_distance: float = setting(0.42, "Smallest distance between two objects.")
    object_height: float = setting(
        0.18, "Height above the table of a typical object's centre."
    )
    camera_position: Vector = setting((0.0, -2.0, 1.9), "Of the camera.")
    camera_target: Vector = setting((0.0, 0.0, 0.0), "Point in the picture's centre.")
    field_of_view: float = setting(34.0, "Vertical, in degrees.")
    light_direction: Vector = setting((0.4, 0.5, -0.8), "In which the light shines.")
    ambient: float = setting(0.35, "Share of light from all sides.")
    diffuse: float = setting(0.65, "Share of light from the direction of the light.")
    table_colour: Vector = setting((0.55, 0.5, 0.45), "Red, green and blue.")

    def __post_init__(self):
        checks.require(isinstance(self.name, str), self, "name", "a text")
        ok = isinstance(self.kinds, tuple) and all(
            isinstance(kind, Kind) for kind in self.kinds
        )
        checks.require(ok, self, "kinds", "a tuple of `Kind`")
        names = [kind.name for kind in self.kinds]
        if not 1 <= len(set(names)) == len(names) <= MAX_KINDS:
            raise InputError(
                f"are {', '.join(names) or 'none'}; expected 1 to {MAX_KINDS} with "
                "different names",
                field="kinds",
            )
        for name in ("reach", "min_distance", "diffuse"):
            checks.require_positive(self, name)
        checks.require(
            self.min_distance < 2 * self.reach,
            self,
            "min_distance",
            f"less than the table's width, {2 * self.reach:g}",
        )
        for name in ("object_height", "ambient"):
            checks.require_number(self, name)
        for name in ("camera_position", "camera_target", "light_direction"):
            _require_numbers(self, name, 3, "3 finite numbers")
        expected = "a direction, not only zeros"
        checks.require(any(self.light_direction), self, "light_direction", expected)
        ok = checks.is_number(self.field_of_view) and 1 <= self.field_of_view <= 150
        checks.require(ok, self, "field_of_view", "1 to 150 degrees")
        expected = "3 numbers from 0 to 1"
        _require_numbers(self, "table_colour", 3, expected, low=0.0, high=1.0)
        x, y, z = (
            a - b for a, b in zip(self.camera_position, self.camera_target, strict=True)
        )
        ok = self.camera_position[2] > 0 and z > 0 and x**2 + y**2 > 0
        expected = "a point above the table and the target, but not straight above"
        checks.require(ok, self, "camera_position", expected)

    @property
    def kind_names(self) -> tuple[str, ...]:
        return tuple(kind.name for kind in self.kinds)

    def scaled(self, factor: float) -> "Tabletop":
        """The same scene in another unit: all lengths times `factor`."""

        def times(lengths: tuple[float, ...]) -> Any:
            return tuple(factor * length for length in lengths)

        kinds = [
            dataclasses.replace(
                kind,
                file_scale=factor * kind.file_scale,
                parts=tuple(
                    dataclasses.replace(
                        part, size=times(part.size), centre=times(part.centre)
                    )
                    for part in kind.parts
                ),
            )
            for kind in self.kinds
        ]
        return dataclasses.replace(
            self,
            kinds=tuple(kinds),
            reach=factor * self.reach,
            min_distance=factor * self.min_distance,
            object_height=factor * self.object_height,
            camera_position=times(self.camera_position),
            camera_target=times(self.camera_target),
        )

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> "Tabletop":
        """Reads the result of `to_dict`, or a user's file; what is missing is default.

        Raises:
          InputError: for unknown or invalid settings.
        """
        values = _given(cls, values)
        kinds = tuple(_named_kind(kind) for kind in _list(values, "kinds"))
        return cls(**{**values, "kinds": kinds})


def _named_kind(values: Any) -> Kind:
    """Reads a kind; errors say which it is."""
    try:
        return _kind(values)
    except InputError as error:
        if not isinstance(values, Mapping):
            raise
        raise InputError(f"kind {values.get('name')}: {error}") from None


def _kind(values: Any) -> Kind:
    values = _given(Kind, values)
    if "name" not in values:
        raise InputError("is missing; expected a name of the kind", field="name")
    if "symmetry" not in values:
        raise InputError(
            "is missing; expected the number of turns after which the object looks the "
            "same, 0 for all turns",
            field="symmetry",
        )
    parts = tuple(Part(**_given(Part, part)) for part in _list(values, "parts"))
    return Kind(**{**values, "parts": parts})


def _list(values: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    found = values.get(name, ())
    if not isinstance(found, tuple):
        raise InputError(f"is {found!r}; expected a list", field=name)
    return found


def _given(cls: type, values: Any) -> dict[str, Any]:
    """Arguments for the dataclass `cls`, with JSON's lists as tuples."""
    if not isinstance(values, Mapping):
        raise InputError(f"{values!r} is not a description of a {cls.__name__}")
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
    if unknown:
        raise InputError(f"{cls.__name__} has no field {', '.join(unknown)}")
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def _require_numbers(
    config: Any,
    name: str,
    length: int,
    expected: str,
    *,
    low: float | None = None,
    high: float | None = None,
) -> None:
    values = getattr(config, name)
    ok = (
        isinstance(values, tuple)
        and len(values) == length
        and all(checks.is_number(value) for value in values)
        and (low is None or min(values) >= low)
        and (high is None or max(values) <= high)
    )
    checks.require(ok, config, name, expected)


def _solid(shape: str, size: tuple[float, ...], centre: Vector, colour: Vector, **more):
    return Part(shape=shape, size=size, centre=centre, colour=colour, **more)


_RED, _BLUE, _GREEN = (0.9, 0.15, 0.15), (0.15, 0.25, 0.9), (0.2, 0.8, 0.3)
_YELLOW = (0.95, 0.85, 0.2)


def _primitives(cube: Vector, sphere: Vector, cylinder: Vector) -> tuple[Kind, ...]:
    return (
        Kind(
            name="cube",
            symmetry=4,
            parts=(_solid("box", (0.17, 0.17, 0.17), (0.0, 0.0, 0.17), cube),),
        ),
        Kind(
            name="sphere",
            symmetry=0,
            parts=(_solid("sphere", (0.2,), (0.0, 0.0, 0.2), sphere),),
        ),
        Kind(
            name="cylinder",
            symmetry=0,
            parts=(_solid("cylinder", (0.16, 0.2), (0.0, 0.0, 0.2), cylinder),),
        ),
    )


_CHINA, _STEEL = (0.92, 0.92, 0.9), (0.25, 0.25, 0.28)
_CROCKERY = (
    Kind(
        name="plate",
        symmetry=0,
        parts=(
            _solid("cylinder", (0.26, 0.02), (0.0, 0.0, 0.02), _CHINA),
            _solid("cylinder", (0.17, 0.012), (0.0, 0.0, 0.042), (0.75, 0.75, 0.8)),
        ),
    ),
    Kind(
        name="cup",
        symmetry=1,
        parts=(
            _solid("cylinder", (0.13, 0.13), (0.0, 0.0, 0.13), _CHINA),
            _solid("cylinder", (0.105, 0.01), (0.0, 0.0, 0.264), (0.35, 0.3, 0.3)),
            _solid("box", (0.06, 0.02, 0.06), (0.17, 0.0, 0.14), _CHINA),
        ),
    ),
    Kind(
        name="pan",
        symmetry=1,
        parts=(
            _solid("cylinder", (0.22, 0.05), (0.0, 0.0, 0.05), _STEEL),
            _solid("cylinder", (0.19, 0.01), (0.0, 0.0, 0.104), (0.12, 0.12, 0.13)),
            _solid("box", (0.15, 0.03, 0.02), (0.34, 0.0, 0.07), _STEEL),
        ),
    ),
)

TABLETOPS = {
    tabletop.name: tabletop
    for tabletop in (
        Tabletop(name="primitives", kinds=_primitives(_RED, _BLUE, _GREEN)),
        Tabletop(name="primitives_one_colour", kinds=_primitives(_RED, _RED, _RED)),
        # As in the paper: the turn of the cylinder can be seen, too.
        Tabletop(
            name="one",
            kinds=(
                *_primitives(_RED, _BLUE, _GREEN)[:2],
                Kind(
                    name="cylinder",
                    symmetry=2,
                    parts=(
                        _solid(
                            "cylinder",
                            (0.16, 0.2),
                            (0.0, 0.0, 0.2),
                            _GREEN,
                            checker_colour=_YELLOW,
                        ),
                    ),
                ),
            ),
        ),
        # Farther apart than others: only handles of pans can touch.
        Tabletop(name="crockery", kinds=_CROCKERY, min_distance=0.55),
    )
}
