"""MuJoCo in a process of its own, and the renderer that calls it."""

import os
import select
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config.renderers import AnalyticConfig, BlackBoxConfig
from air_tf.config.tabletop import TABLETOPS, Kind, Part, Tabletop
from air_tf.errors import InputError, RendererError
from air_tf.renderers import kind_files, mujoco_process
from air_tf.renderers.make import make_renderer
from air_tf.renderers.mujoco_process import MuJoCo
from air_tf.renderers.occlusion import compose
from air_tf.renderers.renderer import renderer_errors

SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def start():
    """Starts MuJoCo; skips the tests where it can't work."""

    def start_mujoco(tabletop, size=SHAPE[:2], max_objects=1):
        return MuJoCo(tabletop, size, max_objects=max_objects)

    try:
        start_mujoco(TABLETOPS["one"]).close()
    except InputError as error:
        pytest.skip(str(error))
    return start_mujoco


def one_object(kinds, positions, yaws):
    """Arguments of `MuJoCo.render` for N scenes of one object."""
    return (
        np.asarray(kinds)[:, np.newaxis],
        np.asarray(positions, np.float64)[:, np.newaxis],
        np.asarray(yaws, np.float64)[:, np.newaxis],
    )


def scenes(tabletop, num, seed=0):
    """Kinds [N, 3], positions [N, 3, 2] and yaws [N, 3] of 1 to 3 objects."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(tabletop.kinds), [num, 3])
    kinds[np.arange(3) >= rng.integers(1, 4, [num, 1])] = -1
    # From left to right, so far from each other that they don't touch.
    positions = rng.uniform([-0.04, -0.5], [0.04, 0.5], [num, 3, 2])
    positions[..., 0] += [-0.5, 0.0, 0.5]
    return kinds, positions, rng.uniform(-np.pi, np.pi, [num, 3])


def drawn(renderer, kinds, positions, yaws, blur):
    """The same scenes by a renderer of single objects, [N, H, W, 3]."""
    num, height, width = len(kinds), *renderer.image_shape[:2]
    alpha = np.zeros([num, 3, height, width], np.float32)
    colour = np.zeros([num, 3, height, width, 3], np.float32)
    depth = np.zeros([num, 3], np.float32)
    for kind in range(len(renderer.tabletop.kinds)):
        chosen = kinds == kind
        layer = renderer.layers(
            kind,
            tf.constant(positions[chosen], tf.float32),
            tf.constant(yaws[chosen], tf.float32),
            blur,
        )
        alpha[chosen], colour[chosen], depth[chosen] = layer
    present = (kinds >= 0).astype(np.float32)
    return compose(
        renderer.ground(), *map(tf.constant, (alpha, colour, depth, present))
    )


@pytest.mark.parametrize("name", TABLETOPS)
def test_both_renderers_draw_the_same_scenes(start, name):
    """Of what objects change in a picture, 98 % of the squares are explained."""
    tabletop = TABLETOPS[name]
    analytic = make_renderer(AnalyticConfig(), tabletop, SHAPE)
    with start(tabletop, max_objects=3) as mujoco:
        args = scenes(tabletop, 64)
        pictures = mujoco.render(*args) / 255.0
        absent = np.full([1, 3], -1), np.zeros([1, 3, 2]), np.zeros([1, 3])
        table = mujoco.render(*absent)[0] / 255.0
    np.testing.assert_allclose(table, analytic.ground(), atol=0.003)
    missing = np.square(pictures - drawn(analytic, *args, blur=0.2)).sum()
    assert missing <= 0.02 * np.square(pictures - table).sum()


def test_segmentation_says_which_object_is_seen(start):
    tabletop = TABLETOPS["primitives"]
    # The sphere in slot 2 is hidden, nearly, by the cube in slot 0; slot 1 is empty.
    kinds = np.array([[0, -1, 1], [2, 2, 2]])
    positions = np.array(
        [[[0.0, 0.0], [0.0, 0.0], [0.0, 0.3]], [[-0.4, 0.0], [0.0, 0.0], [0.4, 0.0]]]
    )
    with start(tabletop, (64, 64), max_objects=3) as mujoco:
        seen = mujoco.segment(kinds, positions, np.zeros([2, 3]))
        alone = mujoco.segment(kinds[:, 2:], positions[:, 2:], np.zeros([2, 1]))
        picture = mujoco.render(kinds, positions, np.zeros([2, 3]))
    assert seen.shape == (2, 64, 64) and seen.dtype == np.uint8
    assert set(np.unique(seen[0])) == {0, 1, 3}
    np.testing.assert_array_equal(np.unique(seen[1]), [0, 1, 2, 3])
    # Blue is the sphere; the cube takes a part of it.
    blue = picture[0, ..., 2].astype(int) > picture[0, ..., 0] + 40
    np.testing.assert_allclose((seen[0] == 3).sum(), blue.sum(), atol=12)
    assert (seen[0] == 3).sum() < 0.8 * (alone[0] == 1).sum()
    # From left to right.
    columns = [np.argwhere(seen[1] == slot)[:, 1].mean() for slot in (1, 2, 3)]
    assert columns == sorted(columns)


def test_large_requests_are_many_messages(start, monkeypatch):
    tabletop = TABLETOPS["primitives"]
    with start(tabletop) as mujoco:
        args = one_object([0, 1, 2, 0, 1], np.zeros([5, 2]), np.arange(5.0))
        whole = mujoco.render(*args)
        monkeypatch.setattr(mujoco_process, "_MAX_BYTES", 2 * 32 * 32 * 3)
        np.testing.assert_array_equal(mujoco.render(*args), whole)
        assert mujoco.render(*one_object([], np.zeros([0, 2]), [])).shape == (0, *SHAPE)


def test_a_process_that_was_killed_is_started_again(start, monkeypatch):
    with start(TABLETOPS["primitives"]) as mujoco:
        args = one_object([0], [[0.1, 0.0]], [0.3])
        before = mujoco.render(*args)
        first = mujoco._process
        first.kill()
        first.wait()
        np.testing.assert_array_equal(mujoco.render(*args), before)
        assert mujoco._process.pid != first.pid
        # Only once: a request that ends the process would end every one.
        monkeypatch.setattr(mujoco_process, "_ask", lambda *_: None)
        monkeypatch.setattr(mujoco, "_start", lambda: mujoco._process)
        with pytest.raises(RendererError, match=r"ended, twice$"):
            mujoco.render(*args)


def test_the_process_ends_with_its_parent(start):
    """And has no TensorFlow in it, which would end it at the first picture."""
    program = """
