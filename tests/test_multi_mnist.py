import dataclasses
from unittest import mock

import numpy as np
import tensorflow_datasets as tfds

from air_tf.data.multi_mnist import multi_mnist_dataset_builder as module
from air_tf.data.pool_builder import scene_configs
from air_tf.data.pool_scenes import ObjectPool

_NUM_SCENES = {"train": 6, "validation": 3, "test": 4}


def _pool(mnist, split):
    """Stands in for MNIST: three squares, of another brightness in each split."""
    brightness = 100 + 50 * list(module._SOURCE_SPLITS.values()).index(split)
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 4:24, 8:20] = brightness
    return ObjectPool(images, np.array([1, 2, 3]))


class MultiMnistTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = module.Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    # Scenes without an object are all the same.
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        dataclasses.replace(config, name=f"small_{config.name}")
        for config in scene_configs(_NUM_SCENES)
        if config.name
        in ("0-2", "0_1_3", "3", "0-2_overlap", "0-5_100x100", "0-2_noisy")
    ]

    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.object(module, "_read_pool", _pool))
        self.enter_context(mock.patch.object(module.tfds, "builder"))


def test_splits_come_from_disjoint_digits():
    assert module._SOURCE_SPLITS == {
        "train": "train[:50000]",
        "validation": "train[50000:]",
        "test": "test",
    }


def test_configs_that_are_promised():
    names = list(module.Builder.builder_configs)
    assert names[0] == "0-2"
    assert {"0-3", "0_1_3", "2", "3", "0-2_overlap", "0-5_100x100"} <= set(names)


def test_noise_and_grid_are_those_of_supair():
    configs = module.Builder.builder_configs
    noisy, grid = (configs[name].scenes for name in ("0-2_noisy", "0-2_grid"))
    plain = configs["0-2"].scenes
    # 0.8 x + 0.1 + N(0, 0.2), and max(x, 0.4) on every fifth row and column.
    assert noisy == dataclasses.replace(plain, pixel_range=(0.1, 0.9), noise=0.2)
    assert grid == dataclasses.replace(plain, grid=0.4, grid_spacing=5)
