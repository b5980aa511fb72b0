"""Scenes that Beam composes are those that one process composes, in the same order."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from air_tf.data.multi_digits import Builder
from air_tf.data.scene_builder import SceneBuilderConfig
from air_tf.data.scene_config import SceneConfig
from air_tf.data.tabletop import Builder as Tabletop

pytest.importorskip("apache_beam")
from air_tf.data.beam_scenes import _Compose
from air_tf.deployment.beam.options import pipeline_options
from air_tf.errors import InputError

_CONFIG = SceneBuilderConfig(
    name="few",
    scenes=SceneConfig(counts=(0, 1, 2, 3), seed=3),
    num_scenes={"train": 40, "validation": 3, "test": 8},
)


def _prepared(folder, *arguments, beam=True):
    """The decoded examples of each split, of three shards."""
    builder = Builder(config=_CONFIG, data_dir=folder)
    options = pipeline_options("DirectRunner", arguments, field="beam_runner")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            compute_stats=tfds.download.ComputeStatsMode.SKIP,
            num_shards=3,
            beam_options=options if beam else None,
        )
    )
    assert builder.info.splits["train"].num_shards == 3
    return {
        split: list(tfds.as_numpy(builder.as_dataset(split=split)))
        for split in _CONFIG.num_scenes
    }


def _leaves(example):
    for name, value in sorted(example.items()):
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield name, value


def test_the_same_examples_in_the_same_order(tmp_path, monkeypatch):
    """By one process without Beam, by one worker and by two."""
    monkeypatch.setattr(Builder, "CHUNK", 7)
    wanted = _prepared(tmp_path / "plain", beam=False)
    assert {split: len(examples) for split, examples in wanted.items()} == dict(
        _CONFIG.num_scenes
    )
    assert len({example["count"] for example in wanted["train"]}) == 4
    two = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
    for name, arguments in (("one", ()), ("two", two)):
        found = _prepared(tmp_path / name, *arguments)
        for split, examples in wanted.items():
            for one, other in zip(found[split], examples, strict=True):
                for (key, value), (_, same) in zip(
                    _leaves(one), _leaves(other), strict=True
                ):
                    np.testing.assert_array_equal(value, same, err_msg=key)


def test_a_worker_with_another_renderer_is_refused(tmp_path):
    builder = Tabletop(data_dir=tmp_path)
    builder.info.metadata["renderer"] = "another"
    with pytest.raises(InputError, match="renderer': 'another'"):
        _Compose(builder, "train").setup()
