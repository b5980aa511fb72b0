"""Second tasks on scenes of two digits (Eslami et al. 2016, section 3.1)."""

import numpy as np

from air_tf.errors import InputError
from air_tf.structs import ImageSet

# Of each task, how many classes it has.
TASKS = {"sum": 19, "ascending": 2}
_NUM_DIGITS = 10


def answers(task: str, scenes: ImageSet) -> np.ndarray:
    """The right answers of one of `TASKS`, [N] int64.

    "sum" is that of the two digits; "ascending" is 1 where the digit on the left,
    by the centre of its box, is the smaller one, and 0 where they are equal. (Where
    centres are level, which no method can see, the one that was placed first counts.)

    Args:
      task: its name.
      scenes: with counts, boxes and labels.

    Raises:
      InputError: for scenes of other than two digits.
    """
    if (
        scenes.counts is None
        or scenes.labels is None
        or scenes.boxes is None
        or np.any(scenes.counts != 2)
        or scenes.labels.min() < 0
        or scenes.labels.max() >= _NUM_DIGITS
    ):
        raise InputError("scenes are not of two labelled digits each")
    digits = scenes.labels[:, :2]
    if task == "sum":
        return digits.sum(axis=1)
    centres = scenes.boxes[:, :2, 1] + scenes.boxes[:, :2, 3]  # twice, [N, 2]
    order = np.argsort(centres, axis=1, kind="stable")
    left, right = np.take_along_axis(digits, order, axis=1).T
    return (left < right).astype(np.int64)
