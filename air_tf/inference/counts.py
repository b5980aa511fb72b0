"""What is known of the number of objects of a picture.

Probabilities of single objects say what the model is unsure of. But errors of a picture
are alike: objects that touch, are blurred or faint are counted wrongly all over it, and
with confidence. On labelled pictures, the errors of counts N follow a Laplace
distribution whose scale grows with the root of N.
"""

from typing import Any, NamedTuple

import numpy as np

# Of the number of objects, within the interval.
_INTERVAL = 0.9
# Less uncertain objects are counted as they are.
_CERTAIN = 1e-6
# Scale of the errors over the root of the count: from 0.43 to 0.48, by the 50th, 75th
# and 90th percentile of errors on the training pictures of nuclei/dsb2018_256.
_SPREAD = 0.48
# Larger errors are left out, over their scale: a share of 1e-6.
_REACH = 14.0


class CountInterval(NamedTuple):
    """What is known of a number of objects, or of several: arrays then."""

    low: Any
    high: Any
    probability: Any  # of the number that was found


def interval_of(probs: np.ndarray, number: np.ndarray) -> CountInterval:
    """The interval of known distributions.

    Args:
      probs: [N, K + 1], of 0 to K objects.
      number: [N], how many were found.

    Returns:
      Arrays [N]: the interval that holds at least 90 % of the probability, 5 % at most
      beyond each end. It holds `number`, too.
    """
    tail = (1.0 - _INTERVAL) / 2.0
    total = np.cumsum(probs, axis=1)
    most = probs.shape[1] - 1
    low = (total <= tail).sum(axis=1)
    high = np.minimum((total < 1.0 - tail).sum(axis=1), most)
    known = (number >= 0) & (number <= most)
    chosen = probs[np.arange(len(probs)), np.clip(number, 0, most)]
    return CountInterval(
        np.minimum(low, number),
        np.maximum(high, number),
        np.where(known, chosen, 0.0),
    )


def count_interval(found: np.ndarray, missed: np.ndarray) -> CountInterval:
    """The distribution of a sum of independent events, blurred by usual errors.

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
    probs = np.ones(1)  # of 0 .. the number of events so far (Poisson binomial)
    for event in events:
        probs = np.append(probs, 0.0)
        probs[1:] += event * (probs[:-1] - probs[1:])
        probs[0] *= 1.0 - event
    errors = _error_probs(_SPREAD * np.sqrt(number))
    probs = np.convolve(probs, errors)
    least = certain - len(errors) // 2  # the count of the first of them
    probs, least = probs[max(0, -least) :], max(0, least)
    low, high, probability = interval_of(
        probs[np.newaxis] / probs.sum(), np.array([number - least])
    )
    return CountInterval(
        least + int(low[0]), least + int(high[0]), float(probability[0])
    )


def _error_probs(scale: float) -> np.ndarray:
    """Of the errors -K .. K, in proportion to exp(-|error| / scale)."""
    if not scale:
        return np.ones(1)
    reach = int(np.ceil(_REACH * scale))
    probs = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
    return probs / probs.sum()
