"""Scenes of MNIST digits."""

import tensorflow_datasets as tfds

from air_tf.data import origins
from air_tf.data.pool_builder import PoolBuilder, scene_configs
from air_tf.data.pool_scenes import ObjectPool

# Splits of MNIST that ours are composed of.
_SOURCE_SPLITS = {
    "train": "train[:50000]",
    "validation": "train[50000:]",
    "test": "test",
}


class Builder(PoolBuilder):
    """TFDS builder `multi_mnist`, composed of the digits of TFDS' `mnist`."""

    ORIGIN = origins.MNIST
    BUILDER_CONFIGS = scene_configs({"train": 60000, "validation": 5000, "test": 10000})

    def object_pools(self) -> dict[str, ObjectPool]:
        mnist = tfds.builder(self.ORIGIN.name, data_dir=self.data_dir_root)
        mnist.download_and_prepare()
        return {
            split: _read_pool(mnist, source) for split, source in _SOURCE_SPLITS.items()
        }


def _read_pool(mnist: tfds.core.DatasetBuilder, split: str) -> ObjectPool:
    digits = tfds.as_numpy(mnist.as_dataset(split=split, batch_size=-1))
    return ObjectPool(images=digits["image"][..., 0], labels=digits["label"])
