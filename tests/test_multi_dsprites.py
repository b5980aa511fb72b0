import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from air_tf.data.dsprite_scenes import SHAPES, compose_dsprites
from air_tf.data.multi_dsprites import Builder
from air_tf.data.multi_dsprites.multi_dsprites_dataset_builder import dsprite_configs
from air_tf.data.scene_config import DSpriteConfig
from air_tf.errors import InputError

_NUM_SCENES = {"train": 6, "validation": 3, "test": 4}
_WHITE = {"color": "white", "background": "black"}


class MultiDSpritesTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        dataclasses.replace(config, name=f"small_{config.name}")
        for config in dsprite_configs(_NUM_SCENES)
    ]


def _scenes(num, **settings):
    config = DSpriteConfig(**settings)
    return [compose_dsprites(config, i, split=0) for i in range(num)]


def _published():
    return {config.name: config.scenes for config in Builder.BUILDER_CONFIGS}


@pytest.mark.parametrize(
    "name, counts, channels",
    [
        ("binarised", (2, 3), 1),
        ("coloured_on_grey", (2, 3, 4, 5), 3),
        ("coloured_on_coloured", (1, 2, 3, 4), 3),
    ],
)
def test_configurations_are_as_published(name, counts, channels):
    config = _published()[name]
    assert (config.counts, config.channels) == (counts, channels)
    scenes = [compose_dsprites(config, i, split=0) for i in range(150)]
    found = np.bincount([len(s.boxes) for s in scenes]) / 150
    np.testing.assert_allclose(found[list(counts)], 1 / len(counts), atol=0.1)
    grounds, shapes = [], []
    for scene in scenes:
        assert scene.image.shape == (64, 64, channels)
        shown = scene.segmentation[..., 0]
        # All of one colour: nothing is mixed at edges.
        ground = scene.image[shown == 0]
        assert (ground == ground[0]).all()
        grounds.append(ground[0])
        for k, color in enumerate(scene.colors):
            assert (scene.image[shown == k + 1] == color).all()
        shapes.extend(scene.colors)
    grounds, shapes = np.array(grounds, int), np.array(shapes, int)
    # Mean and range of a uniform level of 0 to 255, and of none.
    levels = 127.5 if channels == 3 else 0
    np.testing.assert_allclose(grounds.mean(axis=0), levels, atol=18)
    spread = np.ptp(grounds, axis=1).max()
    assert (spread > 0) == (name == "coloured_on_coloured")
    if name == "binarised":
        assert (shapes == 255).all()
    elif name == "coloured_on_grey":
        value, least = shapes.max(axis=1), shapes.min(axis=1)
        assert 127 <= value.min() <= 130 and value.max() >= 253
        assert (least <= 0.5 * value + 1).all()  # the saturation is at least 0.5
    else:
        np.testing.assert_allclose(shapes.mean(axis=0), 127.5, atol=12)


def _of_one():
    """600 scenes of one white shape: areas [600] in pixels, boxes, labels."""
    scenes = _scenes(600, counts=(1,), **_WHITE)
    areas = np.array([(s.image > 0).sum() for s in scenes])
    boxes = np.concatenate([np.round(64 * s.boxes) for s in scenes])
    return areas, boxes, np.concatenate([s.labels for s in scenes])


def test_shapes_scales_and_positions_are_those_of_dsprites():
    areas, boxes, labels = _of_one()
    np.testing.assert_allclose(np.bincount(labels) / 600, 1 / 3, atol=0.06)
    # All shapes have the area of a square of side 17 s, in whole pixels.
    scales = np.linspace(0.5, 1, 6)
    nearest = np.abs(np.sqrt(areas)[:, np.newaxis] / 17 - scales).argmin(axis=1)
    np.testing.assert_allclose(np.sqrt(areas), 17 * scales[nearest], atol=0.8)
    np.testing.assert_allclose(np.bincount(nearest) / 600, 1 / 6, atol=0.05)
    # Of dSprites, 4.25 % of all pixels are white.
    assert areas.mean() / 64**2 == pytest.approx(0.0425, rel=0.05)
    # Squares and ellipses are symmetric: the box is centred at their position.
    centers = (boxes[:, :2] + boxes[:, 2:])[labels != 2] / 2
    assert set(np.unique(centers)) <= set(np.arange(16, 48.1, 0.5))
    assert centers.min() < 17.5 and centers.max() > 46.5
    np.testing.assert_allclose(centers.mean(axis=0), 32, atol=1.5)


