"""Chooses the settings of a classical method on pictures whose labels are known."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from absl import logging

_MOST_PASSES = 8
# How many values further a better one is looked for.
_REACH = 2


class Tuned(NamedTuple):
    """The chosen settings."""

    settings: dict[str, float]
    value: float  # of the objective
    # Settings whose value is the first or last that may be chosen, although others lie
    # beyond it.
    at_edge: list[str]
    tried: int  # combinations


def tune(
    objective: Callable[[dict[str, float]], float],
    values: Mapping[str, Sequence[float]],
    start: Mapping[str, float],
    natural: Mapping[str, float],
) -> Tuned:
    """Maximises an objective over a grid, one setting at a time.

    One setting after the other walks along its values as long as one of the next two
    is better; this is repeated until no walk improves the objective. All combinations
    of seven settings would take weeks. A better combination of which several settings
    differ at once may be missed.

    Args:
      objective: of settings.
      values: of each setting, rising.
      start: the settings to begin with, each one of its values.
      natural: ends of `values` that are no edge, because nothing lies beyond.
    """
    known: dict[tuple[float, ...], float] = {}

    def value_at(place: Mapping[str, int]) -> float:
        settings = {name: values[name][i] for name, i in place.items()}
        key = tuple(settings.values())
        if key not in known:
            known[key] = objective(settings)
        return known[key]

    best = {name: list(options).index(start[name]) for name, options in values.items()}
    for _ in range(_MOST_PASSES):
        before = dict(best)
        for name, options in values.items():
            moved = True
            while moved:
                moved = False
                first = max(best[name] - _REACH, 0)
                for i in range(first, min(best[name] + _REACH + 1, len(options))):
                    if value_at({**best, name: i}) > value_at(best):
                        best, moved = {**best, name: i}, True
        if best == before:
            break
        logging.info("%s after %d tries: %.4f", best, len(known), value_at(best))
    settings = {name: values[name][i] for name, i in best.items()}
    at_edge = [
        name
        for name, options in values.items()
        if best[name] in (0, len(options) - 1) and settings[name] != natural.get(name)
    ]
    return Tuned(settings, value_at(best), at_edge, len(known))
