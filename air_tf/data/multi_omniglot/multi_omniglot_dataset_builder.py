"""Scenes of handwritten characters of many alphabets."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from air_tf.config.checks import one_of
from air_tf.data import origins
from air_tf.data.pool_builder import PoolBuilder, scene_configs
from air_tf.data.pool_scenes import ObjectPool
from air_tf.errors import InputError

_NUM_CHARACTERS = 1623
# Pairs of splits of TFDS' omniglot, the preferred one first: one to train on, and one
# that validation and test scenes are composed of.
_SOURCE_SPLITS = (("train", "test"), ("small1", "small2"))
# Drawings have 105x105 pixels; the median width of their ink is 67.
_SHRINK = (4.0, 0.3)


class Builder(PoolBuilder):
    """TFDS builder `multi_omniglot`, composed of the drawings of TFDS' `omniglot`.

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

    def _object_features(self) -> dict[str, tfds.features.FeatureConnector]:
        return {"label": tfds.features.ClassLabel(num_classes=_NUM_CHARACTERS)}

    def object_pools(self) -> dict[str, ObjectPool]:
        omniglot = tfds.builder(self.ORIGIN.name, data_dir=self.data_dir_root)
        omniglot.download_and_prepare()
        for splits in _SOURCE_SPLITS:
            if all(split in omniglot.info.splits for split in splits):
                logging.info("Using omniglot's splits %s and %s.", *splits)
                return split_alphabets(*(_read(omniglot, split) for split in splits))
        raise InputError(
            f"{omniglot.data_path}: holds the splits "
            f"{', '.join(sorted(omniglot.info.splits))}; expected "
            f"{one_of(' and '.join(splits) for splits in _SOURCE_SPLITS)}"
        )


def split_alphabets(
    background: Mapping[str, np.ndarray], evaluation: Mapping[str, np.ndarray]
) -> dict[str, ObjectPool]:
    """Splits drawings so that no alphabet is in two splits.

    Training scenes are composed of all drawings of `background`, in eight orientations:
    rotated by multiples of 90 degrees (Santoro et al. 2016) and mirrored. Of the
    alphabets that are in `evaluation` only, the first third, by number, is for
    validation and the rest for testing.

    Args:
      background: `image` [N, h, w] uint8, bright ink on 0, `label` [N] and `alphabet`
        [N].
      evaluation: the same fields.

    Raises:
      InputError: if less than two alphabets are in `evaluation` only.
    """
    known = np.unique(background["alphabet"])
    unseen = np.setdiff1d(evaluation["alphabet"], known)
    if len(unseen) < 2:
        raise InputError(
            f"omniglot has {len(unseen)} alphabets that are not used for training; "
            "expected at least 2 for validation and testing"
        )
    validation, test = np.split(unseen, [max(1, len(unseen) // 3)])
    return {
        "train": _pool(background, known, all_orientations=True),
        "validation": _pool(evaluation, validation),
        "test": _pool(evaluation, test),
    }


def _pool(
    characters: Mapping[str, np.ndarray],
    alphabets: np.ndarray,
    *,
    all_orientations: bool = False,
) -> ObjectPool:
    chosen = np.isin(characters["alphabet"], alphabets)
    return ObjectPool(
        characters["image"][chosen],
        characters["label"][chosen],
        all_orientations=all_orientations,
    )


def _read(omniglot: tfds.core.DatasetBuilder, split: str) -> dict[str, np.ndarray]:
    """The drawings of a split, inverted: bright ink on 0."""
    characters = tfds.as_numpy(omniglot.as_dataset(split=split, batch_size=-1))
    return {**characters, "image": 255 - characters["image"][..., 0]}
