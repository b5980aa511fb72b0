"""The number of objects of a picture, from probabilities of single objects."""

from typing import NamedTuple

import numpy as np

# Of the number of objects, within the interval.
_INTERVAL = 0.9
# Less uncertain objects are counted as they are.
_CERTAIN = 1e-6


class CountInterval(NamedTuple):
    """What is known of a number of objects."""

    low: int
    high: int
    probability: float  # of the number that was found


def count_interval(found: np.ndarray, missed: np.ndarray) -> CountInterval:
    """The distribution of a sum of independent events (Poisson binomial).

    Args:
      found: [N], probabilities of the objects that were found.
      missed: [M], probabilities of objects that were not.

    Returns:
      The interval that holds at least 90 % of the probability, 5 % at most beyond each
      end. It holds N, too.
    """
    number = len(found)
    events = np.concatenate([found, missed]).astype(np.float64)
    certain = int((events > 1.0 - _CERTAIN).sum())
    events = events[(events > _CERTAIN) & (events <= 1.0 - _CERTAIN)]
    probs = np.ones(1)  # of 0 .. the number of events so far
    for event in events:
        probs = np.append(probs, 0.0)
        probs[1:] += event * (probs[:-1] - probs[1:])
        probs[0] *= 1.0 - event
    tail = (1.0 - _INTERVAL) / 2.0
    total = np.cumsum(probs)
    low = certain + int(np.searchsorted(total, tail, side="right"))
    last = int(np.searchsorted(total, 1.0 - tail))
    high = certain + min(last, len(probs) - 1)
    index = number - certain
    return CountInterval(
        min(low, number),
        max(high, number),
        float(probs[index]) if 0 <= index < len(probs) else 0.0,
    )
