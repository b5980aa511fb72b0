"""Trains with several seeds, each in a process of its own."""

import concurrent.futures
import concurrent.futures.process
import dataclasses
import multiprocessing
import os
import pathlib
import resource
import statistics
import threading
from collections.abc import Callable, Sequence
from typing import Any

from air_tf.config import RunConfig
from air_tf.errors import InputError, TrainingDiverged
from air_tf.files import as_read_from_json, read_json, write_json
from air_tf.runs import RunDir, differing_settings
from air_tf.training.train import train
from benchmarks.machine import machine

THRESHOLDS = (0.90, 0.95, 0.975, 0.98, 0.99)
# Of `train`, what tables show.
_FIGURES = ("elbo", "mean_iou", "ap_50", "training_seconds")


def train_seeds(
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
      InputError: if the folder holds results of another config or can't be used, or
        the dataset has no counts.
    """
    folder = pathlib.Path(output_dir)
    file = folder / "results.json"
    settings = as_read_from_json(config.to_dict())
    del settings["training"]["seed"]
    results = {"machine": machine(), "config": settings, "seeds": {}}
    if file.exists():
        results = read_json(file)
        differing = differing_settings(settings, results["config"])
        if differing:
            raise InputError(
                f"{file} holds results of another config, which differs in "
                f"{', '.join(differing)}; expected the same or another --output_dir"
            )
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(file, results)
        except OSError as error:
            raise InputError(f"output_dir {folder} can't be used ({error})") from None
    for seed in seeds:
        if str(seed) in results["seeds"]:
            continue
        one = dataclasses.replace(
            config, training=dataclasses.replace(config.training, seed=seed)
        )
        run = str(folder / f"seed-{seed}")
        result = in_fresh_process(_measure, one, run, data_dir)
        if result["count_accuracy"] is None:
            raise InputError(
                f"{config.data.dataset} has no counts, so no seed can succeed; "
                "expected a dataset with counts"
            )
        results["seeds"][str(seed)] = result
        write_json(file, results)
        print(format_seeds(results), flush=True)
    return results


def in_fresh_process(function: Callable, *args) -> Any:
    """Calls it where nothing was compiled before, and with a peak of memory of its own.

    Raises:
      InputError: if the process dies; or what `function` raises.
    """
    with concurrent.futures.ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    ) as pool:
        try:
            return pool.submit(function, *args).result()
        except concurrent.futures.process.BrokenProcessPool:
            raise InputError(
                "a process was killed, perhaps for want of memory; where there is an "
                "--output_dir, what ended before is kept"
            ) from None


def _end_with_parent() -> None:
    """Whoever kills a benchmark wants its training to end, too."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _measure(config: RunConfig, model_dir: str, data_dir: str | None) -> dict[str, Any]:
    """Trains once: test figures, times, speed and the peak of memory.

    A training that diverges is a failure, not the end: its figures are None, and its
    accuracy is 0.
    """
    try:
        result = train(config, model_dir, data_dir=data_dir)
    except TrainingDiverged as error:
        result = dict.fromkeys(_FIGURES) | {
            "count_accuracy": 0.0,
            "count_accuracy_sampled": 0.0,
            "diverged": str(error),
        }
    rows = RunDir(model_dir).read_metrics_csv()
    # The first epoch compiles; evaluations are between epochs' steps.
    speeds = [row["steps_per_second"] for row in rows[1:] or rows]
    speed = statistics.median(speeds) if speeds else None
    return {
        **result,
        "seconds_to_count_accuracy": _reached(rows, "seconds"),
        "steps_to_count_accuracy": _reached(rows, "step"),
        "steps_per_second": speed,
        "images_per_second": speed and speed * config.training.batch_size,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _reached(rows, unit: str) -> dict[str, float | None]:
    """For each threshold, when held-out accuracy first was at it or above."""
    reached = {}
    for threshold in THRESHOLDS:
        found = (
            row[unit] for row in rows if (row["val_count_accuracy"] or 0.0) >= threshold
        )
        reached[f"{threshold:g}"] = next(found, None)
    return reached


def format_seeds(results: dict[str, Any]) -> str:
    """A table of `train_seeds`, a row for every seed."""
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
    if found:
        lines.append(
            f"held-out count accuracy over {len(found)} seeds: mean "
            f"{statistics.mean(found):.2%}, worst {min(found):.2%}"
        )
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
