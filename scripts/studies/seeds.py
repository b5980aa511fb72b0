"""Trains with several seeds, each in a process of its own."""

import os
import resource
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from air_tf.config import RunConfig, differing_settings
from air_tf.errors import InputError, TrainingDiverged
from air_tf.files import (
    as_read_from_json,
    make_output_dir,
    read_json,
    reading_stored,
    write_json,
)
from air_tf.runs import RunDir
from air_tf.training.train import train
from benchmarks.machine import machine
from benchmarks.processes import in_fresh_process
from benchmarks.tables import markdown_table, optional

THRESHOLDS = (0.90, 0.95, 0.975, 0.98, 0.99)
# Results of `train` that are None where a training diverged.
_FIGURES = ("elbo", "mean_iou", "ap_50", "training_seconds")


def train_seeds(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains with every seed, one after the other, each in a process of its own.

    Resumes: a seed whose results are in the folder's `results.json` is not trained
    again. Results of earlier versions are read as well.

    Args:
      config: of the runs; its seed is ignored.
      seeds: the seeds to train.
      output_dir: folder for results.json and `seed-N`, the folder of each run.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in results.json: "machine"; "config", without the seed; and in "seeds",
      by seed, the test metrics of `train` and what `_measure` adds.

    Raises:
      InputError: if the folder holds results of other settings or can't be made, or
        the dataset has no counts.
      OutputError: if results can't be written.
      ProcessKilled: if a training is killed.
    """
    folder = make_output_dir(output_dir)
    file = folder / "results.json"
    settings = _without_seed(config)
    results: dict[str, Any] = {"machine": machine(), "config": settings, "seeds": {}}
    if file.exists():
        results = read_json(file)
        stored = results["config"]
        stored["training"].setdefault("seed", 0)  # which results leave out
        with reading_stored(file):
            found = _without_seed(RunConfig.from_dict(stored))
        differing = differing_settings(settings, found)
        if differing:
            raise InputError(
                f"{file} holds results of another config, which differs in "
                f"{', '.join(differing)}; expected the same or another `output_dir`"
            )
        results["config"] = found
    else:
        write_json(file, results)
    for seed in seeds:
        if str(seed) in results["seeds"]:
            continue
        run = str(folder / f"seed-{seed}")
        one = config.with_training(seed=seed)
        result = in_fresh_process(_measure, one, run, data_dir)
        if result["count_accuracy"] is None:
            raise InputError(
                f"{config.data.dataset} has no counts; expected a dataset with counts"
            )
        results["seeds"][str(seed)] = result
        write_json(file, results)
        logging.info("%s", format_seeds(results))
    return results


def _without_seed(config: RunConfig) -> dict[str, Any]:
    settings = as_read_from_json(config.to_dict())
    del settings["training"]["seed"]
    return settings


def _measure(config: RunConfig, model_dir: str, data_dir: str | None) -> dict[str, Any]:
    """Trains once: test metrics, times, speed and the peak of memory.

    Of a training that diverges, accuracies are 0, the other metrics None, and
    "diverged" is the error.
    """
    try:
        result = train(config, model_dir, data_dir=data_dir).to_dict()
    except TrainingDiverged as error:
        result = dict.fromkeys(_FIGURES) | {
            "count_accuracy": 0.0,
            "count_accuracy_sampled": 0.0,
            "diverged": str(error),
        }
    rows = RunDir(model_dir).read_metrics_csv()
    # The first epoch includes compilation; none includes evaluation.
    found = [row["steps_per_second"] for row in rows[1:] or rows]
    speeds = [value for value in found if value is not None]
    speed = statistics.median(speeds) if speeds else None
    return {
        **result,
        "seconds_to_count_accuracy": _reached(rows, "seconds"),
        "steps_to_count_accuracy": _reached(rows, "step"),
        "steps_per_second": speed,
        "images_per_second": speed and speed * config.training.batch_size,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _reached(
    rows: Sequence[Mapping[str, float | None]], unit: str
) -> dict[str, float | None]:
    """For each threshold, when validation accuracy first was at least that."""
    reached = {}
    for threshold in THRESHOLDS:
        found = (
            row[unit] for row in rows if (row["val_count_accuracy"] or 0.0) >= threshold
        )
        reached[f"{threshold:g}"] = next(found, None)
    return reached


def format_seeds(results: Mapping[str, Any]) -> str:
    """A Markdown table of what `train_seeds` returned, with a row for every seed."""
    headers = ["seed", "count acc.", "sampled", "ELBO", "IoU", "AP 50", "seconds"]
    headers += [f"s to {100 * t:g} %" for t in THRESHOLDS]
    headers += ["steps/s", "images/s", "peak MB"]
    formats = {
        "count_accuracy": ".2%",
        "count_accuracy_sampled": ".2%",
        "elbo": ".1f",
        "mean_iou": ".3f",
        "ap_50": ".3f",
        "training_seconds": ".1f",
    }
    speeds = {"steps_per_second": ".1f", "images_per_second": ".0f"}
    speeds["peak_memory_mb"] = ".0f"
    rows = [
        [
            seed,
            *(optional(one[name], form, "-") for name, form in formats.items()),
            *(
                optional(seconds, ".0f", "-")
                for seconds in one["seconds_to_count_accuracy"].values()
            ),
            *(optional(one[name], form, "-") for name, form in speeds.items()),
        ]
        for seed, one in results["seeds"].items()
    ]
    found = [one["count_accuracy"] for one in results["seeds"].values()]
    mean, worst = statistics.mean(found), min(found)
    return (
        f"{markdown_table(headers, rows)}\n\nTest count accuracy over {len(found)} "
        f"seeds: mean {mean:.2%}, worst {worst:.2%}."
    )
