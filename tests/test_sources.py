import dataclasses
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from air_tf.config import DataConfig
from air_tf.config.datasets import BUILDERS, REAL_PICTURES, USER_SOURCES
from air_tf.data import origins, sources, sprites
from air_tf.data.multi_mnist import Builder
from air_tf.data.scenes import SPLITS
from air_tf.data.sprite_scenes import compose_sprites
from air_tf.errors import InputError, OutputError
from air_tf.structs import ImageSet

# A TFDS data_dir with mnist/3.0.1, and MNIST's original files, for the tests
# that need real MNIST.
_DATA_DIR = os.environ.get("AIR_TF_TEST_DATA_DIR")
_MNIST_FILES = os.environ.get("AIR_TF_TEST_MNIST_FILES")
needs_mnist = pytest.mark.skipif(
    not _DATA_DIR, reason="AIR_TF_TEST_DATA_DIR names no TFDS data_dir with mnist"
)
needs_files = pytest.mark.skipif(
    not _MNIST_FILES, reason="AIR_TF_TEST_MNIST_FILES names no folder"
)


def test_own_images_are_split_without_overlap(tmp_path):
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1)
    np.savez(tmp_path / "x.npz", image=images, count=np.arange(50))
    config = DataConfig(dataset="file", data_file=str(tmp_path / "x.npz"))
    splits = sources.load_splits(config, SPLITS, image_shape=(1, 1, 1))
    assert [len(splits[s].images) for s in SPLITS] == [40, 5, 5]
    found = np.concatenate([s.images.ravel() for s in splits.values()])
    assert sorted(found) == list(range(50))
    for split in splits.values():
        np.testing.assert_array_equal(split.images.ravel(), split.counts)


def test_too_few_images_to_train_on(tmp_path):
    for name in "abc":
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    config = DataConfig(dataset="folder", image_dir=str(tmp_path))
    with pytest.raises(InputError, match="holds 3 images; expected at least 10"):
        sources.load_splits(config, ["train"], image_shape=(4, 4, 1))


def test_fingerprint_tells_images_from_each_other():
    one = ImageSet(np.zeros((2, 3, 4, 1), np.uint8))
    assert sources.fingerprint(one) == sources.fingerprint(ImageSet(one.images.copy()))
    # As stored in the config.json of earlier runs.
    assert sources.fingerprint(one) == (
        "54e167ba573ea61da87db1468fa18b8904083eec1a6737970cd8889ce6c4f5b8"
    )
    for other in (one.images + 1, one.images.reshape(2, 4, 3, 1)):
        assert sources.fingerprint(one) != sources.fingerprint(ImageSet(other))


def test_unknown_split():
    with pytest.raises(
        InputError, match=r"^split is 'all'; expected train, validation or test$"
    ):
        sources.load_splits(DataConfig(), ["all"], image_shape=(50, 50, 1))


def test_no_network_says_what_to_do(tmp_path, monkeypatch):
    import requests
    import tensorflow_datasets as tfds

    def fail(*args, **kwargs):
        raise ConnectionError("no route")

    def no_route(*args, **kwargs):
        raise requests.ConnectionError("no route")

    # Without a network at all, and with one that breaks off.
    with monkeypatch.context() as patch:
        patch.setattr(requests, "head", no_route)
        with pytest.raises(InputError, match="can't be downloaded"):
            sources.prepare("multi_mnist", data_dir=str(tmp_path))
    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: None)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(InputError, match="can't be downloaded") as error:
        sources.prepare("multi_mnist", data_dir=str(tmp_path))
    for way in ("`data_dir`", "`manual_dir`", "`dataset` multi_digits"):
        assert way in str(error.value)


def test_manual_dir_must_exist(tmp_path):
    with pytest.raises(InputError, match="manual_dir is 'none'; expected a folder"):
        sources.prepare("multi_mnist", data_dir=str(tmp_path), manual_dir="none")


def test_manual_dir_with_other_files(tmp_path):
    (tmp_path / "files").mkdir()
    files = str(tmp_path / "files")
    for name in origins.MNIST.files[:2]:
        (tmp_path / "files" / name).write_text("hi")
    with pytest.raises(InputError, match="where t10k-images-idx3-ubyte"):
        sources.prepare("multi_mnist", data_dir=str(tmp_path), manual_dir=files)
    for name in origins.MNIST.files[2:]:
        (tmp_path / "files" / name).write_text("hi")
    with pytest.raises(InputError, match="MNIST can't be prepared") as error:
        sources.prepare("multi_mnist", data_dir=str(tmp_path), manual_dir=files)
    assert files in str(error.value)


def test_manual_dir_of_scenes_that_need_none(tmp_path):
    with pytest.raises(InputError, match="expected nothing with sprites") as error:
        sources.prepare("sprites", data_dir=str(tmp_path), manual_dir=str(tmp_path))
    assert error.value.field == "manual_dir"


