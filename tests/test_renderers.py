"""Renderers against closed forms, against each other and against finite differences."""

import dataclasses
import functools
import io
import math

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import checks
from air_tf.config.renderers import (
    RENDERERS,
    AnalyticConfig,
    BlackBoxConfig,
    renderer_name,
)
from air_tf.config.tabletop import TABLETOPS, Kind, Part, Tabletop
from air_tf.errors import InputError
from air_tf.renderers import messages
from air_tf.renderers.analytic import Analytic
from air_tf.renderers.gaussian import gaussian_blur
from air_tf.renderers.make import make_renderer

SHAPE = (32, 32, 3)
SHARP = 0.01


def scene(*parts, symmetry=1, **settings):
    """A tabletop with one kind."""
    kind = Kind(name="thing", symmetry=symmetry, parts=parts)
    return Tabletop(name="test", kinds=(kind,), **settings)


def draw(renderer, kind, position, yaw=0.0, blur=SHARP):
    """Alpha [H, W] and colour [H, W, 3] of one object."""
    position, yaw = tf.constant([position], tf.float32), tf.constant([yaw], tf.float32)
    layer = renderer.layers(kind, position, yaw, blur)
    return layer.alpha[0].numpy(), layer.colour[0].numpy()


def to_pixel(renderer, point):
    """(row, column) of a point of the scene, by the camera's three axes."""
    camera, (height, width, _) = renderer.camera, renderer.image_shape
    x, y, depth = np.stack([camera.right, camera.up, camera.forward]) @ (
        np.array(point) - camera.origin
    )
    v, u = y / depth / camera.half_height, x / depth / camera.half_width
    return (1 - v) * height / 2 - 0.5, (1 + u) * width / 2 - 0.5


def picture(renderer, kind, position, yaw, blur=0.2):
    """[N, H, W, 3]: an object on the table in each."""
    ground = renderer.ground()
    layer = renderer.layers(
        kind,
        tf.convert_to_tensor(position, tf.float32),
        tf.convert_to_tensor(yaw, tf.float32),
        blur,
    )
    return ground + layer.alpha[..., tf.newaxis] * (layer.colour - ground)


# A camera that looks straight at a sphere in the middle of the picture.
SPHERE = scene(
    Part(shape="sphere", size=(0.3,), centre=(0.0, 0.0, 0.3)),
    symmetry=0,
    camera_target=(0.0, 0.0, 0.3),
    camera_position=(0.0, -3.0, 2.3),
    field_of_view=20.0,
)


def test_a_sphere_is_a_circle_of_the_right_size():
    """Seen at distance D, a radius r spans the angle asin(r / D)."""
    renderer = Analytic(SPHERE, (64, 64, 3))
    alpha, _ = draw(renderer, 0, (0.0, 0.0))
    distance = math.hypot(3.0, 2.0)
    radius = math.tan(math.asin(0.3 / distance)) / renderer.camera.pixel
    assert alpha.sum() == pytest.approx(math.pi * radius**2, rel=0.01)
    np.testing.assert_allclose(np.argwhere(alpha > 0.5).mean(axis=0), [31.5, 31.5])
    # With a soft edge, the area is still that of the circle, nearly.
    soft, _ = draw(renderer, 0, (0.0, 0.0), blur=0.5)
    assert soft.sum() == pytest.approx(math.pi * radius**2, rel=0.03)


@pytest.mark.parametrize("position", [(0.0, 0.0), (0.3, -0.2), (-0.5, 0.5)])
@pytest.mark.parametrize("kind", range(3))
def test_objects_are_where_the_camera_sees_their_place(kind, position):
    tabletop = dataclasses.replace(TABLETOPS["primitives"], object_height=0.18)
    renderer = Analytic(tabletop, (64, 64, 3))
    alpha, _ = draw(renderer, kind, position)
    expected = to_pixel(renderer, (*position, 0.18))
    found = np.argwhere(alpha > 0.5).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=1.5)
    place, depth = renderer.project(tf.constant([position]))
    np.testing.assert_allclose((place[0] + 1) * 32 - 0.5, expected, rtol=1e-5)
    along = np.array([*position, 0.18]) - renderer.camera.origin
    wanted = along @ renderer.camera.forward / renderer.tabletop.reach
    assert float(depth[0]) == pytest.approx(wanted, rel=1e-5)


