"""Measures training: how well, how fast, on how many seeds, in how much memory."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from air_tf.config import RunConfig
from air_tf.data.pipeline import training_batches
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.training.run_dir import RunDir, read_json, to_json, write_json
from air_tf.training.train import train
from air_tf.training.trainer import Trainer, make_optimizer

THRESHOLDS = (0.90, 0.95, 0.975, 0.98, 0.99)
_ROUNDS, _STEPS_PER_ROUND = 9, 40


def benchmark_training(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains with every seed, one after the other, each in a process of its own.

    Resumes: seeds that `results.json` in the folder has are not trained again.

    Args:
      config: of the runs, but for the seed.
      seeds: none is left out of the result.
      output_dir: for results.json and a folder for each run.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in results.json: "machine", "config" and for each seed, in "seeds",
      its figures on test images and what `_measure` adds.

    Raises:
      InputError: if the folder holds results of another config.
    """
    folder = pathlib.Path(output_dir)
    file = folder / "results.json"
    settings = to_json(config.to_dict())
    del settings["training"]["seed"]
    results = {"machine": machine(), "config": settings, "seeds": {}}
    if file.exists():
        results = read_json(file)
        if results["config"] != settings:
            raise InputError(
                f"{file} holds results of another config; expected the same or "
                "another --output_dir"
            )
    for seed in seeds:
        if str(seed) in results["seeds"]:
            continue
        one = dataclasses.replace(
            config, training=dataclasses.replace(config.training, seed=seed)
        )
        # A fresh process: nothing compiled before, and a peak of its own.
        with concurrent.futures.ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            run = folder / f"seed-{seed}"
            future = pool.submit(_measure, one, str(run), data_dir)
            results["seeds"][str(seed)] = future.result()
        write_json(file, results)
        print(format_seeds(results), flush=True)
    return results


def _measure(config: RunConfig, model_dir: str, data_dir: str | None) -> dict[str, Any]:
    """Trains once: test figures, times, speed and the peak of memory."""
    result = train(config, model_dir, data_dir=data_dir)
    rows = RunDir(model_dir).read_metrics_csv()
    # The first epoch compiles; evaluations are between epochs' steps.
    speeds = [row["steps_per_second"] for row in rows[1:]] or [
        rows[0]["steps_per_second"]
    ]
    reached = {}
    for threshold in THRESHOLDS:
        seconds = [
            row["seconds"]
            for row in rows
            if (row["val_count_accuracy"] or 0.0) >= threshold
        ]
        reached[f"{threshold:g}"] = seconds[0] if seconds else None
    steps_per_second = statistics.median(speeds)
    return {
        **result,
        "seconds_to_count_accuracy": reached,
        "steps_per_second": steps_per_second,
        "images_per_second": steps_per_second * config.training.batch_size,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def format_seeds(results: dict[str, Any]) -> str:
    """A table of `benchmark_training`, a row for every seed."""
    header = ["seed", "count acc.", "sampled", "ELBO", "IoU", "AP 50", "seconds"]
    header += [f"s to {100 * t:g} %" for t in THRESHOLDS]
    header += ["steps/s", "images/s", "peak MB"]
    rows = [header]
    for seed, one in results["seeds"].items():
        reached = one["seconds_to_count_accuracy"].values()
        rows.append(
            [
                seed,
                _number(one["count_accuracy"], ".2%"),
                _number(one["count_accuracy_sampled"], ".2%"),
                _number(one["elbo"], ".1f"),
                _number(one["mean_iou"], ".3f"),
                _number(one["ap_50"], ".3f"),
                _number(one["training_seconds"], ".1f"),
                *(_number(seconds, ".0f") for seconds in reached),
                _number(one["steps_per_second"], ".1f"),
                _number(one["images_per_second"], ".0f"),
                _number(one["peak_memory_mb"], ".0f"),
            ]
        )
    lines = ["".join(f"{cell:>11}" for cell in row) for row in rows]
    found = [one["count_accuracy"] for one in results["seeds"].values()]
    if found and None not in found:
        lines.append(
            f"held-out count accuracy over {len(found)} seeds: mean "
            f"{statistics.mean(found):.2%}, worst {min(found):.2%}"
        )
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def benchmark_step(config: RunConfig) -> dict[str, Any]:
    """Times the training step, with and without the input pipeline.

    Images are noise: no operation's time depends on what is in them.

    Returns:
      "num_weights", the seconds of the first step ("compile_seconds"), medians
      over rounds in milliseconds ("step_ms", with the pipeline;
      "step_ms_one_batch", the same batch again and again) and "pipeline_share",
      the median over pairs of rounds of what the pipeline adds.
    """
    settings = config.training
    keras.utils.set_random_seed(settings.seed)
    policy = "mixed_bfloat16" if settings.mixed_precision else "float32"
    air = AIR(config.model, dtype=policy)
    trainer = Trainer(air, seed=settings.seed)
    trainer.compile(
        optimizer=make_optimizer(settings), jit_compile=settings.jit_compile
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20_000, *config.model.image_shape)).astype(np.uint8)
    pipeline = training_batches(
        images, batch_size=settings.batch_size, seed=0, first_step=0
    )
    one_batch = tf.data.Dataset.from_tensors(images[: settings.batch_size]).repeat()
    trainer.make_train_function()
    step = trainer.train_function
    iterators = {"pipeline": iter(pipeline), "one_batch": iter(one_batch)}

    start = time.perf_counter()
    step(iterators["pipeline"])
    compile_seconds = time.perf_counter() - start
    times = {name: [] for name in iterators}
    for _ in range(_ROUNDS):
        for name, iterator in iterators.items():
            start = time.perf_counter()
            for _ in range(_STEPS_PER_ROUND):
                logs = step(iterator)
            float(logs["elbo"])  # waits for the last step
            times[name].append((time.perf_counter() - start) / _STEPS_PER_ROUND)
    shares = [
        a / b - 1 for a, b in zip(times["pipeline"], times["one_batch"], strict=True)
    ]
    return {
        "machine": machine(),
        "num_weights": air.count_params(),
        "batch_size": settings.batch_size,
        "compile_seconds": compile_seconds,
        "step_ms": 1e3 * statistics.median(times["pipeline"]),
        "step_ms_one_batch": 1e3 * statistics.median(times["one_batch"]),
        "pipeline_share": statistics.median(shares),
        "import_seconds": _import_seconds(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _import_seconds() -> float:
    """What importing the model adds to importing TensorFlow and TFP."""
    code = (
        "import time, tensorflow, tensorflow_probability\n"
        "tensorflow_probability.distributions\n"
        "start = time.perf_counter()\n"
        "import air_tf; air_tf.AIR\n"
        "print(time.perf_counter() - start)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def format_step(result: dict[str, Any]) -> str:
    """The result of `benchmark_step` for people to read."""
    rows = [
        ("weights", f"{result['num_weights']:,}"),
        ("first step, compilation included", f"{result['compile_seconds']:.1f} s"),
        ("training step", f"{result['step_ms']:.1f} ms"),
        ("steps a second", f"{1e3 / result['step_ms']:.1f}"),
        ("images a second", f"{1e3 / result['step_ms'] * result['batch_size']:.0f}"),
        ("what the input pipeline adds", f"{result['pipeline_share']:+.1%}"),
        ("what importing air_tf adds", f"{result['import_seconds']:.2f} s"),
        ("peak memory", f"{result['peak_memory_mb']:.0f} MB"),
    ]
    return "\n".join(f"{name:<36}{value:>14}" for name, value in rows)


def machine() -> dict[str, Any]:
    """What a timing has to be read with."""
    return {
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