def test_every_dataset_is_registered():
    folders = pathlib.Path(sources.__file__).parent.glob("*/*_dataset_builder.py")
    names = sorted(path.parent.name for path in folders)
    assert names == sorted((*BUILDERS, *REAL_PICTURES))
    assert set(USER_SOURCES.values()) < {f.name for f in dataclasses.fields(DataConfig)}


@pytest.mark.parametrize(
    "dataset, expected",
    [
        ("cifar", "expected multi_digits, .*, tabletop or nuclei$"),
        ("sprites/0-9", "sprites has the configurations 0-3, "),
    ],
)
def test_unknown_dataset(dataset, expected):
    with pytest.raises(InputError, match=f"^dataset is '{dataset}'; {expected}"):
        sources.prepare(dataset)


def test_user_images_without_a_path():
    with pytest.raises(InputError, match=r"^dataset is .*; expected file or folder$"):
        sources.load_user_images(DataConfig(), image_shape=(50, 50, 1))


def test_data_dir_that_can_not_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/sprites.*: can't be written"):
        sources.prepare("sprites", data_dir=str(tmp_path / "file"))


def test_details_are_read_if_wanted(tmp_path, monkeypatch):
    """Scenes come in the order of TFDS' shuffle: found by their pixels."""
    (config,) = (c for c in sprites.Builder.BUILDER_CONFIGS if c.name == "0-3")
    few = {"train": 12, "validation": 2, "test": 12}
    monkeypatch.setattr(config, "num_scenes", few)
    found = sources.load_splits(
        DataConfig(dataset="sprites"),
        {"train", "test"},
        image_shape=(50, 50, 3),
        data_dir=str(tmp_path),
        with_details={"test"},
    )
    assert found["train"].labels is None and found["train"].segmentation is None
    for split, images in found.items():
        scenes = [
            compose_sprites(config.scenes, i, split=SPLITS.index(split))
            for i in range(12)
        ]
        order = sorted(range(12), key=lambda i: scenes[i].image.tobytes())
        rows = sorted(range(12), key=lambda i: images.images[i].tobytes())
        for i, row in zip(order, rows, strict=True):
            scene, count = scenes[i], len(scenes[i].boxes)
            np.testing.assert_array_equal(images.images[row], scene.image)
            assert images.counts[row] == count
            np.testing.assert_array_equal(images.boxes[row, :count], scene.boxes)
            assert not images.boxes[row, count:].any()
            if split == "test":
                np.testing.assert_array_equal(images.labels[row, :count], scene.labels)
                assert not images.labels[row, count:].any()
                np.testing.assert_array_equal(
                    images.segmentation[row], scene.segmentation[..., 0]
                )


def _link_mnist(tmp_path):
    (tmp_path / "mnist").symlink_to(pathlib.Path(_DATA_DIR).resolve() / "mnist")
    return str(tmp_path)


def _make_few(monkeypatch, name):
    """Few scenes of a configuration: they take long to write, not to test."""
    (config,) = (c for c in Builder.BUILDER_CONFIGS if c.name == name)
    few = {"train": 100, "validation": 1000, "test": 100}
    monkeypatch.setattr(config, "num_scenes", few)


@needs_mnist
def test_real_multi_mnist(tmp_path, monkeypatch):
    _make_few(monkeypatch, "0-2")
    splits = sources.load_splits(
        DataConfig(dataset="multi_mnist"),
        ["validation"],
        image_shape=(50, 50, 1),
        data_dir=_link_mnist(tmp_path),
        with_details=["validation"],
    )
    found = splits["validation"]
    assert found.images.shape == (1000, 50, 50, 1) and found.images.dtype == np.uint8
    np.testing.assert_allclose(np.bincount(found.counts) / 1000, 1 / 3, atol=0.05)
    assert set(np.unique(found.labels)) == set(range(10))
    for image, count, boxes, labels, shown in zip(*found[:5], strict=True):
        assert np.all(boxes[count:] == 0) and np.all(labels[count:] == 0)
        assert shown.max() == count
        np.testing.assert_array_equal(shown > 0, image[..., 0] > 0)
        ink = image[..., 0].copy()
        for ymin, xmin, ymax, xmax in np.round(boxes[:count] * 50).astype(int):
            assert ink[ymin:ymax, xmin:xmax].any()
            ink[ymin:ymax, xmin:xmax] = 0
        assert not ink.any()


@needs_files
def test_mnist_from_its_original_files(tmp_path, monkeypatch):
    _make_few(monkeypatch, "1")
    builder = sources.prepare(
        "multi_mnist/1", data_dir=str(tmp_path), manual_dir=_MNIST_FILES
    )
    assert builder.info.splits["test"].num_examples == 100
