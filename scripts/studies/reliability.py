"""On how many seeds training succeeds, and what the failures look like."""

import os
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from air_tf.config import RunConfig
from air_tf.data import sources
from air_tf.files import replacing, write_json
from air_tf.runs import RunDir
from air_tf.structs import Scenes
from air_tf.visualization import pictures
from studies.seeds import train_seeds

_MAX_FAILURES, _FAILURES_PER_SEED = 40, 8


def measure_reliability(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    success: float,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains with every seed and says how many succeed.

    Resumes, see `train_seeds`. Writes reliability.json, reliability.md and,
    if there are any, failures.png: test images counted wrong, the worst seed's first.

    Args:
      config: of the runs, but for the seed.
      seeds: none is left out of the result.
      output_dir: for these, results.json and a folder for each run.
      success: the count accuracy on test images from which on a seed succeeds.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in reliability.json: "machine", "config", "success_accuracy",
      "num_seeds", "num_successes", "success_interval" (Wilson 1927, 95 %),
      "mean_accuracy", "worst_accuracy" and "seeds", as in results.json.

    Raises:
      InputError: as `train_seeds`.
    """
    folder = pathlib.Path(output_dir)
    results = train_seeds(config, seeds, folder, data_dir=data_dir)
    chosen = {str(seed): results["seeds"][str(seed)] for seed in seeds}
    accuracies = [one["count_accuracy"] for one in chosen.values()]
    successes = sum(accuracy >= success for accuracy in accuracies)
    interval = binomtest(successes, len(accuracies)).proportion_ci(method="wilson")
    summary = {
        "machine": results["machine"],
        "config": results["config"],
        "success_accuracy": success,
        "num_seeds": len(accuracies),
        "num_successes": successes,
        "success_interval": [float(interval.low), float(interval.high)],
        "mean_accuracy": statistics.mean(accuracies),
        "worst_accuracy": min(accuracies),
        "seeds": chosen,
    }
    write_json(folder / "reliability.json", summary)
    with replacing(folder / "reliability.md") as path:
        path.write_text(format_reliability(summary), encoding="utf-8")
    _save_failures(config, chosen, folder, data_dir)
    return summary


def format_reliability(summary: dict[str, Any]) -> str:
    """A markdown table with a row for every seed, and what they come to."""

    def seconds(one, threshold):
        value = one["seconds_to_count_accuracy"][threshold]
        return "never" if value is None else f"{value:.0f}"

    lines = [
        f"# {summary['config']['data']['dataset']}, {summary['num_seeds']} seeds",
        "",
        "| seed | count accuracy | sampled | ELBO | mean IoU | AP at 0.5 | "
        "s to 95 % | to 98 % | of training |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for seed, one in summary["seeds"].items():
        boxes = [
            "" if one[name] is None else f"{one[name]:.3f}"
            for name in ("mean_iou", "ap_50")
        ]
        cells = [
            seed,
            f"{one['count_accuracy']:.2%}",
            f"{one['count_accuracy_sampled']:.2%}",
            "diverged" if one["elbo"] is None else f"{one['elbo']:.1f}",
            *boxes,
            seconds(one, "0.95"),
            seconds(one, "0.98"),
            "" if one["training_seconds"] is None else f"{one['training_seconds']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    low, high = summary["success_interval"]
    lines += [
        "",
        f"{summary['num_successes']} of {summary['num_seeds']} seeds reach "
        f"{summary['success_accuracy']:.1%} of held-out counts (95 % Wilson interval "
        f"of the success rate: {low:.1%} to {high:.1%}). Mean "
        f"{summary['mean_accuracy']:.2%}, worst {summary['worst_accuracy']:.2%}.",
    ]
    return "\n".join(lines) + "\n"


def _save_failures(config, results, folder: pathlib.Path, data_dir) -> None:
    """Test images that runs count wrong, if there are any: the worst seed's first."""
    test = sources.load_splits(
        config.data, ["test"], image_shape=config.model.image_shape, data_dir=data_dir
    )["test"]
    images, scenes, counts, names = [], [], [], []
    ended = [seed for seed, one in results.items() if one["elbo"] is not None]
    for seed in sorted(ended, key=lambda seed: results[seed]["count_accuracy"]):
        air = RunDir(folder / f"seed-{seed}").load_model()
        found = air.infer(test.images, batch_size=250).num_objects
        wrong = np.flatnonzero(found != test.counts)[:_FAILURES_PER_SEED]
        if len(wrong):
            images.append(test.images[wrong])
            scenes.append(air.infer(test.images[wrong]))
            counts.append(test.counts[wrong])
            names += [f"seed {seed}"] * len(wrong)
        if len(names) > _MAX_FAILURES - _FAILURES_PER_SEED:
            break
    if names:
        with replacing(folder / "failures.png") as path:
            pictures.save_reconstructions(
                path,
                np.concatenate(images),
                Scenes(*map(np.concatenate, zip(*scenes, strict=True))),
                np.concatenate(counts),
                names,
            )
