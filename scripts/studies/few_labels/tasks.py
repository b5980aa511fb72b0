"""Second tasks on scenes of two digits (Eslami et al. 2016, section 3.1)."""

import numpy as np

from air_tf.errors import InputError
from air_tf.structs import ImageSet

# The number of classes of each task.
TASKS = {"sum": 19, "ascending": 2}
_NUM_DIGITS = 10


def answers(task: str, scenes: ImageSet) -> np.ndarray:
    """The right answers of one of `TASKS`, [N] int64.

    "sum" is the sum of the two digits. "ascending" is 1 if the left digit is smaller
    than the right one, otherwise 0; the left digit is the one whose box has its centre
    further left. (If both centres have the same x, which no method can see, it is the
    one that was placed first.)

    Args:
      task: one of `TASKS`.
      scenes: with counts, boxes and labels.

    Raises:
      InputError: for scenes that do not hold exactly two digits.
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
    centres = scenes.boxes[:, :2, 1] + scenes.boxes[:, :2, 3]  # [N, 2], doubled
    order = np.argsort(centres, axis=1, kind="stable")
    left, right = np.take_along_axis(digits, order, axis=1).T
    return (left < right).astype(np.int64)
