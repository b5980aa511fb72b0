import dataclasses
import itertools

import numpy as np
import tensorflow_datasets as tfds

from air_tf.data.multi_digits import Builder
from air_tf.data.pool_builder import scene_configs

_NUM_SCENES = {"train": 8, "validation": 3, "test": 4}


def _small(num_scenes, name="0-2"):
    """One of the configs with fewer scenes; TFDS wants another name for it."""
    configs = {config.name: config for config in scene_configs(num_scenes)}
    return dataclasses.replace(configs[name], name=f"small_{name}")


class MultiDigitsTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    # Scenes without an object are all the same.
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        _small(_NUM_SCENES, "0-2"),
        _small(_NUM_SCENES, "2"),
    ]


def test_splits_come_from_disjoint_digits(tmp_path):
    pools = Builder(data_dir=tmp_path).object_pools()
    assert {split: len(pool.images) for split, pool in pools.items()} == {
        "train": 1397,
        "validation": 200,
        "test": 200,
    }
    digits = {
        split: {image.tobytes() for image in pool.images}
        for split, pool in pools.items()
    }
    for one, other in itertools.combinations(digits.values(), 2):
        assert not one & other
    for pool in pools.values():
        assert set(pool.labels) == set(range(10))


def test_built_twice_it_has_the_same_bytes(tmp_path):
    config = _small({"train": 30, "validation": 5, "test": 5})
    read = []
    for shards in (1, 3):
        builder = Builder(data_dir=tmp_path / str(shards), config=config)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=shards)
        )
        examples = tfds.as_numpy(builder.as_dataset(split="train"))
        read.append(sorted(e["image"].tobytes() for e in examples))
    assert read[0] == read[1]


def test_features_agree_with_each_other(tmp_path):
    config = _small({"train": 30, "validation": 5, "test": 5})
    builder = Builder(data_dir=tmp_path, config=config)
    builder.download_and_prepare()
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        boxes = example["objects"]["bbox"]
        assert example["count"] == len(boxes) == len(example["objects"]["label"])
        assert example["image"].dtype == np.uint8
        assert example["image"].any() == (example["count"] > 0)
        assert np.all(boxes[:, :2] < boxes[:, 2:])
