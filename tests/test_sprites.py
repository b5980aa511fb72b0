import dataclasses

import numpy as np
import pytest
import tensorflow_datasets as tfds

from air_tf.config import SpriteConfig
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
    "field, value",
    [
        ("size", (20.0, 10.0)),
        ("size", (0.5, 3.0)),
        ("background", "stripes"),
        ("rotation", 1),
        ("overlap", "yes"),
        ("counts", ()),
        ("canvas_size", (50,)),
        ("seed", -1),
    ],
)
def test_settings_that_can_not_work(field, value):
    with pytest.raises(InputError, match=field):
        SpriteConfig(**{field: value})


def test_too_many_for_the_canvas():
    with pytest.raises(InputError, match="4 objects find no place"):
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
