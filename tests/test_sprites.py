import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from air_tf.data.scene_config import SpriteConfig
from air_tf.data.sprite_scenes import SHAPES, compose_sprites
from air_tf.data.sprites import Builder
from air_tf.data.sprites.sprites_dataset_builder import sprite_configs
from air_tf.errors import InputError

_NUM_SCENES = {"train": 6, "validation": 3, "test": 4}


class SpritesTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    # Scenes without an object are all the same.
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        dataclasses.replace(config, name=f"small_{config.name}")
        for config in sprite_configs(_NUM_SCENES)
        if config.name in ("0-3", "0-3_texture", "0-5_100x100")
    ]


def _scenes(num, **settings):
    config = SpriteConfig(**settings)
    return [compose_sprites(config, i, split=0) for i in range(num)]


def _alone(scene, k):
    """Pixels and box of object k, in pixels."""
    height, width = scene.segmentation.shape[:2]
    box = np.round(scene.boxes[k] * [height, width, height, width])
    return scene.segmentation[..., 0] == k + 1, box


def test_counts_shapes_and_hues_are_equally_probable():
    scenes = _scenes(2000)
    counts = np.bincount([len(s.boxes) for s in scenes], minlength=4)
    np.testing.assert_allclose(counts / 2000, 1 / 4, atol=0.04)
    labels = np.concatenate([s.labels for s in scenes])
    shapes = np.bincount(labels, minlength=len(SHAPES))
    np.testing.assert_allclose(shapes / len(labels), 1 / 5, atol=0.03)
    brightest = np.concatenate([s.colors for s in scenes]).argmax(axis=1)
    np.testing.assert_allclose(np.bincount(brightest) / len(labels), 1 / 3, atol=0.04)


def test_the_largest_is_twice_as_large_as_the_smallest():
    boxes = np.concatenate([s.boxes for s in _scenes(800, counts=(1,))])
    side = 50 * np.max(boxes[:, 2:] - boxes[:, :2], axis=1)
    # A side of 10 to 20 pixels begins and ends between pixels.
    assert 10 <= side.min() <= 11
    assert 20 <= side.max() <= 22


# Share of the bounding square that each shape fills, by elementary geometry.
_AREAS = {
    "circle": np.pi / 4,
    "square": 1.0,
    "triangle": np.sqrt(3) / 4,
    # Ten triangles of sides 1 and 0.382 of the circle's radius, at 36 degrees,
    # over the square of the star's width, 2 sin(72 degrees) radii.
    "star": 5 * 0.382 * np.sin(np.pi / 5) / (2 * np.sin(2 * np.pi / 5)) ** 2,
    "cross": 5 / 9,
}


@pytest.mark.parametrize("rotation", [False, True])
def test_shapes_have_their_areas(rotation):
    """Anti-aliasing keeps areas: the image's brightness over its colour's."""
    scenes = _scenes(60, counts=(1,), size=(16, 16), rotation=rotation)
    for scene in scenes:
        channel = scene.colors[0].argmax()
        area = scene.image[..., channel].sum() / scene.colors[0, channel]
        expected = 16**2 * _AREAS[SHAPES[scene.labels[0]]]
        # Pillow's polygons hold their border pixels, of an eighth of a pixel here.
        assert area == pytest.approx(expected, rel=0.08)


def test_edges_are_smooth():
    scene = _scenes(1, counts=(1,), rotation=True)[0]
    assert len(np.unique(scene.image[..., 0])) > 10


def test_rotation_turns_shapes():
    still, turned = (
        np.concatenate(
            [s.boxes for s in _scenes(300, counts=(1,), size=(16, 16), rotation=r)]
        )
        for r in (False, True)
    )
    assert 50 * np.ptp(still[:, 2] - still[:, 0]) < 4
    assert 50 * np.ptp(turned[:, 2] - turned[:, 0]) > 7


def test_boxes_are_tight_and_apart():
    for scene in _scenes(200):
        ink = np.zeros((50, 50), int)
        for box in np.round(scene.boxes * 50).astype(int):
            inside = scene.image[box[0] : box[2], box[1] : box[3]]
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()
            ink[box[0] : box[2], box[1] : box[3]] += 1
        assert ink.max(initial=0) <= 1
        assert not scene.image[ink == 0].any()


def test_an_object_shows_its_colour_where_the_segmentation_says():
    for scene in _scenes(100, overlap=True, rotation=True, size=(17, 20)):
        for k, color in enumerate(scene.colors):
            pixels, box = _alone(scene, k)
            difference = np.abs(scene.image[pixels].astype(int) - color)
            assert np.median(difference) <= 1
            rows, columns = np.nonzero(pixels)
            assert box[0] <= rows.min() and rows.max() < box[2]
            assert box[1] <= columns.min() and columns.max() < box[3]


def test_overlap_hides_those_drawn_before_but_never_most_of_them():
    hidden = 0
    for scene in _scenes(300, counts=(2,), overlap=True):
        first, second = scene.boxes
        touch = np.all(first[:2] < second[2:]) and np.all(second[:2] < first[2:])
        hidden += touch
        assert np.unique(scene.segmentation).tolist() == [0, 1, 2]
    assert hidden > 30


