"""Scenes of the handwritten digits that scikit-learn brings along."""

import numpy as np
from PIL import Image

from air_tf.data.pool_builder import PoolBuilder, scene_configs
from air_tf.data.scenes import ObjectPool

# Digits are drawn as MNIST's are: in a box of 20x20 within 28x28 pixels.
_BOX, _MARGIN = 20, 4
_NUM_VALIDATION = _NUM_TEST = 200


class Builder(PoolBuilder):
    """TFDS builder `multi_digits`: needs no download."""

    BUILDER_CONFIGS = scene_configs({"train": 20000, "validation": 2000, "test": 5000})

    def _object_pools(self) -> dict[str, ObjectPool]:
        # Here, since scikit-learn takes a second that other datasets don't need.
        from sklearn import datasets

        digits = datasets.load_digits()
        images = np.stack([_as_mnist(image) for image in digits.images])
        # In the original order neighbours were written by the same person,
        # and its tail is harder than the rest: a fixed shuffle mixes them.
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
    """[8, 8] in 0 .. 16 to [28, 28] uint8."""
    picture = Image.fromarray(np.round(image * 255 / 16).astype(np.uint8))
    resized = picture.resize((_BOX, _BOX), Image.Resampling.BILINEAR)
    return np.pad(np.asarray(resized), _MARGIN)