# Red; lit from the side x < 0, and a little from above.
BOX = scene(
    Part(size=(0.2, 0.3, 0.1), centre=(0.0, 0.0, 0.1), colour=(0.8, 0.4, 0.2)),
    ambient=0.3,
    diffuse=0.5,
    light_direction=(3.0, 0.0, -4.0),
    camera_position=(0.0, -2.0, 1.5),
)


def test_the_faces_of_a_box_have_their_share_of_light():
    renderer = Analytic(BOX, (64, 64, 3))
    alpha, colour = draw(renderer, 0, (0.5, 0.1))
    # The light comes from (-3, 0, 4) / 5: 0.8 of it on the top, 0.6 on the left side,
    # none on the front.
    faces = [
        ((0.5, 0.1, 0.2), 0.3 + 0.5 * 0.8),
        ((0.3, 0.1, 0.1), 0.3 + 0.5 * 0.6),
        ((0.5, -0.2, 0.1), 0.3),
    ]
    for point, light in faces:
        row, column = np.round(to_pixel(renderer, point)).astype(int)
        assert alpha[row, column] == pytest.approx(1.0)
        expected = light * np.array([0.8, 0.4, 0.2])
        np.testing.assert_allclose(colour[row, column], expected, rtol=1e-5)


def test_the_silhouette_of_a_box_is_the_hull_of_its_corners():
    from scipy.spatial import ConvexHull

    renderer = Analytic(BOX, (64, 64, 3))
    alpha, _ = draw(renderer, 0, (0.1, 0.2), yaw=0.5)
    corners = []
    for x in (-0.2, 0.2):
        for y in (-0.3, 0.3):
            for z in (0.0, 0.2):
                turned = complex(x, y) * complex(math.cos(0.5), math.sin(0.5))
                point = (0.1 + turned.real, 0.2 + turned.imag, z)
                corners.append(to_pixel(renderer, point))
    area = ConvexHull(corners).volume  # in two dimensions, that is the area
    assert alpha.sum() == pytest.approx(area, rel=0.01)


def test_a_cylinder_shows_its_top_and_its_side():
    tabletop = scene(
        Part(shape="cylinder", size=(0.2, 0.15), centre=(0.1, 0.0, 0.15)),
        symmetry=1,
        ambient=0.2,
        diffuse=0.8,
        light_direction=(0.0, 0.0, -1.0),
    )
    renderer = Analytic(tabletop, (64, 64, 3))
    # Turned by a quarter, its centre (0.1, 0) is at (0, 0.1) of the object.
    alpha, colour = draw(renderer, 0, (0.0, 0.0), yaw=math.pi / 2)
    for point, light in [((0.0, 0.1, 0.3), 1.0), ((0.0, -0.1, 0.15), 0.2)]:
        row, column = np.round(to_pixel(renderer, point)).astype(int)
        assert alpha[row, column] == pytest.approx(1.0)
        assert colour[row, column, 0] == pytest.approx(light * 0.9, rel=1e-4)
    # The ends of the silhouette: the top's far rim and the bottom's near rim.
    rows = np.flatnonzero(
        alpha[:, round(to_pixel(renderer, (0.0, 0.1, 0.15))[1])] > 0.5
    )
    assert rows[0] == pytest.approx(to_pixel(renderer, (0.0, 0.3, 0.3))[0], abs=0.6)
    assert rows[-1] == pytest.approx(to_pixel(renderer, (0.0, -0.1, 0.0))[0], abs=0.6)