@pytest.mark.parametrize("background", ["plain", "gradient", "texture"])
def test_backgrounds_are_darker_than_objects(background):
    for scene in _scenes(50, background=background):
        ground = scene.image[scene.segmentation[..., 0] == 0].max(axis=-1)
        assert ground.any()
        assert np.median(ground) <= 0.4 * 255 + 1
        for color in scene.colors:
            assert color.max() >= 0.7 * 255 - 1
    empty = _scenes(1, background=background, counts=(0,))[0].image
    assert (len(np.unique(empty.reshape(-1, 3), axis=0)) == 1) == (
        background == "plain"
    )


def test_bytes_depend_on_seed_split_and_index_alone():
    config = SpriteConfig()
    first = [compose_sprites(config, i, split=0).image for i in range(20)]
    again = [compose_sprites(config, i, split=0).image for i in reversed(range(20))]
    np.testing.assert_array_equal(first, again[::-1])
    for other in (
        [compose_sprites(config, i, split=1).image for i in range(20)],
        [compose_sprites(SpriteConfig(seed=1), i, split=0).image for i in range(20)],
    ):
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, "477794b6a0adbf41e428987781b3663d66e82c50fa7aec2e2f59755b174f4def"),
        (
            # Not rotated: Pillow before 11.2 draws slanted edges a little differently.
            {"overlap": True, "background": "texture"},
            "12672b682433ecd1b7ba106d249bf4e1bac9b58eec3c05df55c6b95ffd310897",
        ),
    ],
)
def test_bytes_are_those_of_version_0_1(settings, expected):
    """Results on a dataset stay comparable as long as its scenes stay the same."""
    digest = hashlib.sha256()
    for scene in _scenes(20, **settings):
        digest.update(scene.image.tobytes() + scene.segmentation.tobytes())
    assert digest.hexdigest() == expected


def test_colours_are_in_their_ranges():
    """In HSV, the value is the largest channel; without saturation, all are equal."""
    scenes = _scenes(
        50,
        counts=(1,),
        object_saturation=(0.0, 0.0),
        object_value=(0.6, 0.8),
        background="plain",
        background_value=(0.2, 0.3),
    )
    colors = np.concatenate([scene.colors for scene in scenes])
    assert (colors == colors[:, :1]).all()
    assert 0.6 * 255 - 1 <= colors.min() <= colors.max() <= 0.8 * 255 + 1
    for scene in scenes:
        ground = scene.image[scene.segmentation[..., 0] == 0].max(axis=-1)
        assert 0.2 * 255 - 1 <= np.median(ground) <= 0.3 * 255 + 1


def test_a_share_of_each_object_is_visible():
    """The first of two squares of the same size, relative to the second."""
    settings = {"counts": (2,), "overlap": True, "size": (20, 20)}
    shares = {
        least: [
            (scene.segmentation == 1).sum() / (scene.segmentation == 2).sum()
            for scene in _scenes(500, **settings, min_visible=least)
            if scene.labels.tolist() == [1, 1]
        ]
        for least in (0.0, 0.9)
    }
    assert min(shares[0.0]) < 0.5
    assert 0.85 < min(shares[0.9]) < 1


def test_coverage_decides_whose_pixel_it_is():
    """Pixels of an edge belong to the object from a certain coverage on."""
    areas = [
        [
            (scene.segmentation > 0).sum()
            for scene in _scenes(20, counts=(1,), min_coverage=least)
        ]
        for least in (1 / 255, 0.5, 1.0)
    ]
    assert (np.diff(areas, axis=0) < 0).all()
    for scene in _scenes(20, counts=(1,), min_coverage=1 / 255):
        np.testing.assert_array_equal(
            scene.segmentation[..., 0] > 0, scene.image.any(axis=-1)
        )


def test_without_supersampling_edges_are_hard():
    scene = _scenes(1, counts=(1,), rotation=True, supersampling=1)[0]
    assert len(np.unique(scene.image[..., 0])) <= 2


def test_a_texture_has_its_cells():
    """Of one cell, it is plain."""
    (scene,) = _scenes(1, counts=(0,), background="texture", texture_cells=1)
    assert len(np.unique(scene.image.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize(
    "field, value",
    [
        ("size", (20.0, 10.0)),
        ("size", (0.5, 3.0)),
        ("background", "stripes"),
        ("rotation", 1),
        ("overlap", "yes"),
        ("min_visible", 1.5),
        ("min_coverage", 0.0),
        ("object_saturation", (0.5, 1.5)),
        ("object_value", (1.0, 0.7)),
        ("background_value", 0.4),
        ("texture_cells", 0),
        ("supersampling", 0),
        ("counts", ()),
        ("canvas_size", (50,)),
        ("seed", -1),
    ],
)
def test_settings_that_can_not_work(field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        SpriteConfig(**{field: value})


def test_too_many_for_the_canvas():
    with pytest.raises(InputError, match="counts includes 4, but 4 objects do not"):
        compose_sprites(
            SpriteConfig(counts=(4,), canvas_size=(30, 30), size=(20, 20)), 0, split=0
        )


def test_features_agree_with_each_other(tmp_path):
    configs = {config.name: config for config in sprite_configs(_NUM_SCENES)}
    config = dataclasses.replace(configs["0-3"], name="small")
    builder = Builder(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    assert builder.info.features["objects"]["label"].names == list(SHAPES)
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        objects = example["objects"]
        assert example["image"].shape == (50, 50, 3)
        assert example["count"] == len(objects["bbox"]) == len(objects["label"])
        assert objects["color"].shape == (example["count"], 3)
        assert example["segmentation"].max() == example["count"]
