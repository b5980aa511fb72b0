"""How many labels a second task needs, from AIR's objects and without them."""

import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from air_tf.config import DataConfig, RunConfig
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.files import make_output_dir, read_json, replacing, write_json
from air_tf.runs import RunDir
from air_tf.structs import ImageSet
from studies.few_labels.methods import BASELINES, METHODS, Methods
from studies.few_labels.tasks import TASKS
from studies.seeds import in_fresh_process, train_seeds

NUM_LABELS = (64, 250, 1000, 4000, 10_000, 50_000)
# Of the images that AIR was trained on, for what else is learnt without labels: the
# search for neighbours takes time by the square.
_NUM_UNLABELLED = 40_000


def compare_labels(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    num_labels: Sequence[int] | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains AIR without labels, and every method with so many labelled scenes.

    Labelled scenes hold two digits, those of the test are never seen before. A method
    is trained for each task, number and seed anew; fewer scenes are a part of more.
    Resumes. Writes downstream.json, downstream.md and downstream.png, accuracy over the
    number of labels.

    Args:
      config: of the runs, but for the seed.
      seeds: of AIR, of the choice of scenes, and of the networks; none is left out:
        where AIR diverges, nothing that starts from it is ever right.
      output_dir: for these, and a folder for AIR's runs.
      num_labels: how many scenes have labels; those of `NUM_LABELS` that there are
        scenes for if omitted.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in downstream.json: "dataset", and in "accuracies" those on test scenes
      by seed, method, task and number of labels.

    Raises:
      InputError: as `train_seeds`, for a folder that can't be made, a dataset without
        scenes of two digits, or more labels than it has scenes.
    """
    name = config.data.dataset
    if name not in ("multi_digits", "multi_mnist"):
        raise InputError(
            f"dataset is {name!r}; expected multi_digits or multi_mnist, whose objects "
            "are digits, without a configuration"
        )
    if config.model.max_objects < 2:
        raise InputError(
            f"max_objects is {config.model.max_objects}; expected at "
            "least 2, the digits of a labelled scene"
        )
    folder = make_output_dir(output_dir)
    most = _num_labelled(name, data_dir)
    if num_labels is None:
        num_labels = [number for number in NUM_LABELS if number <= most]
    elif max(num_labels) > most:
        raise InputError(
            f"num_labels is {max(num_labels)}; expected at most {most}, the training "
            f"scenes of {name}/2"
        )
    train_seeds(config, seeds, folder / "air", data_dir=data_dir)
    result: dict[str, Any] = {"dataset": name, "accuracies": {}}
    for seed in seeds:
        result["accuracies"][str(seed)] = in_fresh_process(
            _measure,
            config,
            seed,
            tuple(num_labels),
            str(folder / "air" / f"seed-{seed}"),
            data_dir,
        )
        write_json(folder / "downstream.json", result)
        with replacing(folder / "downstream.md") as path:
            path.write_text(format_downstream(result), encoding="utf-8")
        with replacing(folder / "downstream.png") as path:
            _save_plot(path, result)
    return result


def format_downstream(result: Mapping[str, Any]) -> str:
    """Markdown tables, one for each task: means over seeds, and the worst."""
    lines = [f"# {result['dataset']}: accuracy over labelled scenes"]
    by_seed = list(result["accuracies"].values())
    for task in TASKS:
        numbers = list(by_seed[0]["codes"][task])
        lines += [
            "",
            f"{task}, mean (worst) of {len(by_seed)} seeds",
            "",
            f"| from | {' | '.join(f'{int(n):,}' for n in numbers)} |",
            f"|---|{'---|' * len(numbers)}",
        ]
        for method in METHODS:
            cells = []
            for number in numbers:
                found = [one[method][task][number] for one in by_seed]
                cells.append(f"{statistics.mean(found):.1%} ({min(found):.1%})")
            lines.append(f"| {method} | {' | '.join(cells)} |")
    lines += ["", *(f"- {method}: {start}" for method, start in METHODS.items())]
    return "\n".join(lines) + "\n"


def _measure(
    config: RunConfig,
    seed: int,
    num_labels: tuple[int, ...],
    run: str,
    data_dir: str | None,
) -> dict[str, Any]:
    """Accuracies by method, task and number of labels.

    Kept beside the run as they come, since a run does not change any more.
    """
    file = pathlib.Path(run) / "downstream.json"
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
        air = None if diverged else RunDir(run).load_model()
        methods = Methods(
            air,
            _unlabelled(config, data_dir),
            **_labelled_scenes(config, data_dir),
            seed=seed,
        )
        order = np.random.default_rng(seed).permutation(methods.num_train)
        for method, task, number in missing:
            accuracy = 0.0
            if method in BASELINES or not diverged:
                accuracy = methods.accuracy(method, task, order[:number])
            result[method][task][str(number)] = accuracy
            write_json(file, result)
            print(
                f"seed {seed}: {task} with {number} labels from {method}: "
                f"{accuracy:.2%}",
                flush=True,
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


def _labelled_scenes(config: RunConfig, data_dir) -> dict[str, ImageSet]:
    splits = ["train", "test"]
    scenes = sources.load_splits(
        DataConfig(dataset=f"{config.data.dataset}/2"),
        splits,
        image_shape=config.model.image_shape,
        data_dir=data_dir,
        with_details=splits,
    )
    # Which take as much memory as the images.
    return {split: one._replace(segmentation=None) for split, one in scenes.items()}


def _unlabelled(config: RunConfig, data_dir) -> np.ndarray:
    images = sources.load_splits(
        config.data, ["train"], image_shape=config.model.image_shape, data_dir=data_dir
    )["train"].images
    return images[:_NUM_UNLABELLED].copy()


def _save_plot(path, result: Mapping[str, Any]) -> None:
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
            title=f"{task}: mean of {len(by_seed)} seeds, and each",
        )
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, format="png", dpi=100)