def test_the_nearer_part_hides_the_farther_one():
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    tabletop = scene(
        Part(size=(0.1, 0.1, 0.1), centre=(0.0, -0.2, 0.1), colour=red),
        Part(shape="sphere", size=(0.15,), centre=(0.0, 0.2, 0.15), colour=blue),
        camera_position=(0.0, -2.0, 0.5),
    )
    renderer = Analytic(tabletop, SHAPE)
    row, column = np.round(to_pixel(renderer, (0.0, -0.3, 0.1))).astype(int)
    for yaw, front, other in [(0.0, 0, 2), (math.pi, 2, 0)]:
        _, colour = draw(renderer, 0, (0.0, 0.0), yaw)
        assert colour[row, column, front] > 0.2
        assert colour[row, column, other] < 1e-3


@pytest.mark.parametrize("name, kind", [("primitives", 0), ("one", 2)])
def test_a_symmetric_object_looks_the_same_after_its_turn(name, kind):
    tabletop = TABLETOPS[name]
    renderer = Analytic(tabletop, SHAPE)
    turn = 2 * math.pi / tabletop.kinds[kind].symmetry
    position = [(0.2, -0.1)] * 3
    first, turned, between = picture(
        renderer, kind, position, [0.4, 0.4 + turn, 0.4 + turn / 2]
    )
    np.testing.assert_allclose(first, turned, atol=1e-4)
    assert np.abs(first - between).max() > 0.1


