"""Axes of a tabletop's camera and light. Nothing here needs TensorFlow."""

from typing import NamedTuple

import numpy as np

from air_tf.config.tabletop import Tabletop


class Axes(NamedTuple):
    """Unit vectors of a camera, each [3]."""

    right: np.ndarray  # to the right in the picture
    up: np.ndarray  # upwards in the picture
    forward: np.ndarray  # along the optical axis


def camera_axes(tabletop: Tabletop) -> Axes:
    """Axes of a camera whose pictures show the axis z upright."""
    target = np.array(tabletop.camera_target, np.float64)
    forward = _unit(target - np.array(tabletop.camera_position, np.float64))
    right = _unit(np.cross(forward, [0.0, 0.0, 1.0]))
    return Axes(right=right, up=np.cross(right, forward), forward=forward)


def to_light(tabletop: Tabletop) -> np.ndarray:
    """Unit vector [3] towards the light."""
    return -_unit(np.array(tabletop.light_direction, np.float64))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
