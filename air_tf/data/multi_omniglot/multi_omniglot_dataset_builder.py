"""Scenes of handwritten characters of many alphabets."""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from air_tf.data import origins
from air_tf.data.pool_builder import PoolBuilder, scene_configs
from air_tf.data.scenes import ObjectPool
from air_tf.errors import InputError

_NUM_CHARACTERS = 1623
# Splits of TFDS' omniglot that make one of ours: alphabets to train on, and others.
_SOURCE_SPLITS = (("train", "test"), ("small1", "small2"))
# Characters of 105 pixels a side; the ink of half of them is wider than 67.
_SHRINK = (4.0, 0.3)


class Builder(PoolBuilder):
    """TFDS builder `multi_omniglot`, made from TFDS' `omniglot`.

    No alphabet is in two splits.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    ORIGIN = origins.OMNIGLOT
    BUILDER_CONFIGS = scene_configs(
        {"train": 60000, "validation": 5000, "test": 10000},
        default="0-3",
        shrink=_SHRINK,
    )

    def _object_features(self):
        return {"label": tfds.features.ClassLabel(num_classes=_NUM_CHARACTERS)}

    def _object_pools(self) -> dict[str, ObjectPool]:
        omniglot = tfds.builder(self.ORIGIN.name, data_dir=self.data_dir_root)
        omniglot.download_and_prepare()
        for splits in _SOURCE_SPLITS:
            if all(split in omniglot.info.splits for split in splits):
                print(f"The alphabets are those of {' and '.join(splits)}.")
                return split_alphabets(*(_read(omniglot, split) for split in splits))
        raise InputError(
            f"{omniglot.data_path}: holds the splits "
            f"{', '.join(sorted(omniglot.info.splits))}; expected "
            f"{' or '.join(' and '.join(splits) for splits in _SOURCE_SPLITS)}"
        )


def split_alphabets(background, evaluation) -> dict[str, ObjectPool]:
    """Alphabets of `background` to train on; those only in `evaluation` to test.

    The first third of the latter, in the order of their numbers, is for validation.
    Drawings to train on are also turned by quarters (as by Santoro et al. 2016) and
    mirrored: eight times as many shapes.

    Args:
      background: "image" [N, h, w] uint8, bright on 0, "label" and "alphabet" [N].
      evaluation: likewise.
    """
    known = np.unique(background["alphabet"])
    unseen = np.setdiff1d(evaluation["alphabet"], known)
    if len(unseen) < 2:
        raise InputError(
            f"{len(unseen)} alphabets are left to test on; expected at least 2"
        )
    validation, test = np.split(unseen, [max(1, len(unseen) // 3)])
    return {
        "train": _pool(background, known, in_all_positions=True),
        "validation": _pool(evaluation, validation),
        "test": _pool(evaluation, test),
    }


def _pool(characters, alphabets, **how) -> ObjectPool:
    chosen = np.isin(characters["alphabet"], alphabets)
    return ObjectPool(characters["image"][chosen], characters["label"][chosen], **how)


def _read(omniglot: tfds.core.DatasetBuilder, split: str) -> dict[str, np.ndarray]:
    """Drawings as bright ink on 0."""
    characters = tfds.as_numpy(omniglot.as_dataset(split=split, batch_size=-1))
    return {**characters, "image": 255 - characters["image"][..., 0]}
