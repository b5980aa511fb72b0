import dataclasses
import json

import numpy as np
import pytest

from air_tf.config import DataConfig, RunConfig, TrainingConfig
from air_tf.errors import InputError
from air_tf.training import benchmark


@pytest.fixture
def config(small_config, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", image=images, count=np.arange(30) % 3)
    return RunConfig(
        model=small_config,
        data=DataConfig(dataset="file", data_file=str(tmp_path / "x.npz")),
        training=TrainingConfig(
            steps=4, batch_size=4, steps_per_evaluation=2, jit_compile=False
        ),
    )


def test_every_seed_is_reported_and_none_trained_twice(config, tmp_path, monkeypatch):
    folder = tmp_path / "results"
    one = benchmark.benchmark_training(config, range(1), folder)
    assert list(one["seeds"]) == ["0"]
    figures = one["seeds"]["0"]
    assert figures["num_images"] == 3
    assert figures["peak_memory_mb"] > 100
    np.testing.assert_allclose(
        figures["images_per_second"], 4 * figures["steps_per_second"]
    )
    assert set(figures["seconds_to_count_accuracy"]) == {
        "0.9",
        "0.95",
        "0.975",
        "0.98",
        "0.99",
    }
    assert json.loads((folder / "results.json").read_text()) == one

    def fail(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(benchmark, "_measure", fail)
    assert benchmark.benchmark_training(config, range(1), folder) == one
    table = benchmark.format_seeds(one)
    assert "over 1 seeds" in table

    other = dataclasses.replace(
        config, training=dataclasses.replace(config.training, steps=5)
    )
    with pytest.raises(InputError, match="holds results of another config"):
        benchmark.benchmark_training(other, range(1), folder)


def test_step_times_and_importing_stays_light(config, monkeypatch):
    monkeypatch.setattr(benchmark, "_STEPS_PER_ROUND", 4)
    result = benchmark.benchmark_step(config)
    assert result["step_ms"] > 0 and result["num_weights"] > 0
    # Measured 0.01 s; a bound for slow machines that still shows a stray import.
    assert result["import_seconds"] < 2
    assert "training step" in benchmark.format_step(result)
