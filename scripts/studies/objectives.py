"""Compares objectives: accuracy, speed, and the variance of their gradients."""

import os
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from air_tf.config import OBJECTIVES, AIR3DConfig, RunConfig
from air_tf.config.objectives import OBJECTIVES_3D
from air_tf.files import read_json, replacing, write_json
from air_tf.runs import RunDir, load_images
from air_tf.training.train import train
from benchmarks.processes import in_fresh_process
from benchmarks.tables import markdown_table, optional
from studies.gradient_variance import gradient_variance
from studies.seeds import train_seeds

_EARLY_STEPS = 300


def compare(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains with every objective and measures the variance of its gradient.

    Resumes, see `train_seeds`. Writes objectives.json, objectives.md and
    objectives.png, validation count accuracy over seconds of training.

    Args:
      config: of the runs; its seed is ignored. Its objective's settings are those of
        that objective; the others have their defaults.
      seeds: the seeds to train with each objective; the result includes all of them.
      output_dir: folder for these files, and a folder for each objective.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in objectives.json: for each objective the results of `train_seeds`, and
      in "variance" those of `gradient_variance`, at the same weights for all
      objectives: the best of the default with seed 0 after 300 training steps
      ("early") and after all ("late").

    Raises:
      InputError, OutputError, ProcessKilled: as `train_seeds`.
    """
    folder = pathlib.Path(output_dir)
    results = {}
    for objective in objectives_of(config):
        results[objective] = train_seeds(
            with_objective(config, objective),
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
        _save_curves(path, folder, seeds, config)
    return summary


def objectives_of(config: RunConfig) -> list[str]:
    """The objectives that go with the model; the first is its default."""
    in_3d = isinstance(config.model, AIR3DConfig)
    return [name for name in OBJECTIVES if (name in OBJECTIVES_3D) == in_3d]


def with_objective(config: RunConfig, name: str) -> RunConfig:
    """The config with an objective, whose settings stay if the config has it."""
    objective = config.training.objective
    if type(objective) is not OBJECTIVES[name]:
        objective = OBJECTIVES[name]()
    return config.with_training(objective=objective)


def _variances(
    config: RunConfig, folder: str, data_dir: str | None
) -> dict[str, dict[str, Any]]:
    early = pathlib.Path(folder) / "early"
    reference, *_ = names = objectives_of(config)
    short = with_objective(config, reference).with_training(steps=_EARLY_STEPS, seed=0)
    train(short, early, data_dir=data_dir)
    late = pathlib.Path(folder) / reference / "seed-0"
    images = load_images(config, ["train"], data_dir=data_dir)["train"].images
    batch = images[: config.training.batch_size]
    models = {"early": RunDir(early).load_model(), "late": RunDir(late).load_model()}
    return {
        objective: {
            name: gradient_variance(air, batch, with_objective(config, objective))
            for name, air in models.items()
        }
        for objective in names
    }


def format_objectives(summary: Mapping[str, Any]) -> str:
    """A Markdown table with a row for every objective; times are medians."""
    in_3d = "kind_enumeration" in summary
    headers = ["objective", "worst seed", "mean", "ELBO", "ms per step", "s to 95 %"]
    if in_3d:
        headers[1:3] = ["right kind, worst seed", "mean", "position error", "yaw error"]
    headers += ["s to 98 %", "s of training", "steps to 95 %", "steps to 98 %"]
    headers += ["gradient variance, early", "late", "noise to signal, early", "late"]
    rows = []
    for objective, result in summary.items():
        runs = list(result["seeds"].values())
        figure = "kind_accuracy" if in_3d else "count_accuracy"
        accuracies = [run.get(figure) or 0.0 for run in runs]
        variance = result["variance"]
        speed = _over(statistics.median, runs, "steps_per_second")
        rows.append(
            [
                _name(objective, result),
                f"{min(accuracies):.2%}",
                f"{statistics.mean(accuracies):.2%}",
                *(_poses(runs) if in_3d else []),
                optional(_over(statistics.mean, runs, "elbo"), ".1f"),
                optional(speed and 1e3 / speed, ".1f"),
                _reached(runs, "seconds_to_count_accuracy", "0.95"),
                _reached(runs, "seconds_to_count_accuracy", "0.98"),
                optional(_over(statistics.median, runs, "training_seconds"), ".0f"),
                _reached(runs, "steps_to_count_accuracy", "0.95"),
                _reached(runs, "steps_to_count_accuracy", "0.98"),
                *(f"{variance[at]['variance']:.3g}" for at in ("early", "late")),
                *(
                    optional(variance[at]["noise_to_signal"], ".2g", "all noise")
                    for at in ("early", "late")
                ),
            ]
        )
    return markdown_table(headers, rows) + "\n"


def _poses(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Position errors and yaw errors: means over seeds of their medians."""
    yaws: dict[str, list[float]] = {}
    for run in runs:
        for kind, error in (run.get("yaw_error") or {}).items():
            yaws.setdefault(kind, []).append(error)
    means = (f"{kind} {statistics.mean(found):.1f}°" for kind, found in yaws.items())
    position = _over(statistics.mean, runs, "position_error")
    return [optional(position, ".2%"), ", ".join(means)]


def _name(objective: str, result: Mapping[str, Any]) -> str:
    particles = result["config"]["training"]["objective"].get("num_particles")
    return f"`{objective}`" + (f", K = {particles}" if particles else "")


def _over(
    statistic: Callable[[list[float]], float],
    runs: Iterable[Mapping[str, Any]],
    field: str,
) -> float | None:
    """A statistic of the runs that have the metric: one that diverged has none."""
    values = [run[field] for run in runs if run.get(field) is not None]
    return statistic(values) if values else None


def _reached(runs: Sequence[Mapping[str, Any]], field: str, threshold: str) -> str:
    found = [run[field][threshold] for run in runs if run[field][threshold] is not None]
    if not found:
        return "never"
    text = f"{statistics.median(found):.0f}"
    return text if len(found) == len(runs) else f"{text} ({len(found)} of {len(runs)})"


def _save_curves(
    path: pathlib.Path, folder: pathlib.Path, seeds: Sequence[int], config: RunConfig
) -> None:
    what = "kind" if isinstance(config.model, AIR3DConfig) else "count"
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    for i, objective in enumerate(objectives_of(config)):
        runs = [
            RunDir(folder / objective / f"seed-{seed}").read_metrics_csv()
            for seed in seeds
        ]
        for rows in runs:
            axis.plot(*_curve(rows, what), f"C{i}", alpha=0.25, linewidth=1)
        # A run that diverged has fewer rows than the others.
        whole = [rows for rows in runs if len(rows) == max(map(len, runs))]
        median = np.median([_curve(rows, what) for rows in whole], axis=0)
        axis.plot(*median, f"C{i}", linewidth=2.5, label=objective)
    axis.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel="seconds of training, with compilation",
        ylabel=f"validation {what} accuracy",
        title=f"median of {len(seeds)} seeds, and each seed",
    )
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, format="png", dpi=100)


def _curve(
    rows: Sequence[Mapping[str, Any]], what: str
) -> tuple[list[float], list[float]]:
    return (
        [row["seconds"] for row in rows],
        [row[f"val_{what}_accuracy"] for row in rows],
    )
