import dataclasses
import os
import pathlib
from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

from air_tf.data import sources
from air_tf.data.multi_omniglot import multi_omniglot_dataset_builder as module
from air_tf.data.pool_builder import scene_configs
from air_tf.data.pool_scenes import ObjectPool, compose_scene
from air_tf.data.scene_config import SceneConfig
from air_tf.errors import InputError

_NUM_SCENES = {"train": 6, "validation": 3, "test": 4}
# A TFDS data_dir with omniglot/3.0.0, for the test that needs real drawings.
_DATA_DIR = pathlib.Path(os.environ.get("AIR_TF_TEST_DATA_DIR", "none"))


def _characters(alphabets):
    """A square for each alphabet, of its own brightness."""
    images = np.zeros((len(alphabets), 105, 105), np.uint8)
    images[:, 20:80, 30:70] = 100 + 10 * np.array(alphabets)[:, None, None]
    return {
        "image": images,
        "label": 10 * np.array(alphabets),
        "alphabet": np.array(alphabets),
    }


class MultiOmniglotTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = module.Builder
    SPLITS = _NUM_SCENES
    EXAMPLE_DIR = "."
    SKIP_CHECKSUMS = True
    # Scenes without an object are all the same.
    OVERLAPPING_SPLITS = ["train", "validation", "test"]  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
        dataclasses.replace(config, name=f"small_{config.name}")
        for config in scene_configs(_NUM_SCENES, shrink=module._SHRINK)
        if config.name in ("0-3", "0_1_3", "1_double_size", "0-5_100x100")
    ]

    def setUp(self):
        super().setUp()
        of_split = {"train": _characters([1, 4]), "test": _characters([5, 6, 7])}
        self.enter_context(
            mock.patch.object(module, "_read", lambda _, split: of_split[split])
        )
        builder = self.enter_context(mock.patch.object(module.tfds, "builder"))
        builder.return_value.info.splits = {"train": 0, "test": 0, "small1": 0}


def test_no_alphabet_is_in_two_splits():
    pools = module.split_alphabets(
        _characters([0, 1, 1, 2, 5]), _characters([5, 2, 9, 9, 3, 8, 4, 4])
    )
    # Of the unseen 3, 4, 8 and 9, the first third rounds down to one.
    assert pools["train"].labels.tolist() == [0, 10, 10, 20, 50]
    assert pools["validation"].labels.tolist() == [30]
    assert pools["test"].labels.tolist() == [90, 90, 80, 40, 40]
    for pool in pools.values():
        np.testing.assert_array_equal(pool.images[:, 50, 50], 100 + pool.labels)


def test_drawings_to_train_on_come_in_eight_orientations():
    pools = module.split_alphabets(_characters([0]), _characters([1, 2]))
    assert [pool.all_orientations for pool in pools.values()] == [True, False, False]
    drawing = np.array([[200, 100], [50, 0]], np.uint8)
    config = SceneConfig(counts=(1,), canvas_size=(2, 2), shrink=(1.0, 0.0))

    def found(pool):
        scenes = [compose_scene(pool, config, i, split=0) for i in range(100)]
        return {scene.image.tobytes() for scene in scenes}

    pool = ObjectPool(drawing[np.newaxis], np.array([1]))
    assert found(pool) == {drawing.tobytes()}
    orientations = {
        np.rot90(one, quarters).tobytes()
        for one in (drawing, drawing[:, ::-1])
        for quarters in range(4)
    }
    assert len(orientations) == 8
    assert found(dataclasses.replace(pool, all_orientations=True)) == orientations


def test_unseen_alphabets_are_needed():
    with pytest.raises(InputError, match="omniglot has 1 alphabets"):
        module.split_alphabets(_characters([0, 1]), _characters([0, 1, 2]))


def test_other_splits_are_refused(tmp_path):
    with mock.patch.object(module.tfds, "builder") as builder:
        builder.return_value.info.splits = {"small1": 0, "test": 0}
        with pytest.raises(InputError, match="holds the splits small1, test; expected"):
            module.Builder(data_dir=tmp_path).object_pools()


def test_the_default_has_up_to_three_characters():
    assert next(iter(module.Builder.builder_configs)) == "0-3"


@pytest.mark.skipif(
    not (_DATA_DIR / "omniglot" / "3.0.0").is_dir(),
    reason="AIR_TF_TEST_DATA_DIR names no TFDS data_dir with omniglot",
)
def test_real_multi_omniglot(tmp_path, monkeypatch):
    (tmp_path / "omniglot").symlink_to(_DATA_DIR.resolve() / "omniglot")
    (config,) = (c for c in module.Builder.BUILDER_CONFIGS if c.name == "0-3")
    few = {"train": 200, "validation": 10, "test": 200}
    monkeypatch.setattr(config, "num_scenes", few)
    builder = sources.prepare("multi_omniglot", data_dir=str(tmp_path))
    found = {
        split: list(tfds.as_numpy(builder.as_dataset(split=split))) for split in few
    }
    labels = {
        split: {label for scene in scenes for label in scene["objects"]["label"]}
        for split, scenes in found.items()
    }
    assert len(labels["train"]) > 80 and len(labels["test"]) > 40
    assert not labels["train"] & (labels["test"] | labels["validation"])
    assert not labels["validation"] & labels["test"]
    for scene in found["test"]:
        assert scene["image"].shape == (50, 50, 1)
        assert scene["count"] == len(scene["objects"]["bbox"]) <= 3
        if scene["count"]:
            # Ink on black, of strokes: bright, and far from filling its box.
            assert scene["image"].max() > 120
            assert 0.01 < (scene["image"] > 60).mean() < 0.25
        else:
            assert scene["image"].max() == 0
