import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from air_tf.config import (
    OBJECTIVES,
    AIRConfig,
    DataConfig,
    DifferenceConfig,
    EnumerationConfig,
    IWAEConfig,
    NVILConfig,
    ReinforceConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.errors import InputError, ProcessKilled, TrainingDiverged
from air_tf.model.air import AIR
from benchmarks import processes, step_parts, step_scaling, step_speed
from studies import gradient_variance, objectives, reliability, seeds


@pytest.fixture
def config(plain_config, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", image=images, count=np.arange(30) % 3)
    return RunConfig(
        model=dataclasses.replace(plain_config, max_objects=2),
        data=DataConfig(dataset="file", data_file=str(tmp_path / "x.npz")),
        training=TrainingConfig(
            steps=4, batch_size=4, steps_per_evaluation=2, jit_compile=False
        ),
    )


def test_every_seed_is_reported_and_none_trained_twice(config, tmp_path, monkeypatch):
    folder = tmp_path / "results"
    one = seeds.train_seeds(config, range(1), folder)
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

    monkeypatch.setattr(seeds, "_measure", fail)
    assert seeds.train_seeds(config, range(1), folder) == one
    table = seeds.format_seeds(one)
    assert "over 1 seeds" in table

    summary = reliability.measure(config, range(1), folder, success=0.2)
    accuracy = figures["count_accuracy"]
    assert summary["num_seeds"] == 1
    assert summary["num_successes"] == int(accuracy >= 0.2)
    assert summary["mean_accuracy"] == summary["worst_accuracy"] == accuracy
    assert json.loads((folder / "reliability.json").read_text()) == summary
    row = _rows((folder / "reliability.md").read_text())["0"]
    assert row[:2] == [f"{accuracy:.2%}", f"{figures['count_accuracy_sampled']:.2%}"]
    # Images that are counted wrong are shown.
    assert (folder / "failures.png").exists() == (accuracy < 1)

    with pytest.raises(
        InputError, match=r"another config, which differs in steps \(there 4, here 5\)"
    ):
        seeds.train_seeds(config.with_training(steps=5), range(1), folder)


def test_results_of_an_earlier_version_are_read(tmp_path):
    """Settings were flat in version 1, and T had another name."""
    stored = {
        "machine": {},
        "config": {
            "model": {"max_steps_per_image": 2, "likelihood_scale": 0.2},
            "data": {"dataset": "sprites"},
            "training": {"steps": 7},
        },
        "seeds": {"0": {"count_accuracy": 0.5}},
    }
    (tmp_path / "results.json").write_text(json.dumps(stored))
    config = RunConfig(
        model=AIRConfig(
            max_objects=2,
            likelihood_scale=0.2,
            inference=DifferenceConfig(proposals=0),
        ),
        data=DataConfig(dataset="sprites"),
        training=TrainingConfig(steps=7),
    )
    results = seeds.train_seeds(config, [0], tmp_path)
    assert results["seeds"] == stored["seeds"]
    assert results["config"]["model"]["max_objects"] == 2
    with pytest.raises(InputError, match=r"max_objects \(there 2, here 3\)"):
        seeds.train_seeds(
            dataclasses.replace(
                config, model=dataclasses.replace(config.model, max_objects=3)
            ),
            [0],
            tmp_path,
        )


def test_a_seed_that_diverges_is_a_failure_and_not_the_end(
    config, tmp_path, monkeypatch
):
    def diverge(*args, **kwargs):
        raise TrainingDiverged("diverged by step 10")

    monkeypatch.setattr(seeds, "train", diverge)
    monkeypatch.setattr(seeds, "in_fresh_process", lambda f, *args: f(*args))
    monkeypatch.setattr(reliability, "_save_failures", lambda *args: None)
    summary = reliability.measure(config, range(2), tmp_path, success=0.5)
    assert summary["num_successes"] == 0 and summary["num_seeds"] == 2
    assert summary["seeds"]["1"]["diverged"] == "diverged by step 10"
    row = _rows((tmp_path / "reliability.md").read_text())["1"]
    assert row == ["0.00%", "0.00%", "diverged", "", "", "", "never", "never", ""]


def test_wilson_interval_of_all_successes(config, tmp_path, monkeypatch):
    """20 of 20 does not mean always: 1 / (1 + z^2 / n) at the lower end."""
    one = {
        "count_accuracy": 1.0,
        "count_accuracy_sampled": 1.0,
        "elbo": 0.0,
        "mean_iou": None,
        "ap_50": None,
        "training_seconds": 1.0,
        "seconds_to_count_accuracy": {"0.95": None, "0.98": 3.0},
    }
    results = {
        "machine": {},
        "config": {"data": {"dataset": "x"}},
        "seeds": {str(seed): one for seed in range(20)},
    }
    monkeypatch.setattr(reliability, "train_seeds", lambda *args, **kwargs: results)
    monkeypatch.setattr(reliability, "_save_failures", lambda *args: None)
    (tmp_path / "r").mkdir()
    summary = reliability.measure(config, range(20), tmp_path / "r", success=0.99)
    low, high = summary["success_interval"]
    np.testing.assert_allclose(
        [low, high], [1 / (1 + 1.959964**2 / 20), 1.0], rtol=1e-6
    )
    assert "20 of 20 seeds" in reliability.format_reliability(summary)


def test_objectives_side_by_side(config, eagerly, tmp_path, monkeypatch):
    few = {name: OBJECTIVES[name] for name in ("enumeration", "nvil")}
    monkeypatch.setattr(objectives, "OBJECTIVES", few)
    monkeypatch.setattr(objectives, "_EARLY_STEPS", 2)
    monkeypatch.setattr(gradient_variance, "_DRAWS", 3)
    monkeypatch.setattr(gradient_variance, "_NETWORK_STEPS", 3)
    for module in (seeds, objectives):
        monkeypatch.setattr(module, "in_fresh_process", lambda f, *args: f(*args))
    folder = tmp_path / "objectives"
    summary = objectives.compare(config, range(1), folder)
    assert set(summary) == {"enumeration", "nvil"}
    for result in summary.values():
        assert set(result["variance"]) == {"early", "late"}
        assert result["seeds"]["0"]["steps_per_second"] > 0
    assert json.loads((folder / "objectives.json").read_text()) == summary
    row = _rows((folder / "objectives.md").read_text())["`nvil`"]
    accuracy = summary["nvil"]["seeds"]["0"]["count_accuracy"]
    assert row[:2] == [f"{accuracy:.2%}"] * 2
    assert row[9] == f"{summary['nvil']['variance']['early']['variance']:.3g}"
    assert (folder / "objectives.png").stat().st_size > 1000


def test_objectives_keep_the_settings_that_are_given():
    given = NVILConfig(baseline_units=(7,))
    config = RunConfig(training=TrainingConfig(objective=given, steps=5))
    for name in objectives.objectives_of(config):
        cls = OBJECTIVES[name]
        one = objectives.with_objective(config, name)
        assert one.training.steps == 5
        assert one.training.objective == (given if name == "nvil" else cls())


def test_variance_of_a_gradient(small_config, images):
    """Of a sure count, enumeration and reinforce vary alike; unsure, they do not."""
    air = AIR(dataclasses.replace(small_config, likelihood_scale=0.6))
    bias = air.attend.search._cells._mlp._output.bias
    found = {}
    for logit in (-30.0, 0.5):
        bias.assign([logit, *bias.numpy()[1:]])
        for objective in (EnumerationConfig(), ReinforceConfig()):
            settings = RunConfig(training=TrainingConfig(objective=objective))
            found[type(objective), logit] = gradient_variance.gradient_variance(
                air, images, settings
            )["variance"]
    assert max(found[ReinforceConfig, -30.0], found[EnumerationConfig, -30.0]) < 1e-9
    assert found[ReinforceConfig, 0.5] > 3 * found[EnumerationConfig, 0.5] > 0.0


def test_variance_of_the_objectives_with_networks_and_particles(
    small_config, images, monkeypatch
):
    """A baseline lowers the variance, and particles do; the model is not changed."""
    monkeypatch.setattr(gradient_variance, "_NETWORK_STEPS", 20)
    air = AIR(dataclasses.replace(small_config, likelihood_scale=0.6))
    before = air.get_weights()
    found = {}
    for objective in (ReinforceConfig(), NVILConfig(), IWAEConfig(num_particles=3)):
        # The canvas of the config is not that of the model, as for prepared datasets.
        config = RunConfig(training=TrainingConfig(objective=objective))
        result = gradient_variance.gradient_variance(air, images, config)
        found[type(objective)] = result["variance"]
    assert found[NVILConfig] < 0.5 * found[ReinforceConfig]
    assert found[IWAEConfig] < 0.5 * found[ReinforceConfig]
    for one, other in zip(before, air.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_step_times_and_importing_stays_light(config, monkeypatch):
    monkeypatch.setattr(step_speed, "_CALLS_PER_ROUND", 2)
    monkeypatch.setattr(step_parts, "_CALLS", 2)
    result = step_speed.benchmark_step(config)
    for part in ("forward_ms", "gradient_ms", "update_ms", "products_gflop_s"):
        assert result[part] > 0
    # The products of patches and first layer alone, in each step's 4 cells.
    cells = 2 * config.training.batch_size * 4 * 14**2
    cells *= config.model.inference.look_units[0]
    assert result["gflop"] * 1e9 > config.model.max_objects * cells
    assert result["step_ms"] > 0 and result["num_weights"] > 0
    # Measured 0.01 s; a bound for slow machines that still shows a stray import.
    assert result["import_seconds"] < 2
    rows = _rows(step_speed.format_step(result))
    assert rows["training step"] == [f"{result['step_ms']:.1f} ms"]
    for gpus, shown in (
        ([], f"{result['machine']['cpus']} CPUs"),
        (["A", "B"], "A, B"),
    ):
        one = {**result, "machine": {**result["machine"], "gpus": gpus}}
        assert _rows(step_speed.format_step(one))["machine"][0].startswith(shown)


def test_scaling_measures_every_canvas_and_number_of_steps(config, monkeypatch):
    def time_steps(one):
        area = one.model.image_shape[0] * one.model.image_shape[1]
        times = area * one.model.max_objects / 100
        return {"step_ms": times, "step_memory_mb": 7.0, "compile_seconds": 1.0}

    monkeypatch.setattr(step_scaling, "in_fresh_process", lambda f, one: f(one))
    monkeypatch.setattr(step_scaling, "time_steps", time_steps)
    result = step_scaling.benchmark_scaling(config)
    found = {
        (one["image_shape"], one["max_objects"]): one["step_ms"]
        for one in result["measurements"]
    }
    assert found[(100, 100, 1), 2] == 200.0
    assert [found[config.model.image_shape, steps] for steps in (1, 8)] == [2.56, 20.48]
    assert len(found) == len(result["measurements"])
    lines = step_scaling.format_scaling(result).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert ["100 x 100", "2", "200.0", "7", "1.0"] in cells


def _rows(table):
    """Cells of a Markdown table by the first cell of their row."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {first: others for first, *others in cells}


def test_a_killed_process_is_no_input_error():
    with pytest.raises(ProcessKilled, match="killed, possibly for lack of memory"):
        processes.in_fresh_process(os._exit, 1)


def test_an_error_in_a_process_keeps_its_field():
    # Of a module that needs no TensorFlow, for which the process would have to wait.
    refused = functools.partial(TrainingConfig, steps=-3)
    with pytest.raises(InputError, match=r"^steps is -3; expected") as caught:
        processes.in_fresh_process(refused)
    assert caught.value.field == "steps"


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/task").exists(), reason="no /proc to see processes in"
)
def test_a_training_ends_with_what_started_it(tmp_path):
    code = (
        "import time\n"
        "from benchmarks.processes import in_fresh_process\n"
        "if __name__ == '__main__':\n"
        "    in_fresh_process(time.sleep, 600)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    parent = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(seeds.__file__).parents[1])},
    )
    children = pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        found = _wait_for(lambda: _sleeping(children), 60)
    finally:
        parent.kill()
    parent.wait()
    _wait_for(lambda: not any(map(_runs, found)), 60)


def _sleeping(children):
    """Processes that wait for their work to end: all that the pool has started."""
    numbers = children.read_text().split()
    return numbers if len(numbers) > 1 else None


def _runs(number):
    try:
        status = pathlib.Path(f"/proc/{number}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # ended, but nobody looked


def _wait_for(found, seconds):
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return result
