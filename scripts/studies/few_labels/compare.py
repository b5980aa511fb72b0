"""Accuracy of a second task over the number of labels, with AIR and without."""

import dataclasses
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from matplotlib.figure import Figure

from air_tf.config import DataConfig, RunConfig
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.files import (
    as_read_from_json,
    make_output_dir,
    read_json,
    replacing,
    write_json,
)
from air_tf.runs import RunDir, load_images
from air_tf.structs import ImageSet
from benchmarks.processes import in_fresh_process
from benchmarks.tables import markdown_table
from studies.few_labels.config import FewLabelsConfig, differing
from studies.few_labels.methods import BASELINES, METHODS, Methods
from studies.few_labels.tasks import TASKS
from studies.seeds import train_seeds

NUM_LABELS = (64, 250, 1000, 4000, 10_000, 50_000)
_RESULTS = "few_labels.json"
# Results of earlier versions, whose methods have other names.
_OLD_RESULTS = "downstream.json"


def compare_labels(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    settings: FewLabelsConfig,
    num_labels: Sequence[int] | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains AIR without labels, and each method with different numbers of labels.

    Labelled scenes hold two digits; no digit of a test scene is in a training scene.
    Networks are trained anew for each task, number of labels and seed; fewer labelled
    scenes are a subset of more. Resumes. Writes few_labels.json, few_labels.md and
    few_labels.png, accuracy over the number of labels.

    Args:
      config: of AIR's runs; its seed is ignored.
      seeds: of AIR, of the choice of scenes, and of the networks; the result includes
        all of them. Where AIR diverges, methods that need it have accuracy 0.
      output_dir: folder for these files, and `air`, that of AIR's runs.
      settings: of the methods.
      num_labels: numbers of labelled scenes; if omitted, those of `NUM_LABELS` for
        which the dataset has enough scenes.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in few_labels.json: "dataset", "settings", and in "accuracies" those on
      test scenes by seed, method, task and number of labels.

    Raises:
      InputError: as `train_seeds`; for a dataset without scenes of two digits; for
        more labels than it has scenes; for a folder with results of other settings or
        of an earlier version.
      OutputError, ProcessKilled: as `train_seeds`.
    """
    name = config.data.dataset
    if name not in ("multi_digits", "multi_mnist"):
        raise InputError(
            f"is {name!r}; expected multi_digits or multi_mnist, whose objects are "
            "digits, without a configuration",
            field="dataset",
        )
    if config.model.max_objects < 2:
        raise InputError(
            f"is {config.model.max_objects}; expected at least 2, the digits of a "
            "labelled scene",
            field="max_objects",
        )
    folder = make_output_dir(output_dir)
    stored = as_read_from_json(settings.to_dict())
    _require_same(folder, stored)
    most = _num_labelled(name, data_dir)
    if num_labels is None:
        num_labels = [number for number in NUM_LABELS if number <= most]
    elif max(num_labels) > most:
        raise InputError(
            f"is {max(num_labels)}; expected at most {most}, the training scenes of "
            f"{name}/2",
            field="num_labels",
        )
    train_seeds(config, seeds, folder / "air", data_dir=data_dir)
    result: dict[str, Any] = {"dataset": name, "settings": stored, "accuracies": {}}
    if not (folder / _RESULTS).exists():
        write_json(folder / _RESULTS, result)  # with the settings
    for seed in seeds:
        result["accuracies"][str(seed)] = in_fresh_process(
            _measure,
            config,
            settings,
            seed,
            tuple(num_labels),
            str(folder / "air" / f"seed-{seed}"),
            data_dir,
        )
        write_json(folder / _RESULTS, result)
        with replacing(folder / "few_labels.md") as path:
            path.write_text(format_few_labels(result), encoding="utf-8")
        with replacing(folder / "few_labels.png") as path:
            _save_plot(path, result)
    return result


def format_few_labels(result: Mapping[str, Any]) -> str:
    """Markdown tables, one for each task: means over seeds, and the worst."""
    by_seed = list(result["accuracies"].values())
    parts = [f"# {result['dataset']}: accuracy over the number of labelled scenes"]
    for task in TASKS:
        numbers = list(by_seed[0]["codes"][task])
        rows = []
        for method in METHODS:
            found = [[one[method][task][n] for one in by_seed] for n in numbers]
            cells = [f"{statistics.mean(few):.1%} ({min(few):.1%})" for few in found]
            rows.append([method, *cells])
        headers = ["method", *(f"{int(number):,}" for number in numbers)]
        parts += [
            f"{task}, mean (worst) of {len(by_seed)} seeds",
            markdown_table(headers, rows),
        ]
    parts.append("\n".join(f"- {method}: {text}" for method, text in METHODS.items()))
    return "\n\n".join(parts) + "\n"


def _require_same(folder: pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Refuses a folder with results of other settings or of an earlier version."""
    if (folder / _OLD_RESULTS).exists():
        raise InputError(
            f"{folder} holds {_OLD_RESULTS} of an earlier version; expected another "
            "`output_dir`"
        )
    file = folder / _RESULTS
    if not file.exists():
        return
    found = read_json(file).get("settings", {})
    changed = differing(settings, found)
    if changed:
        raise InputError(
            f"{file} holds results of other settings, which differ in "
            f"{', '.join(changed)}; expected the same or another `output_dir`"
        )


def _measure(
    config: RunConfig,
    settings: FewLabelsConfig,
    seed: int,
    num_labels: tuple[int, ...],
    run: str,
    data_dir: str | None,
) -> dict[str, Any]:
    """Accuracies by method, task and number of labels.

    Each is stored in the run's folder at once: the run changes no more.
    """
    file = pathlib.Path(run) / _RESULTS
    known = read_json(file) if file.exists() else {}
    result: dict[str, Any] = {
        method: {task: known.get(method, {}).get(task, {}) for task in TASKS}
        for method in METHODS
    }
    missing = [
        (method, task, number)
        for method in METHODS
        for task in TASKS
        for number in num_labels
        if str(number) not in result[method][task]
    ]
    if missing:
        diverged = not (pathlib.Path(run) / "model.keras").exists()
        air = None if diverged else RunDir(run).load_air()
        methods = Methods(
            air,
            _unlabelled(config, settings.num_unlabelled, data_dir),
            **_labelled_scenes(config, data_dir),
            config=settings,
            seed=seed,
        )
        order = np.random.default_rng(seed).permutation(methods.num_train)
        for method, task, number in missing:
            accuracy = 0.0
            if method in BASELINES or not diverged:
                accuracy = methods.accuracy(method, task, order[:number])
            result[method][task][str(number)] = accuracy
            write_json(file, result)
            logging.info(
                "seed %d: %s with %d labels from %s: %.2f %%",
                seed,
                task,
                number,
                method,
                100 * accuracy,
            )
    return {
        method: {
            task: {
                str(number): result[method][task][str(number)] for number in num_labels
            }
            for task in TASKS
        }
        for method in METHODS
    }


def _num_labelled(name: str, data_dir: str | None) -> int:
    builder = sources.prepare(f"{name}/2", data_dir=data_dir)
    return builder.info.splits["train"].num_examples


def _labelled_scenes(config: RunConfig, data_dir: str | None) -> dict[str, ImageSet]:
    """The "train" and "test" scenes of two digits, with labels."""
    splits = ["train", "test"]
    data = DataConfig(dataset=f"{config.data.dataset}/2")
    scenes = load_images(
        dataclasses.replace(config, data=data),
        splits,
        data_dir=data_dir,
        with_details=splits,
    )
    # Segmentation takes as much memory as the images, and is not used.
    return {split: one._replace(segmentation=None) for split, one in scenes.items()}


def _unlabelled(config: RunConfig, most: int, data_dir: str | None) -> np.ndarray:
    """The first of AIR's training images, as a copy: the others need no memory."""
    images = load_images(config, ["train"], data_dir=data_dir)["train"].images
    return images[:most].copy()


def _save_plot(path: pathlib.Path, result: Mapping[str, Any]) -> None:
    by_seed = list(result["accuracies"].values())
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axis, task in zip(figure.subplots(1, len(TASKS)), TASKS, strict=True):
        for i, method in enumerate(METHODS):
            curves = [list(one[method][task].values()) for one in by_seed]
            numbers = [int(n) for n in by_seed[0][method][task]]
            for curve in curves:
                axis.plot(numbers, curve, f"C{i}", alpha=0.25, linewidth=1)
            axis.plot(
                numbers, np.mean(curves, axis=0), f"C{i}o-", linewidth=2, label=method
            )
        axis.set(
            xscale="log",
            ylim=(0, 1.02),
            xlabel="labelled scenes",
            ylabel="test accuracy",
            title=f"{task}: mean of {len(by_seed)} seeds, and each seed",
        )
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, format="png", dpi=100)
