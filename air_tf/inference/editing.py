"""Edits scenes: moves, removes and duplicates their objects."""

import math
import numbers

import numpy as np

from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.structs import Scenes


class SceneEditor:
    """Edits the objects of one scene; `scenes` decodes the edited scene.

        editor = SceneEditor(air, air.infer(images), index=3)
        editor.move(0, 0.1, -0.2).duplicate(0, 0.3, 0.0).remove(1)
        canvas = editor.scenes().canvas[0]

    Objects are numbered from 0 in the order of inference. Removing an object lowers
    the numbers of those after it by one; a duplicate gets the highest number.

    Args:
      air: the model that decodes the scene.
      scenes: result of `AIR.infer` or `AIR.generate`.
      index: of the scene to edit.

    Raises:
      InputError: for an index out of range.
    """

    def __init__(self, air: AIR, scenes: Scenes, index: int = 0):
        if index not in range(len(scenes.num_objects)):
            raise InputError(
                f"is {index}; expected 0 to {len(scenes.num_objects) - 1}",
                field="index",
            )
        num = scenes.num_objects[index]
        self._air = air
        self._where = list(np.array(scenes.z_where[index, :num]))
        self._what = list(np.array(scenes.z_what[index, :num]))
        self._ground = scenes.ground[index : index + 1]

    def move(self, number: int, down: float, right: float) -> "SceneEditor":
        """Moves an object.

        Args:
          number: of the object.
          down: distance as a share of the canvas height; negative is up.
          right: distance as a share of the canvas width; negative is left.

        Raises:
          InputError: for an object that does not exist, or a distance that is not
            finite.
        """
        self._check(number)
        self._where[number] = self._where[number] + _shift(down, right)
        return self

    def remove(self, number: int) -> "SceneEditor":
        """Removes an object; raises InputError if it does not exist."""
        self._check(number)
        del self._where[number], self._what[number]
        return self

    def duplicate(self, number: int, down: float, right: float) -> "SceneEditor":
        """Adds a copy of an object, moved by a distance; arguments as for `move`."""
        self._check(number)
        self._where.append(self._where[number] + _shift(down, right))
        self._what.append(self._what[number])
        return self

    def scenes(self) -> Scenes:
        """Decodes the edited scene.

        Returns:
          `Scenes` with this one scene; T is its number of objects, but at least 1.
        """
        steps = max(len(self._where), 1)
        where = np.zeros((1, steps, 3))
        what = np.zeros((1, steps, self._air.config.z_what_size))
        present = np.zeros((1, steps))
        for i, (a, b) in enumerate(zip(self._where, self._what, strict=True)):
            where[0, i], what[0, i], present[0, i] = a, b, 1.0
        return self._air.describe(where, what, present, self._ground)

    def _check(self, number: int) -> None:
        if number not in range(len(self._where)):
            found = len(self._where)
            objects = "1 object" if found == 1 else f"{found} objects"
            raise InputError(
                f"is {number}; the scene has {objects}, numbered from 0",
                field="number",
            )


def _shift(down: float, right: float) -> np.ndarray:
    """Converts shares of the canvas, which has size 2, to a change of z_where, [3]."""
    for name, value in (("down", down), ("right", right)):
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise InputError(f"is {value!r}; expected a finite number", field=name)
    return np.array([0.0, 2.0 * down, 2.0 * right])
