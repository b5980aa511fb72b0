import numpy as np
import pytest

from air_tf import SceneEditor
from air_tf.errors import InputError


@pytest.fixture(scope="module")
def air(learnt_run):
    return learnt_run.load_model()


@pytest.fixture(scope="module")
def scenes(air):
    """Two scenes of two objects each, drawn small enough not to be cut off."""
    where = np.array([[[0.3, -0.4, -0.4], [0.3, 0.4, 0.4]]] * 2)
    what = np.random.default_rng(0).normal(size=(2, 2, air.config.z_what_size))
    return air.describe(where, what, np.ones((2, 2)))


def test_a_scene_without_edits_is_drawn_the_same(air, scenes):
    again = SceneEditor(air, scenes, 1).scenes()
    np.testing.assert_allclose(again.canvas[0], scenes.canvas[1], atol=1e-6)
    np.testing.assert_allclose(again.boxes[0], scenes.boxes[1], atol=1e-6)
    assert again.num_objects[0] == 2


def test_move_by_shares_of_the_canvas(air, scenes):
    moved = SceneEditor(air, scenes).move(0, 0.1, 0.2).scenes()
    by = moved.boxes[0, 0] - scenes.boxes[0, 0]
    np.testing.assert_allclose(by, [0.1, 0.2, 0.1, 0.2], atol=1e-5)
    np.testing.assert_array_equal(moved.boxes[0, 1], scenes.boxes[0, 1])
    # 0.1 and 0.2 of 50 pixels: the same pixels, 5 lower and 10 further right.
    alone = SceneEditor(air, scenes).remove(1).scenes().canvas[0]
    after = SceneEditor(air, scenes).remove(1).move(0, 0.1, 0.2).scenes().canvas[0]
    np.testing.assert_allclose(after[5:, 10:], alone[:-5, :-10], atol=1e-4)


def test_remove_and_duplicate(air, scenes):
    canvas = [
        SceneEditor(air, scenes).remove(1 - number).scenes().canvas[0]
        for number in (0, 1)
    ]
    np.testing.assert_allclose(canvas[0] + canvas[1], scenes.canvas[0], atol=1e-5)
    twice = SceneEditor(air, scenes).duplicate(0, 0.0, 0.3).scenes()
    assert twice.num_objects[0] == 3
    np.testing.assert_array_equal(twice.z_what[0, 2], twice.z_what[0, 0])
    by = twice.boxes[0, 2] - twice.boxes[0, 0]
    np.testing.assert_allclose(by, [0.0, 0.3, 0.0, 0.3], atol=1e-5)


def test_an_empty_scene(air, scenes):
    empty = SceneEditor(air, scenes).remove(0).remove(0).scenes()
    assert empty.num_objects[0] == 0
    assert not empty.canvas.any() and not empty.presence.any()


def test_inferred_scenes_are_not_changed(air, scenes):
    before = scenes.z_where.copy()
    SceneEditor(air, scenes).move(0, 0.1, 0.1).remove(1)
    np.testing.assert_array_equal(scenes.z_where, before)


def test_objects_that_do_not_exist_are_refused(air, scenes):
    with pytest.raises(InputError, match="index is 2; expected 0 to 1"):
        SceneEditor(air, scenes, 2)
    editor = SceneEditor(air, scenes)
    for edit in (editor.remove, lambda n: editor.move(n, 0, 0)):
        with pytest.raises(InputError, match="number is 2; the scene has 2 objects"):
            edit(2)
    for edit in (editor.move, editor.duplicate):
        for amount in (float("nan"), "a", None):
            with pytest.raises(InputError, match="expected a finite number"):
                edit(0, 0.1, amount)
