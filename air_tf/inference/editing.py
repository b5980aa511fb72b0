"""Scenes changed by hand: objects moved, removed and duplicated."""

import math
import numbers

import numpy as np

from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.structs import Scenes


class SceneEditor:
    """Edits one scene; `scenes` draws it as it is now.

        editor = SceneEditor(air, air.infer(images), index=3)
        editor.move(0, 0.1, -0.2).duplicate(0, 0.3, 0.0).remove(1)
        canvas = editor.scenes().canvas[0]

    Objects are numbered from 0 in the order of inference; a removed one leaves its
    number to the next, and a copy comes last.

    Args:
      air: the model that draws.
      scenes: what `AIR.infer` or `AIR.generate` returned.
      index: which of them.
    """

    def __init__(self, air: AIR, scenes: Scenes, index: int = 0):
        if index not in range(len(scenes.num_objects)):
            raise InputError(
                f"index is {index}; expected 0 to {len(scenes.num_objects) - 1}"
            )
        num = scenes.num_objects[index]
        self._air = air
        self._where = list(np.array(scenes.z_where[index, :num]))
        self._what = list(np.array(scenes.z_what[index, :num]))

    def move(self, number: int, down: float, right: float) -> "SceneEditor":
        """Moves an object by shares of the canvas, as boxes are measured."""
        self._check(number)
        self._where[number] = self._where[number] + _shift(down, right)
        return self

    def remove(self, number: int) -> "SceneEditor":
        """Takes an object out."""
        self._check(number)
        del self._where[number], self._what[number]
        return self

    def duplicate(self, number: int, down: float, right: float) -> "SceneEditor":
        """Puts a copy of an object beside it, that far from it."""
        self._check(number)
        self._where.append(self._where[number] + _shift(down, right))
        self._what.append(self._what[number])
        return self

    def scenes(self) -> Scenes:
        """The scene as it is now, drawn: `Scenes` of one, with T its objects.

        A scene without an object has one step, which is absent.
        """
        steps = max(len(self._where), 1)
        where = np.zeros((1, steps, 3))
        what = np.zeros((1, steps, self._air.config.z_what_size))
        present = np.zeros((1, steps))
        for i, (a, b) in enumerate(zip(self._where, self._what, strict=True)):
            where[0, i], what[0, i], present[0, i] = a, b, 1.0
        return self._air.describe(where, what, present)

    def _check(self, number: int) -> None:
        if number not in range(len(self._where)):
            raise InputError(
                f"number is {number}; the scene has {len(self._where)} objects, "
                "numbered from 0"
            )


def _shift(down: float, right: float) -> np.ndarray:
    """A change of (scale, shift_y, shift_x); the canvas is 2 high and wide."""
    for name, value in (("down", down), ("right", right)):
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise InputError(f"{name} is {value!r}; expected a finite number")
    return np.array([0.0, 2.0 * down, 2.0 * right])