import sys
from air_tf.config.tabletop import TABLETOPS
from air_tf.renderers.mujoco_process import MuJoCo
mujoco = MuJoCo(TABLETOPS["one"], (8, 8), max_objects=1)
print(mujoco._process.pid, "tensorflow" in sys.modules, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pid, has_tensorflow = parent.stdout.readline().split()
    assert has_tensorflow == b"False"
    with open(f"/proc/{int(pid)}/maps") as maps:
        assert "tensorflow" not in maps.read()
    worker = os.pidfd_open(int(pid))
    parent.kill()
    parent.wait()
    # Readable once the process has ended.
    assert select.select([worker], [], [], 20)[0]
    os.close(worker)


def test_mujoco_is_optional(monkeypatch):
    monkeypatch.setattr(mujoco_process.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'air_tf\[render\]'"):
        MuJoCo(TABLETOPS["one"], (8, 8), max_objects=1)


def test_missing_opengl_is_one_line(start, monkeypatch):
    # An empty list of drivers for EGL.
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_FILENAMES", "/dev/null")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    with pytest.raises(InputError, match=r"^OpenGL does not work \(egl.*libegl1") as e:
        start(TABLETOPS["one"])
    assert "\n" not in str(e.value)
    # Without the variable, OSMesa is the next to be tried.
    monkeypatch.delenv("MUJOCO_GL")
    try:
        start(TABLETOPS["one"]).close()
    except InputError as error:
        assert "osmesa: " in str(error)


# --- Kinds that are described by files ---

BOX = Part(size=(0.2, 0.1, 0.15), centre=(0.0, 0.0, 0.15), colour=(0.8, 0.4, 0.2))


def write_obj(path):
    """A box of 4 x 2 x 3 centimetres that stands on the origin."""
    corners = [(x, y, z) for x in (-2, 2) for y in (-1, 1) for z in (0, 3)]
    faces = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {face}" for face in faces]
    path.write_text("\n".join(lines))
    return str(path)


def files_and_box(*files):
    """A tabletop of kinds that are files in centimetres of 0.1 units, and a box."""
    kinds = [
        Kind(
            name=f"file_{index}",
            symmetry=2,
            file=str(file),
            file_scale=0.1,
            colour=BOX.colour,
        )
        for index, file in enumerate(files)
    ]
    box = Kind(name="box", symmetry=2, parts=(BOX,))
    return Tabletop(name="files", kinds=(*kinds, box))


def test_files_look_like_the_box_that_they_describe(start, tmp_path):
    mesh = write_obj(tmp_path / "box.obj")
    (tmp_path / "meshes").mkdir()
    write_obj(tmp_path / "meshes" / "box.obj")
    # Two halves, one a mesh, one a solid by default values, as in files of robots; with
    # what does not belong to an object: joints, a light and the floor.
    (tmp_path / "half.xml").write_text(
        '<mujocoinclude><body name="b" pos="1 0 0"><freejoint/><joint name="j"/>'
        '<geom class="half"/><site name="s"/></body></mujocoinclude>'
    )
    (tmp_path / "box.xml").write_text(
        """<mujoco model="box"><compiler meshdir="meshes" angle="radian"/>
        <option timestep="0.1"/>
        <default><default class="half"><geom type="box" size="1 1 1.5" pos="0 0 1.5"
        rgba="0.8 0.4 0.2 1"/></default></default>
        <asset><mesh file="box.obj" scale="0.5 1 1"/></asset>
        <worldbody><light pos="0 0 9"/><geom type="plane" size="9 9 1"/>
        <include file="half.xml"/>
        <body pos="-1 0 0"><geom type="mesh" mesh="box" rgba="0.8 0.4 0.2 1"/></body>
        </worldbody><actuator><motor joint="j"/></actuator></mujoco>"""
    )
    tabletop = files_and_box(mesh, tmp_path / "box.xml")
    places = [[0.1, 0.2]] * 3 + [[-0.3, -0.2]] * 3
    with start(tabletop, (64, 64), max_objects=2) as mujoco:
        pictures = mujoco.render(
            *one_object([0, 1, 2] * 2, places, [0.4] * 3 + [2.0] * 3)
        )
        table = mujoco.render(*one_object([-1], [[0, 0]], [0]))[0].astype(float)
    for obj, mjcf, box in pictures.reshape(2, 3, 64, 64, 3).astype(float):
        energy = np.square(box - table).sum()
        assert energy > 1e6
        assert np.square(obj - box).sum() < 0.01 * energy
        assert np.square(mjcf - box).sum() < 0.01 * energy


def kind_of(path):
    return Kind(name="teacup", symmetry=1, file=str(path))


@pytest.mark.parametrize(
    "name, content, found",
    [
        ("cup.obj", None, "can't be read"),
        ("cup.stl", "solid", "neither an OBJ file nor an MJCF file"),
        ("cup.xml", "<mujoco>", "no XML file"),
        ("cup.xml", "<robot/>", "no MJCF file: it holds <robot>"),
        (
            "cup.xml",
            '<mujoco><asset><mesh file="../../m.obj"/></asset></mujoco>',
            r"names \.\./\.\./m\.obj, which lies outside its folder",
        ),
        (
            "cup.xml",
            '<mujoco><worldbody><include file="cup.xml"/></worldbody></mujoco>',
            "included by itself",
        ),
        (
            "cup.xml",
            '<mujoco><worldbody><composite type="cable"/></worldbody></mujoco>',
            "holds <composite>",
        ),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, name, content, found):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        InputError, match=f"file of the kind teacup: .*{found}"
    ) as error:
        kind_files.read_kind_file(kind_of(path))
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name, content", [("cup.obj", "no mesh"), ("cup.xml", "<mujoco/>")]
)
def test_what_mujoco_can_not_read_is_named_in_one_line(start, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"kind teacup: .*{name} is no model") as error:
        start(Tabletop(kinds=(kind_of(tmp_path / name),)))
    assert "\n" not in str(error.value)


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(kind_files, "MAX_FILE_BYTES", 100)
    kind = Kind(name="box", file=write_obj(tmp_path / "box.obj"))
    with pytest.raises(InputError, match=r"box\.obj has \d+ bytes; expected at most"):
        kind_files.read_kind_file(kind)


# --- The renderer ---


@pytest.fixture(scope="module")
def black_box(start):
    renderer = make_renderer(BlackBoxConfig(), TABLETOPS["primitives"], SHAPE)
    yield renderer
    renderer.close()


@pytest.fixture(scope="module")
def analytic():
    return make_renderer(AnalyticConfig(), TABLETOPS["primitives"], SHAPE)


def on_table(renderer, kind, position, yaw, blur):
    ground = renderer.ground()
    layer = renderer.layers(kind, position, yaw, blur)
    return ground + layer.alpha[..., tf.newaxis] * (layer.colour - ground)


def test_without_blur_the_picture_is_that_of_mujoco(black_box):
    position, yaw = tf.constant([[0.2, 0.1], [-0.3, 0.0]]), tf.constant([0.5, 1.0])
    args = one_object([0, 0], position, yaw)
    expected = black_box._mujoco.render(*args) / 255.0
    found = on_table(black_box, 0, position, yaw, 0.0)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    alpha = black_box.layers(0, position, yaw, 0.0).alpha
    np.testing.assert_array_equal(np.unique(alpha), [0.0, 1.0])


def test_pictures_are_blurred_as_objects_are(black_box):
    """Of an object alone, the blurred picture is the picture of the blurred object."""
    position, yaw = tf.constant([[0.0, 0.1]]), tf.constant([0.5])
    sharp = on_table(black_box, 0, position, yaw, 0.0)
    found = on_table(black_box, 0, position, yaw, 1.5)
    np.testing.assert_allclose(found, black_box.blurred(sharp, 1.5), atol=0.01)
    assert np.abs(found - sharp).max() > 0.1


@pytest.mark.parametrize("kind", range(3))
def test_finite_differences_have_the_direction_of_the_gradient(
    black_box, analytic, kind
):
    """For objects that are moved a little from where they are in a picture."""
    rng = np.random.default_rng(kind)
    position = tf.constant(rng.uniform(-0.4, 0.4, [24, 2]), tf.float32)
    yaw = tf.constant(rng.uniform(-3, 3, 24), tf.float32)
    moved = position + tf.constant(rng.normal(0, 0.07, [24, 2]), tf.float32)
    turned = yaw + tf.constant(rng.choice([-0.25, 0.25], 24), tf.float32)
    found = []
    for renderer in (black_box, analytic):
        target = on_table(renderer, kind, position, yaw, 1.0)
        with tf.GradientTape() as tape:
            tape.watch([moved, turned])
            missing = on_table(renderer, kind, moved, turned, 1.0) - target
            loss = tf.reduce_sum(tf.square(missing))
        found.append(tape.gradient(loss, [moved, turned]))
    (by_position, by_yaw), (expected, expected_yaw) = found
    cosine = -tf.keras.losses.cosine_similarity(by_position, expected)
    assert np.median(cosine) > 0.99
    # Nearly all have the direction; the others are where there is hardly a gradient.
    together = tf.reduce_sum(by_position * expected)
    assert together > 0.98 * tf.norm(by_position) * tf.norm(expected)
    if kind == 0:  # the cube
        assert np.corrcoef(by_yaw, expected_yaw)[0, 1] > 0.6
    else:
        np.testing.assert_array_equal(by_yaw, 0.0)


def test_errors_in_a_graph_are_one_line(black_box, monkeypatch):
    def fail(*_):
        raise RendererError("The process ended")

    monkeypatch.setattr(black_box._mujoco, "render", fail)
    layers = tf.function(black_box.layers, autograph=False)
    with pytest.raises(RendererError, match=r"^The process ended$"), renderer_errors():
        layers(0, tf.zeros([1, 2]), tf.zeros([1]), 0.0)
