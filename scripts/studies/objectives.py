"""Objectives side by side: how well and fast they train, how much they vary."""

import dataclasses
import os
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from air_tf.config import OBJECTIVES, RunConfig, TrainingConfig
from air_tf.data import sources
from air_tf.files import read_json, replacing, write_json
from air_tf.runs import RunDir
from air_tf.training.train import train
from studies.gradient_variance import gradient_variance
from studies.seeds import in_fresh_process, train_seeds

_EARLY_STEPS = 300


def compare_objectives(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains with every objective and measures the variance of its gradient.

    Resumes, see `train_seeds`. Writes objectives.json, objectives.md and
    objectives.png, held-out count accuracy over seconds of training.

    Args:
      config: of the runs, but for objective and seed.
      seeds: for each objective; none is left out of the result.
      output_dir: for these, and a folder for each objective.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in objectives.json: for each objective the results of `train_seeds`,
      and "variance", see `gradient_variance`, at the same weights for all: the best
      of a run of `enumeration` with seed 0 over 300 steps ("early") and over all
      ("late").
    """
    folder = pathlib.Path(output_dir)
    results = {}
    for objective in OBJECTIVES:
        results[objective] = train_seeds(
            _with_training(config, objective=objective),
            seeds,
            folder / objective,
            data_dir=data_dir,
        )
    variance_file = folder / "variance.json"
    if not variance_file.exists():
        found = in_fresh_process(_variances, config, str(folder), data_dir)
        write_json(variance_file, found)
    variances = read_json(variance_file)
    summary = {
        objective: {**result, "variance": variances[objective]}
        for objective, result in results.items()
    }
    write_json(folder / "objectives.json", summary)
    with replacing(folder / "objectives.md") as path:
        path.write_text(format_objectives(summary), encoding="utf-8")
    with replacing(folder / "objectives.png") as path:
        _save_curves(path, folder, seeds)
    return summary


def _with_training(config: RunConfig, **changes) -> RunConfig:
    training = dataclasses.replace(config.training, **changes)
    return dataclasses.replace(config, training=training)


def _variances(config: RunConfig, folder: str, data_dir) -> dict[str, Any]:
    early = pathlib.Path(folder) / "early"
    short = _with_training(config, objective="enumeration", steps=_EARLY_STEPS, seed=0)
    train(short, early, data_dir=data_dir)
    late = pathlib.Path(folder) / "enumeration" / "seed-0"
    images = sources.load_splits(
        config.data, ["train"], image_shape=config.model.image_shape, data_dir=data_dir
    )["train"].images[: config.training.batch_size]
    models = {"early": RunDir(early).load_model(), "late": RunDir(late).load_model()}
    return {
        objective: {
            name: gradient_variance(
                air, images, _with_training(config, objective=objective)
            )
            for name, air in models.items()
        }
        for objective in OBJECTIVES
    }


def format_objectives(summary: dict[str, Any]) -> str:
    """A markdown table with a row for every objective; times are medians."""
    lines = [
        "| objective | worst seed | mean | ELBO | ms per step | s to 95 % | s to 98 % "
        "| s of training | steps to 95 % | steps to 98 % | gradient variance, early | "
        "late | noise to signal, early | late |",
        "|---|" + "---|" * 13,
    ]
    for objective, result in summary.items():
        runs = list(result["seeds"].values())
        accuracies = [run["count_accuracy"] for run in runs]
        variance = result["variance"]
        speed = _over(statistics.median, runs, "steps_per_second")
        cells = [
            _name(objective, result),
            f"{min(accuracies):.2%}",
            f"{statistics.mean(accuracies):.2%}",
            _number(_over(statistics.mean, runs, "elbo"), ".1f"),
            _number(speed and 1e3 / speed, ".1f"),
            _reached(runs, "seconds_to_count_accuracy", "0.95"),
            _reached(runs, "seconds_to_count_accuracy", "0.98"),
            _number(_over(statistics.median, runs, "training_seconds"), ".0f"),
            _reached(runs, "steps_to_count_accuracy", "0.95"),
            _reached(runs, "steps_to_count_accuracy", "0.98"),
            *(f"{variance[name]['variance']:.3g}" for name in ("early", "late")),
            *(_ratio(variance[name]["noise_to_signal"]) for name in ("early", "late")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _name(objective: str, result) -> str:
    particles = TrainingConfig(
        objective=objective,
        num_particles=result["config"]["training"]["num_particles"],
    ).samples_per_image
    return f"`{objective}`" + (f", K = {particles}" if particles > 1 else "")


def _over(statistic, runs, field: str) -> float | None:
    """Of the runs that have the figure: one that diverged has none."""
    values = [run[field] for run in runs if run[field] is not None]
    return statistic(values) if values else None


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _reached(runs, field: str, threshold: str) -> str:
    found = [run[field][threshold] for run in runs if run[field][threshold] is not None]
    if not found:
        return "never"
    text = f"{statistics.median(found):.0f}"
    return text if len(found) == len(runs) else f"{text} ({len(found)} of {len(runs)})"


def _ratio(value: float | None) -> str:
    return "all noise" if value is None else f"{value:.2g}"


def _save_curves(path, folder: pathlib.Path, seeds: Sequence[int]) -> None:
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    for i, objective in enumerate(OBJECTIVES):
        runs = [
            RunDir(folder / objective / f"seed-{seed}").read_metrics_csv()
            for seed in seeds
        ]
        for rows in runs:
            axis.plot(*_curve(rows), f"C{i}", alpha=0.25, linewidth=1)
        # Epochs are the same for all seeds but those that diverged.
        whole = [rows for rows in runs if len(rows) == max(map(len, runs))]
        median = np.median([_curve(rows) for rows in whole], axis=0)
        axis.plot(*median, f"C{i}", linewidth=2.5, label=objective)
    axis.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel="seconds of training, compilation included",
        ylabel="held-out count accuracy",
        title=f"Medians of {len(seeds)} seeds, and each seed",
    )
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, format="png", dpi=100)


def _curve(rows) -> tuple[list[float], list[float]]:
    return (
        [row["seconds"] for row in rows],
        [row["val_count_accuracy"] for row in rows],
    )