def test_orientations_turn_shapes():
    """A square is as wide as high; its box is wider by up to sqrt(2) when turned."""
    areas, boxes, labels = _of_one()
    squares = labels == SHAPES.index("square")
    sides = (boxes[:, 2:] - boxes[:, :2])[squares]
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=2)
    ratio = sides[:, 0] / np.sqrt(areas[squares])
    assert ratio.min() < 1.05 and 1.3 < ratio.max() < 1.5
    ellipses = labels == SHAPES.index("ellipse")
    height, width = (boxes[:, 2:] - boxes[:, :2])[ellipses].T
    assert (height / width).max() > 1.35 and (width / height).max() > 1.35


def test_later_ones_hide_earlier_ones_but_never_all_of_them():
    """The visible share, from the pixels that an object has when nothing hides it."""
    shares = {}
    for least in (0.0, 0.1):
        shares[least] = []
        for scene in _scenes(300, counts=(2,), min_visible=least):
            visible = np.bincount(scene.segmentation.ravel(), minlength=3)[1:]
            shares[least].append(visible[0] / visible[1])
    assert min(shares[0.0]) < 0.05
    # The front one is at most four times as large as the one behind.
    assert min(shares[0.1]) >= 0.1 / 4.5
    hidden = [
        len(np.unique(scene.segmentation)) - 1 < len(scene.boxes)
        for scene in _scenes(300, counts=(5,))
    ]
    assert not any(hidden)


def test_bytes_stay_the_same():
    digest = hashlib.sha256()
    for scene in _scenes(20):
        digest.update(scene.image.tobytes() + scene.segmentation.tobytes())
    assert (
        digest.hexdigest()
        == "5b2267d0a6405e380d1271307662221743bf4695540b397872a93887d86a1c0a"
    )


def test_bytes_depend_on_seed_split_and_index_alone():
    config = DSpriteConfig()
    first = [compose_dsprites(config, i, split=0).image for i in range(10)]
    again = [compose_dsprites(config, i, split=0).image for i in reversed(range(10))]
    np.testing.assert_array_equal(first, again[::-1])
    assert not np.array_equal(first[0], compose_dsprites(config, 0, split=1).image)


@pytest.mark.parametrize(
    "field, value",
    [
        ("size", 0.0),
        ("color", "red"),
        ("background", "plain"),
        ("saturation", (0.5, 1.5)),
        ("value", 0.5),
        ("min_visible", 2),
    ],
)
def test_settings_that_can_not_work(field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        DSpriteConfig(**{field: value})


def test_shapes_larger_than_the_canvas():
    with pytest.raises(InputError, match="objects do not fit on a canvas of 16x16"):
        _scenes(1, canvas_size=(16, 16), scene_attempts=3)


def test_it_is_read_with_all_that_is_known(tmp_path, monkeypatch):
    from air_tf.config import DataConfig
    from air_tf.data import sources

    (config,) = (c for c in Builder.BUILDER_CONFIGS if c.name == "binarised")
    few = {"train": 12, "validation": 2, "test": 2}
    monkeypatch.setattr(config, "num_scenes", few)
    found = sources.load_splits(
        DataConfig(dataset="multi_dsprites/binarised"),
        ["train"],
        image_shape=(64, 64, 1),
        data_dir=str(tmp_path),
        with_details=["train"],
    )["train"]
    assert found.images.shape == (12, 64, 64, 1)
    assert found.boxes.shape == (12, 3, 4) and found.labels.shape == (12, 3)
    np.testing.assert_array_equal(found.segmentation.max(axis=(1, 2)), found.counts)
    np.testing.assert_array_equal(found.segmentation > 0, found.images[..., 0] > 0)
