"""Scenes of objects on a table: where objects are, how they are drawn and stored."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import tensorflow_datasets as tfds
from scipy.spatial import distance

from air_tf.config import DataConfig
from air_tf.config.tabletop import TABLETOPS, Kind, Tabletop
from air_tf.data import sources, tabletop_painters
from air_tf.data.scene_config import TabletopSceneConfig
from air_tf.data.scenes import SPLITS
from air_tf.data.tabletop import Builder
from air_tf.data.tabletop.tabletop_dataset_builder import tabletop_configs
from air_tf.data.tabletop_painters import LayerPainter, analytic_painter, open_painter
from air_tf.data.tabletop_scenes import Arrangement, arrange, draw
from air_tf.errors import InputError
from air_tf.renderers.renderer import Layer, Renderer

_NUM_SCENES = {"train": 6, "validation": 3, "test": 4}
_CONFIGS = {config.name: config for config in tabletop_configs(_NUM_SCENES)}


class _Squares(Renderer):
    """Draws squares of 4 pixels (kind 0) or 8 (others) around where positions are."""

    def ground(self):
        return np.zeros(self.image_shape, np.float32)

    def layers(self, kind, position, yaw, blur):
        height, width = self.image_shape[:2]
        place, depth = self.project(position)
        centre = np.round((place.numpy() + 1) / 2 * [height, width])
        half = 2 if kind == 0 else 4
        alpha = np.zeros((len(centre), height, width), np.float32)
        for one, (y, x) in zip(alpha, centre.astype(int), strict=True):
            one[max(0, y - half) : y + half, max(0, x - half) : x + half] = 1.0
        colour = np.full((*alpha.shape, 3), (kind + 1) / 4, np.float32)
        return Layer(alpha=alpha, colour=colour, depth=depth)

    def blurred(self, images, blur):
        return images


def _at(*objects):
    """An arrangement from (kind, x, y)."""
    kinds, x, y = zip(*objects, strict=True) if objects else ((), (), ())
    return Arrangement(
        kinds=np.array(kinds, np.int64),
        positions=np.stack([x, y], axis=1).astype(np.float32).reshape(-1, 2),
        yaws=np.zeros(len(kinds), np.float32),
    )


@pytest.fixture
def squares():
    renderer = _Squares(TABLETOPS["primitives"], (32, 32, 3))
    return LayerPainter(renderer, blur=0.3)


def test_configurations_have_three_sizes():
    assert list(_CONFIGS)[:3] == ["primitives", "primitives_48x48", "primitives_64x64"]
    assert len(_CONFIGS) == 3 * len(TABLETOPS)
    sizes = {name: config.scenes.canvas_size for name, config in _CONFIGS.items()}
    assert sizes["one"] == (32, 32) and sizes["one_64x64"] == (64, 64)
    assert sizes["crockery"] == (48, 48) and sizes["crockery_32x32"] == (32, 32)
    for config in _CONFIGS.values():
        one = config.scenes.tabletop.name == "one"
        assert config.scenes.counts == ((1,) if one else (0, 1, 2, 3))


@pytest.mark.parametrize("name", ["primitives", "crockery"])
def test_counts_kinds_places_and_yaws_are_uniform(name):
    """Uniform on [-a, a] has mean 0 and standard deviation a / sqrt(3)."""
    config = _CONFIGS[name].scenes
    scenes = [arrange(config, i, split=0) for i in range(2000)]
    counts = np.bincount([len(s.kinds) for s in scenes], minlength=4)
    np.testing.assert_allclose(counts / 2000, 1 / 4, atol=0.04)
    kinds = np.concatenate([s.kinds for s in scenes])
    np.testing.assert_allclose(np.bincount(kinds) / len(kinds), 1 / 3, atol=0.04)
    yaws = np.concatenate([s.yaws for s in scenes])
    assert np.abs(yaws).max() <= np.float32(np.pi)
    assert yaws.mean() == pytest.approx(0, abs=0.1)
    assert yaws.std() == pytest.approx(np.pi / np.sqrt(3), rel=0.03)
    # Alone on the table, nothing pushes an object towards the edges.
    alone = np.concatenate([s.positions for s in scenes if len(s.kinds) == 1])
    reach = config.tabletop.reach
    np.testing.assert_allclose(alone.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(alone.std(axis=0), reach / np.sqrt(3), rtol=0.06)
    every = np.concatenate([s.positions for s in scenes])
    assert 0.99 * reach < np.abs(every).max() <= np.float32(reach)
    apart = [distance.pdist(s.positions).min(initial=np.inf) for s in scenes]
    least = config.tabletop.min_distance
    assert least - 1e-6 < min(apart) < least + 0.02


def test_objects_depend_on_seed_split_and_index_alone():
    config = TabletopSceneConfig()
    first = [arrange(config, i, split=0) for i in range(20)]
    again = [arrange(config, i, split=0) for i in reversed(range(20))]
    large = dataclasses.replace(config, canvas_size=(64, 64))
    for other in (again[::-1], [arrange(large, i, split=0) for i in range(20)]):
        for one, same in zip(first, other, strict=True):
            for a, b in zip(one, same, strict=True):
                np.testing.assert_array_equal(a, b)
    seed = dataclasses.replace(config, seed=1)
    for other in (
        [arrange(config, i, split=1) for i in range(20)],
        [arrange(seed, i, split=0) for i in range(20)],
    ):
        assert [len(s.kinds) for s in first] != [len(s.kinds) for s in other]


def test_too_many_for_the_table():
    config = TabletopSceneConfig(counts=(20,), scene_attempts=10)
    with pytest.raises(
        InputError,
        match=r"counts includes 20, but 20 objects do not fit on a table of 1.1x1.1 "
        "with `min_distance` 0.42",
    ):
        arrange(config, 0, split=0)


@pytest.mark.parametrize(
    "field, value", [("tabletop", "primitives"), ("counts", ()), ("canvas_size", (9,))]
)
def test_settings_that_can_not_work(field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        TabletopSceneConfig(**{field: value})


def test_boxes_and_segmentation_are_of_what_is_visible(squares):
    """Objects at (0, 0) and (0, 0.42) are seen in rows 13 and 9 of column 16.

    The square of 8 pixels around the first hides the lower half of the square of 4
    around the second, which is farther away.
    """
    (scene,) = draw(squares, [_at((0, 0, 0.42), (1, 0, 0))])
    expected = np.zeros((32, 32, 1), np.uint8)
    expected[7:11, 14:18] = 1
    expected[9:17, 12:20] = 2
    np.testing.assert_array_equal(scene.segmentation, expected)
    np.testing.assert_array_equal(scene.boxes * 32, [[7, 14, 9, 18], [9, 12, 17, 20]])
    np.testing.assert_array_equal(scene.labels, [0, 1])
    # Colours are 1/4 and 1/2 of 255; the order of objects is a little soft.
    colours = np.array([0, 64, 128])[expected].repeat(3, axis=-1)
    np.testing.assert_allclose(scene.image, colours, atol=1)


def test_an_object_that_is_hidden_has_no_box_but_counts(squares):
    (scene,) = draw(squares, [_at((1, 0, 0), (0, 0, 0.1))])
    assert set(np.unique(scene.segmentation)) == {0, 1}
    np.testing.assert_array_equal(scene.boxes * 32, [[9, 12, 17, 20], [0, 0, 0, 0]])
    assert len(scene.labels) == len(scene.positions) == len(scene.yaws) == 2


def test_a_pixel_is_an_objects_if_objects_cover_half_of_it(squares, monkeypatch):
    """Squares of 30 %: where two of them meet, they cover 1 - 0.7 * 0.7 = 51 %."""
    layers = _Squares.layers

    def faint(*args):
        layer = layers(*args)
        return layer._replace(alpha=0.3 * layer.alpha)

    monkeypatch.setattr(_Squares, "layers", faint)
    (scene,) = draw(squares, [_at((0, 0, 0.42), (1, 0, 0))])
    expected = np.zeros((32, 32, 1), np.uint8)
    expected[9:11, 14:18] = 2
    np.testing.assert_array_equal(scene.segmentation, expected)


def test_an_empty_table(squares):
    (scene,) = draw(squares, [_at()])
    assert not scene.image.any() and not scene.segmentation.any()
    assert scene.boxes.shape == (0, 4) and scene.positions.shape == (0, 2)


@pytest.mark.parametrize("name", ["primitives", "crockery_32x32"])
def test_bytes_do_not_depend_on_what_is_drawn_together(name):
    config = _CONFIGS[name].scenes
    painter = analytic_painter(config)
    objects = [arrange(config, i, split=0) for i in range(40)]
    together = draw(painter, objects)
    for i in (0, 13, 39):
        (alone,) = draw(painter, [objects[i]])
        for a, b in zip(alone, together[i], strict=True):
            np.testing.assert_array_equal(a, b)


needs_mujoco = pytest.mark.skipif(
    importlib.util.find_spec("mujoco") is None, reason="MuJoCo is not installed"
)


@needs_mujoco
@pytest.mark.parametrize("name", ["primitives", "one", "crockery"])
def test_mujoco_and_the_own_renderer_agree(name):
    """The share of what objects add to the empty table that both pictures have."""
    config = _CONFIGS[name].scenes
    objects = [_at(), *(arrange(config, i, split=0) for i in range(24))]
    with open_painter(config) as painter:
        assert painter.name.startswith("MuJoCo ")
        found = draw(painter, objects)
        again = draw(painter, objects[:9])
    for a, b in zip(found[:9], again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    expected = draw(analytic_painter(config), objects)
    images, own = (
        np.stack([scene.image for scene in scenes]).astype(float)
        for scenes in (found, expected)
    )
    energy = np.sum((images - images[0]) ** 2)
    assert 1 - np.sum((images - own) ** 2) / energy > 0.96
    shown, own = (
        np.stack([scene.segmentation for scene in scenes])
        for scenes in (found, expected)
    )
    # Whose a pixel is differs at edges only.
    assert np.mean(shown[own > 0] == own[own > 0]) > 0.9
    for a, b in zip(found, expected, strict=True):
        side = config.canvas_size[0]
        np.testing.assert_allclose(a.boxes * side, b.boxes * side, atol=2)


@pytest.fixture
def without_mujoco(monkeypatch):
    def missing(*args, **kwargs):
        raise InputError("MuJoCo is not installed")

    monkeypatch.setattr(tabletop_painters, "MuJoCo", missing)


def test_without_mujoco_the_own_renderer_draws(without_mujoco):
    with open_painter(TabletopSceneConfig()) as painter:
        assert isinstance(painter, LayerPainter)
    mug = Kind(name="mug", symmetry=1, file="mug.obj")
    config = TabletopSceneConfig(tabletop=Tabletop(kinds=(mug,)))
    with (
        pytest.raises(InputError, match="MuJoCo is not installed"),
        open_painter(config),
    ):
        pass


class TabletopTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    # Scenes without an object are all the same.
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        dataclasses.replace(_CONFIGS["crockery_32x32"], name="small")
    ]

    @pytest.fixture(autouse=True)
    def _without_mujoco(self, without_mujoco):
        """It takes a second for each split."""


@pytest.mark.usefixtures("without_mujoco")
def test_what_is_known_of_a_table_is_always_read(tmp_path, monkeypatch):
    """Scenes come in the order of TFDS' shuffle: found by their pictures."""
    (config,) = (c for c in Builder.BUILDER_CONFIGS if c.name == "primitives")
    few = {"train": 12, "validation": 2, "test": 12}
    monkeypatch.setattr(config, "num_scenes", few)
    monkeypatch.setattr(Builder, "CHUNK", 5)
    found = sources.load_splits(
        DataConfig(dataset="tabletop"),
        {"train", "test"},
        image_shape=(32, 32, 3),
        data_dir=str(tmp_path),
        with_details={"test"},
    )
    builder = sources.prepare("tabletop", data_dir=str(tmp_path))
    assert builder.info.metadata["renderer"] == "air_tf"
    kinds = builder.info.features["objects"]["label"].names
    assert kinds == ["cube", "sphere", "cylinder"]
    assert found["train"].segmentation is None
    for split, images in found.items():
        number = SPLITS.index(split)
        scenes = draw(
            analytic_painter(config.scenes),
            [arrange(config.scenes, i, split=number) for i in range(12)],
        )
        order = sorted(scenes, key=lambda scene: scene.image.tobytes())
        rows = sorted(range(12), key=lambda i: images.images[i].tobytes())
        for scene, row in zip(order, rows, strict=True):
            count = len(scene.boxes)
            assert images.counts[row] == count
            np.testing.assert_array_equal(images.images[row], scene.image)
            for name in ("boxes", "labels", "positions", "yaws"):
                values = getattr(images, name)[row]
                np.testing.assert_array_equal(values[:count], getattr(scene, name))
                assert len(values) == 3 and not values[count:].any()
            if split == "test":
                np.testing.assert_array_equal(
                    images.segmentation[row], scene.segmentation[..., 0]
                )
