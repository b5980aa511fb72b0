"""MuJoCo as a renderer: its pictures, gradients, process and meshes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config.renderers import BlackBoxConfig
from air_tf.config.tabletop import TABLETOPS, Kind
from air_tf.errors import InputError, RendererError
from air_tf.renderers.analytic import Analytic
from air_tf.renderers.black_box import BlackBox

pytest.importorskip("mujoco")
_SHAPE = (32, 32, 3)
_TABLE = TABLETOPS["primitives"]
_PLACES = np.array([[0.1, -0.2], [-0.3, 0.3], [0.4, 0.1], [0.0, 0.0]], np.float32)
_TURNS = np.array([0.3, -0.8, 0.1, 0.6], np.float32)
_BOX = """
v -1 -1 0
v 1 -1 0
v 1 1 0
v -1 1 0
v -1 -1 2
v 1 -1 2
v 1 1 2
v -1 1 2
f 1 4 3 2
f 5 6 7 8
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""


def _black_box(tabletop=_TABLE):
    try:
        return BlackBox(BlackBoxConfig(), tabletop, _SHAPE)
    except InputError as error:
        if "OpenGL does not work" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def renderer():
    found = _black_box()
    yield found
    found.close()


def _picture(renderer, kind, blur):
    """Of one object each, relative to the table, at all places."""
    layer = renderer.layers(kind, tf.constant(_PLACES), tf.constant(_TURNS), blur)
    return layer.alpha[..., None] * (layer.colour - renderer.ground())


@pytest.mark.parametrize("kind", range(3))
def test_both_renderers_draw_the_same(renderer, kind):
    analytic = Analytic(_TABLE, _SHAPE)
    np.testing.assert_allclose(analytic.ground(), renderer.ground(), atol=0.005)
    wanted = _picture(renderer, kind, 1e-3)
    found = _picture(analytic, kind, 0.2)
    left = tf.reduce_sum((wanted - found) ** 2) / tf.reduce_sum(wanted**2)
    assert left < 0.04


def test_differences_have_the_direction_of_the_gradient(renderer):
    """Of the squared error towards an object that is a little elsewhere."""
    analytic = Analytic(_TABLE, _SHAPE)

    def gradient(one):
        target = _picture(one, 0, 1.0)
        place, turn = tf.constant(_PLACES + 0.05), tf.constant(_TURNS + 0.2)
        with tf.GradientTape() as tape:
            tape.watch([place, turn])
            layer = one.layers(0, place, turn, 1.0)
            drawn = layer.alpha[..., None] * (layer.colour - one.ground())
            error = tf.reduce_sum((drawn - target) ** 2)
        return tape.gradient(error, [place, turn])

    for found, wanted in zip(gradient(renderer), gradient(analytic), strict=True):
        # Their edges are soft in different ways.
        np.testing.assert_array_equal(np.sign(found), np.sign(wanted))


def test_a_sphere_has_no_gradient_of_its_yaw(renderer):
    turn = tf.constant(_TURNS)
    with tf.GradientTape() as tape:
        tape.watch(turn)
        layer = renderer.layers(1, tf.constant(_PLACES), turn, 0.5)
        total = tf.reduce_sum(layer.alpha)
    np.testing.assert_array_equal(tape.gradient(total, turn), np.zeros(4))


def test_a_process_that_ends_is_started_once_again(renderer, monkeypatch):
    before = _picture(renderer, 0, 0.5)
    renderer._mujoco._process.kill()
    np.testing.assert_array_equal(_picture(renderer, 0, 0.5), before)
    other = _black_box()
    other._mujoco._process.kill()
    monkeypatch.setattr("air_tf.renderers.mujoco_process._ask", lambda *given: None)
    monkeypatch.setattr(other._mujoco, "_start", lambda: other._mujoco._process)
    with pytest.raises(RendererError, match="ended, twice"):
        other._mujoco.render(np.zeros((1, 1)), np.zeros((1, 1, 2)), np.zeros((1, 1)))


def _with_file(path, **more):
    kind = Kind(name="block", symmetry=4, file=str(path), **more)
    return dataclasses.replace(_TABLE, kinds=(kind,))


def test_a_mesh_looks_like_the_box_that_it_is(tmp_path, renderer):
    (tmp_path / "block.obj").write_text(_BOX)
    colour = _TABLE.kinds[0].parts[0].colour
    mesh = _black_box(
        _with_file(tmp_path / "block.obj", file_scale=0.17, colour=colour)
    )
    wanted, found = _picture(renderer, 0, 1e-3), _picture(mesh, 0, 1e-3)
    mesh.close()
    left = tf.reduce_sum((wanted - found) ** 2) / tf.reduce_sum(wanted**2)
    assert left < 0.02


@pytest.mark.parametrize("content", ["", "v 1 2\nf 1 2 3", "nonsense"])
def test_a_mesh_that_can_not_be_read_is_named(tmp_path, content):
    (tmp_path / "broken.obj").write_text(content)
    _black_box().close()  # skips without OpenGL
    with pytest.raises(InputError, match=r"block.*broken\.obj"):
        BlackBox(BlackBoxConfig(), _with_file(tmp_path / "broken.obj"), _SHAPE)
    with pytest.raises(InputError, match=r"block.*none\.obj"):
        BlackBox(BlackBoxConfig(), _with_file(tmp_path / "none.obj"), _SHAPE)
