"""Functions that declare and check settings.

Programs show the `help` metadata of a field as the help text of its flag.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from air_tf.errors import InputError


def setting(default: Any, help: str) -> Any:
    """Declares a field of a dataclass of settings."""
    return dataclasses.field(default=default, metadata={"help": help})


def require(ok: bool, config: Any, name: str, expected: str) -> None:
    """Raises InputError for the field `name` of `config` unless `ok`."""
    if not ok:
        raise InputError(
            f"is {getattr(config, name)!r}; expected {expected}", field=name
        )


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def require_int(config: Any, name: str, minimum: int) -> None:
    value = getattr(config, name)
    expected = f"a whole number of at least {minimum}"
    require(is_int(value) and value >= minimum, config, name, expected)


def require_number(config: Any, name: str) -> None:
    require(is_number(getattr(config, name)), config, name, "a finite number")


def require_positive(config: Any, name: str) -> None:
    value = getattr(config, name)
    require(is_number(value) and value > 0, config, name, "a number above 0")


def require_share(config: Any, name: str) -> None:
    value = getattr(config, name)
    ok = is_number(value) and 0 < value <= 1
    require(ok, config, name, "a number above 0 and at most 1")


def require_bool(config: Any, name: str) -> None:
    require(isinstance(getattr(config, name), bool), config, name, "true or false")


def require_choice(config: Any, name: str, choices: tuple[str, ...]) -> None:
    require(getattr(config, name) in choices, config, name, one_of(choices))


def require_ints(config: Any, name: str, length: int | None, minimum: int = 1) -> None:
    values = getattr(config, name)
    require(
        isinstance(values, tuple)
        and (length is None or len(values) == length)
        and all(is_int(v) and v >= minimum for v in values),
        config,
        name,
        f"{'' if length is None else f'{length} '}whole numbers of at least {minimum}, "
        "separated by commas",
    )


def one_of(choices: Iterable[str]) -> str:
    """Joins choices for a message: "a, b or c"."""
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def stored_fields(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the dataclass `cls`, with JSON's lists as tuples.

    All fields have to be there: a default may have changed since they were stored.

    Raises:
      InputError: for a field that `cls` does not have, or one that is missing.
    """
    names = {field.name for field in dataclasses.fields(cls)}
    unknown, missing = sorted(set(values) - names), sorted(names - set(values))
    if unknown:
        raise InputError(f"{cls.__name__} has no field {', '.join(unknown)}")
    if missing:
        raise InputError(f"{cls.__name__} lacks the field {', '.join(missing)}")
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
    }


def choice_name(config: Any, choices: Mapping[str, type]) -> str:
    """The name in `choices` of the class of `config`."""
    (name,) = (name for name, cls in choices.items() if type(config) is cls)
    return name


def to_choice(config: Any, choices: Mapping[str, type]) -> dict[str, Any]:
    """A dictionary of the fields of `config` and its name in `choices`."""
    return {"name": choice_name(config, choices), **dataclasses.asdict(config)}


def from_choice(values: Any, choices: Mapping[str, type], *, field: str) -> Any:
    """Reads what `to_choice` returned.

    Raises:
      InputError: for a name that is not in `choices`, or unknown fields.
    """
    name = values.get("name") if isinstance(values, Mapping) else None
    if not isinstance(name, str) or name not in choices:
        raise InputError(f"is {name!r}; expected {one_of(choices)}", field=field)
    given = {key: value for key, value in values.items() if key != "name"}
    return choices[name](**stored_fields(choices[name], given))
