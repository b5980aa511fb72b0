"""Metrics of inferred kinds, positions and yaws of objects on a table, in numpy."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from air_tf.config.tabletop import Tabletop
from air_tf.structs import ImageSet, Objects3D, Scenes3D


class Matches(NamedTuple):
    """Pairs of a true object and an inferred one. M pairs, of N images."""

    image: np.ndarray  # [M]
    kind: np.ndarray  # [M], the true kind
    is_right: np.ndarray  # [M] bool, whether the inferred kind is the true one
    distance: np.ndarray  # [M], between the positions, in the table's unit
    angle: np.ndarray  # [M], between the yaws, degrees; 0 if the yaw can't be seen
    num_true: int  # objects in all images, matched or not


def match(
    images: ImageSet, scenes: Scenes3D | Objects3D, tabletop: Tabletop
) -> Matches:
    """Matches the objects of each image so that the sum of distances is smallest.

    If counts differ, as many objects are matched as there are in the smaller set.

    Args:
      images: with counts, labels (kinds), positions and yaws.
      scenes: what was inferred.
      tabletop: the scene, for the symmetries of the kinds.
    """
    rows = []
    symmetries = [kind.symmetry for kind in tabletop.kinds]
    for i, (count, found) in enumerate(
        zip(images.counts, scenes.num_objects, strict=True)
    ):
        true = images.positions[i, :count]
        inferred = scenes.position[i, :found]
        distances = np.linalg.norm(true[:, None] - inferred, axis=-1)
        for t, s in zip(*linear_sum_assignment(distances), strict=True):
            kind = int(images.labels[i, t])
            turn = scenes.yaw[i, s] - images.yaws[i, t]
            rows.append(
                (
                    i,
                    kind,
                    scenes.kind[i, s] == kind,
                    distances[t, s],
                    _angle(turn, symmetries[kind]),
                )
            )
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Matches(
        image=table[:, 0].astype(np.int64),
        kind=table[:, 1].astype(np.int64),
        is_right=table[:, 2].astype(bool),
        distance=table[:, 3],
        angle=table[:, 4],
        num_true=int(images.counts.sum()),
    )


def _angle(turn: float, symmetry: int) -> float:
    """The smallest angle in degrees that makes up for a turn in radians."""
    if symmetry == 0:
        return 0.0
    period = 360.0 / symmetry
    angle = np.degrees(turn) % period
    return float(min(angle, period - angle))
