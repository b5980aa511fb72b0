"""Scenes of the handwritten digits that are part of scikit-learn."""

import numpy as np
from PIL import Image

from air_tf.data.pool_builder import PoolBuilder, scene_configs
from air_tf.data.pool_scenes import ObjectPool

# The layout of MNIST: a digit of 20x20 pixels within 28x28.
_BOX, _MARGIN = 20, 4
_NUM_VALIDATION = _NUM_TEST = 200


class Builder(PoolBuilder):
    """TFDS builder `multi_digits`: needs no download."""

    BUILDER_CONFIGS = scene_configs({"train": 20000, "validation": 2000, "test": 5000})

    def object_pools(self) -> dict[str, ObjectPool]:
        # Imported here: it takes a second, and other datasets don't need it.
        from sklearn import datasets

        digits = datasets.load_digits()
        images = np.stack([_as_mnist(image) for image in digits.images])
        # A fixed shuffle: in the original order, neighbours were written by the same
        # person, and the last digits are harder than the others.
        order = np.random.default_rng(0).permutation(len(images))
        test, validation, train = np.split(
            order, [_NUM_TEST, _NUM_TEST + _NUM_VALIDATION]
        )
        return {
            split: ObjectPool(images=images[index], labels=digits.target[index])
            for split, index in [
                ("train", train),
                ("validation", validation),
                ("test", test),
            ]
        }


def _as_mnist(image: np.ndarray) -> np.ndarray:
    """From [8, 8] with values 0 to 16 to [28, 28] uint8."""
    picture = Image.fromarray(np.round(image * 255 / 16).astype(np.uint8))
    resized = picture.resize((_BOX, _BOX), Image.Resampling.BILINEAR)
    return np.pad(np.asarray(resized), _MARGIN)