def poses(num, seed=0):
    """Positions [N, 2] and yaws [N]."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(-0.5, 0.5, [num, 2]).astype(np.float32)
    return position, rng.uniform(-3, 3, num).astype(np.float32)


def loss_of(renderer, kind, position, yaw, *, blur):
    """A smooth loss without a meaning, [N]."""
    weights = np.random.default_rng(1).normal(size=[4, 4, 3])
    weights = np.kron(weights, np.ones([renderer.image_shape[0] // 4] * 2 + [1]))
    drawn = picture(renderer, kind, position, yaw, blur) - renderer.ground()
    return tf.einsum("nhwc,hwc->n", tf.cast(drawn, tf.float64), weights)


def gradient_of(renderer, kind, position, yaw, *, blur):
    """The gradient of the loss by x, y and yaw, [N, 3]."""
    with tf.GradientTape() as tape:
        tape.watch([position, yaw])
        loss = loss_of(renderer, kind, position, yaw, blur=blur)
    by_position, by_yaw = tape.gradient(loss, [position, yaw])
    return tf.concat([by_position, by_yaw[:, tf.newaxis]], axis=1)


@pytest.mark.parametrize(
    "name, kind, compiled",
    [
        ("primitives", 0, False),
        ("primitives", 1, True),
        ("one", 2, True),
        ("crockery", 1, False),
    ],
)
def test_gradients_are_those_of_the_picture(name, kind, compiled):
    """Against central differences."""
    renderer = Analytic(TABLETOPS[name], SHAPE)
    gradient = functools.partial(gradient_of, renderer, kind, blur=0.5)
    if compiled:
        gradient = tf.function(gradient, jit_compile=True, autograph=False)
    position, yaw = (tf.constant(values) for values in poses(16))
    found = gradient(position, yaw)
    size = 5e-4
    for axis, step in enumerate(size * np.eye(3, dtype=np.float32)):
        ahead, behind = (
            loss_of(
                renderer,
                kind,
                position + sign * step[:2],
                yaw + sign * step[2],
                blur=0.5,
            )
            for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * size)
        error = np.linalg.norm(found[:, axis].numpy() - expected.numpy())
        assert error <= 0.1 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("name", ["one", "crockery"])
def test_gradients_are_finite_everywhere(name, kind):
    """Also beyond the picture, below the camera and behind it."""
    renderer = Analytic(TABLETOPS[name], (16, 16, 3))
    places = [[0.0, 0.0], [0.1, 0.2], [0.0, -2.0], [0.0, -9.0], [30.0, 0.0], [1e4, 1e4]]
    position = tf.constant(places)
    for blur in (0.05, 3.0):
        gradient = gradient_of(
            renderer, kind, position, tf.zeros(len(places)), blur=blur
        )
        assert np.isfinite(gradient).all()
    alpha = renderer.layers(kind, position, tf.zeros(len(places)), 0.2).alpha
    np.testing.assert_allclose(alpha[2:], 0.0, atol=1e-6)


def test_the_table_has_its_light_and_ends_at_the_horizon():
    """The camera looks up a little: the upper rows show no table."""
    tabletop = scene(
        Part(),
        camera_position=(0.0, -2.0, 0.5),
        field_of_view=60.0,
        ambient=0.2,
        diffuse=0.5,
        light_direction=(0.0, 3.0, -4.0),
        table_colour=(1.0, 0.5, 0.25),
    )
    ground = Analytic(tabletop, (64, 8, 3)).ground()
    # The horizon is at the angle of the camera's downward view, atan(1 / 4).
    horizon = 32 * (1 - 0.25 / math.tan(math.radians(30)))
    np.testing.assert_array_equal(ground[: int(horizon)], 0.0)
    below = ground[int(horizon) + 1 :]
    expected = np.broadcast_to([0.6, 0.3, 0.15], below.shape)
    np.testing.assert_allclose(below, expected, rtol=1e-6)


def test_bright_light_does_not_exceed_white():
    bright = dataclasses.replace(BOX, ambient=0.9, diffuse=0.9)
    _, colour = draw(Analytic(bright, SHAPE), 0, (0.0, 0.0))
    assert colour.max() == 1.0
    # Blue, on the top: (0.9 + 0.9 * 0.8) * 0.2.
    assert colour[..., 2].max() == pytest.approx(0.324, rel=1e-4)


def test_the_picture_is_compared_as_it_is():
    renderer = Analytic(BOX, SHAPE)
    images = tf.random.uniform([2, *SHAPE])
    assert renderer.blurred(images, 2.0) is images


def test_analytic_refuses_files():
    kinds = (Kind(name="cup", file="cup.obj"),)
    with pytest.raises(InputError, match=r"renderer is analytic.*kind cup.*black_box"):
        make_renderer(AnalyticConfig(), Tabletop(kinds=kinds), SHAPE)


def test_pictures_have_three_channels():
    with pytest.raises(InputError, match=r"image_shape is .*expected three channels"):
        make_renderer(AnalyticConfig(), BOX, (32, 32, 1))


def test_configs_go_through_json():
    for config in (AnalyticConfig(), BlackBoxConfig(yaw_step=0.1)):
        stored = checks.to_choice(config, RENDERERS)
        assert checks.from_choice(stored, RENDERERS, field="renderer") == config
        assert stored["name"] == renderer_name(config)
    with pytest.raises(InputError, match="position_step is 0"):
        BlackBoxConfig(position_step=0)


def test_a_point_becomes_a_gaussian():
    image = np.zeros([1, 15, 21, 1], np.float32)
    image[0, 7, 10] = 1.0
    blurred = gaussian_blur(tf.constant(image), 1.5)[0, ..., 0].numpy()
    y, x = np.mgrid[-7:8, -10:11]
    expected = np.exp(-(x**2 + y**2) / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)
    np.testing.assert_allclose(blurred, expected, atol=1e-5)
    np.testing.assert_allclose(gaussian_blur(tf.constant(image), 0.0), image)


def test_messages_are_bounded_and_hold_no_objects():
    stream = io.BytesIO()
    sent = {"kinds": np.arange(6).reshape(2, 3), "segment": np.array(True)}
    messages.send(stream, sent)
    whole = stream.getvalue()
    stream.seek(0)
    received = messages.receive(stream)
    assert received.keys() == sent.keys()
    np.testing.assert_array_equal(received["kinds"], sent["kinds"])
    # The end of the pipe, also within a message.
    assert messages.receive(stream) is None
    assert messages.receive(io.BytesIO(whole[:-1])) is None
    long = (messages.MAX_BYTES + 1).to_bytes(8, "little")
    with pytest.raises(ValueError, match="a message of 1073741825 bytes"):
        messages.receive(io.BytesIO(long))
    stream = io.BytesIO()
    messages.send(stream, {"object": np.array([print])})
    stream.seek(0)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        messages.receive(stream)
