"""Programs that take minutes say how far they are, where somebody looks."""

import io
import sys

import numpy as np
import pytest

from air_tf import progress
from air_tf.deployment.agreement import compare
from air_tf.images import batches
from air_tf.structs import Scenes


class _Stderr(io.StringIO):
    def __init__(self, *, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_in_a_terminal_alone(is_terminal, monkeypatch):
    tqdm = progress.tqdm
    # At once, and after every batch.
    settings = {"delay": 0, "mininterval": 0, "miniters": 1}
    monkeypatch.setattr(progress, "tqdm", lambda **given: tqdm(**given | settings))
    stderr = _Stderr(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    images = np.arange(10)
    seen = list(progress.with_bar(batches(images, 4), 10, "evaluation"))
    assert [batch.tolist() for _, batch in seen] == [
        [*range(4)],
        [*range(4, 8)],
        [8, 9],
    ]
    shown = stderr.getvalue()
    assert is_terminal == ("evaluation:  80%" in shown and "8/10" in shown)
    assert is_terminal or not shown


class _Model:
    """Finds as many objects as an image's first pixel says, each of a third's size."""

    max_objects, max_batch_size = 3, 4

    def __init__(self):
        self.sizes = []

    def infer(self, images, **_):
        self.sizes.append(len(images))
        counts = images[:, 0].astype(int)
        present = (np.arange(3) < counts[:, np.newaxis]).astype(float)
        found = dict.fromkeys(Scenes._fields)
        found |= {"num_objects": counts, "presence": present}
        found["boxes"] = np.tile([0.0, 0.0, 0.3, 0.3], (len(images), 3, 1))
        found["z_what"] = np.tile(images[:, :1, np.newaxis], (1, 3, 2))
        return Scenes(**found)


def test_models_are_compared_part_by_part():
    """150 images in batches of 4, which parts of 64 are made of."""
    images = np.arange(150.0)[:, np.newaxis] % 4
    keras, edge = _Model(), _Model()
    found = compare(keras, edge, images)
    assert keras.sizes == edge.sizes == [64, 64, 22]
    assert (found.num_images, found.count_agreement) == (150, 1.0)
    assert found.mean_iou == pytest.approx(1.0) and found.code_error == 0.0
