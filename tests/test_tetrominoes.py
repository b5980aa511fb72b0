import dataclasses
import hashlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from air_tf.data.scene_config import TetrominoConfig
from air_tf.data.tetromino_scenes import COLORS, SHAPES, compose_tetrominoes
from air_tf.data.tetrominoes import Builder
from air_tf.data.tetrominoes.tetrominoes_dataset_builder import tetromino_configs
from air_tf.errors import InputError

_NUM_SCENES = {"train": 6, "validation": 3, "test": 4}


class TetrominoesTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    # Scenes without an object are all the same.
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        dataclasses.replace(config, name=f"small_{config.name}")
        for config in tetromino_configs(_NUM_SCENES)
        if config.name in ("3", "0-3")
    ]


def _scenes(num, **settings):
    config = TetrominoConfig(**settings)
    return [compose_tetrominoes(config, i, split=0) for i in range(num)]


def _squares(scene, k):
    """[rows, columns] bool: the squares of object k within its box."""
    ymin, xmin, ymax, xmax = np.round(scene.boxes[k] * 35).astype(int)
    pixels = scene.segmentation[ymin:ymax, xmin:xmax, 0] == k + 1
    squares = pixels[::5, ::5]
    # Each square is of one piece: 5x5 pixels.
    np.testing.assert_array_equal(np.kron(squares, np.ones((5, 5), bool)), pixels)
    return squares


def test_three_pieces_of_four_squares_on_black():
    for scene in _scenes(200):
        assert scene.image.shape == (35, 35, 3)
        shown = scene.segmentation[..., 0]
        # Nothing is hidden: three pieces of 100 pixels.
        assert np.bincount(shown.ravel()).tolist() == [35 * 35 - 300, 100, 100, 100]
        assert not scene.image[shown == 0].any()
        for k, color in enumerate(scene.colors):
            assert (scene.image[shown == k + 1] == color).all()


def test_the_19_shapes_are_those_that_differ():
    """Turned by quarters: I, S and Z in two ways, O in one, T, J and L in four."""
    letters = [name[0] for name in SHAPES]
    assert {letter: letters.count(letter) for letter in "IOTSZJL"} == dict(
        zip("IOTSZJL", (2, 1, 4, 2, 2, 4, 4), strict=True)
    )
    found = {}
    for scene in _scenes(300):
        for k, label in enumerate(scene.labels):
            squares = _squares(scene, k)
            assert squares.sum() == 4
            # The box is tight.
            assert squares.any(axis=0).all() and squares.any(axis=1).all()
            found.setdefault(label, set()).add((squares.shape, squares.tobytes()))
    # A label always has one look, and no two labels have the same.
    assert sorted(found) == list(range(19))
    assert all(len(looks) == 1 for looks in found.values())
    assert len(set.union(*found.values())) == 19


def test_shapes_and_colours_are_equally_probable():
    scenes = _scenes(2000)
    labels = np.concatenate([scene.labels for scene in scenes])
    np.testing.assert_allclose(np.bincount(labels) / 6000, 1 / 19, atol=0.015)
    colors = np.concatenate([scene.colors for scene in scenes])
    share = (colors[:, np.newaxis] == COLORS).all(axis=-1).mean(axis=0)
    np.testing.assert_allclose(share, 1 / 6, atol=0.02)


@pytest.mark.parametrize("step", [1, 5])
def test_pieces_lie_at_multiples_of_the_step_up_to_the_border(step):
    boxes = np.concatenate([scene.boxes for scene in _scenes(500, step=step)])
    edges = np.round(35 * boxes).astype(int)
    assert set(edges[:, :2].ravel() % 5) == set(range(0, 5, step))
    assert edges.min() == 0 and edges.max() == 35


def test_bounding_boxes_may_overlap():
    """Pieces fit into each other."""
    overlaps = 0
    for scene in _scenes(200, counts=(2,)):
        a, b = scene.boxes
        overlaps += np.all(a[:2] < b[2:]) and np.all(b[:2] < a[2:])
    assert 10 < overlaps < 100


def test_bytes_stay_the_same():
    digest = hashlib.sha256()
    for scene in _scenes(20):
        digest.update(scene.image.tobytes() + scene.segmentation.tobytes())
    assert (
        digest.hexdigest()
        == "32c97c4d369069f0178d8f3a4fb777bd1209643eaead7c9b6f4e403690559c99"
    )
    other = compose_tetrominoes(TetrominoConfig(seed=1), 0, split=0)
    assert not np.array_equal(other.image, _scenes(1)[0].image)


@pytest.mark.parametrize("field, value", [("block", 0), ("step", 0), ("counts", ())])
def test_settings_that_can_not_work(field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        TetrominoConfig(**{field: value})


def test_too_many_for_the_canvas():
    with pytest.raises(InputError, match="counts includes 13, but 13 objects do not"):
        _scenes(1, counts=(13,), scene_attempts=2)


def test_features_agree_with_each_other(tmp_path):
    config = dataclasses.replace(tetromino_configs(_NUM_SCENES)[0], name="small")
    builder = Builder(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    assert builder.info.features["objects"]["label"].names == list(SHAPES)
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        assert example["count"] == 3 == len(example["objects"]["bbox"])
        assert example["objects"]["color"].shape == (3, 3)
        assert example["segmentation"].max() == 3
