"""The share of seeds on which training succeeds, and the images counted wrong."""

import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from air_tf.config import RunConfig
from air_tf.files import replacing, write_json
from air_tf.images import batches
from air_tf.inference.explain import explain
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.runs import RunDir, load_images
from air_tf.structs import Explanation
from air_tf.visualization import pictures
from benchmarks.tables import markdown_table, optional
from studies.seeds import train_seeds

_MAX_FAILURES, _FAILURES_PER_SEED, _BATCH = 40, 8, 250


def measure(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    success: float,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains with every seed and counts those that succeed.

    Resumes, see `train_seeds`. Writes reliability.json, reliability.md and, if there
    are any, failures.png: test images counted wrong, those of the worst seed first.

    Args:
      config: of the runs; its seed is ignored.
      seeds: the seeds to train; the result includes all of them.
      output_dir: folder for these files, results.json and the folder of each run.
      success: a seed succeeds if its count accuracy on test images is at least this.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in reliability.json: "machine", "config", "success_accuracy",
      "num_seeds", "num_successes", "success_interval" (Wilson 1927, 95 %),
      "mean_accuracy", "worst_accuracy" and "seeds", as in results.json.

    Raises:
      InputError, OutputError, ProcessKilled: as `train_seeds`.
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


def format_reliability(summary: Mapping[str, Any]) -> str:
    """A Markdown table with a row for every seed, and a summary."""
    headers = ["seed", "count accuracy", "sampled", "ELBO", "mean IoU", "AP at 0.5"]
    headers += ["foreground ARI"]
    in_3d = any(
        one.get("kind_accuracy") is not None for one in summary["seeds"].values()
    )
    headers += ["right kind", "position error", "yaw error"] if in_3d else []
    headers += ["s to 95 %", "s to 98 %", "s of training"]
    rows = [
        [
            seed,
            f"{one['count_accuracy']:.2%}",
            f"{one['count_accuracy_sampled']:.2%}",
            optional(one["elbo"], ".1f", "diverged"),
            optional(one["mean_iou"], ".3f"),
            optional(one["ap_50"], ".3f"),
            optional(one.get("foreground_ari"), ".3f"),
            *(_figures_3d(one) if in_3d else []),
            optional(one["seconds_to_count_accuracy"]["0.95"], ".0f", "never"),
            optional(one["seconds_to_count_accuracy"]["0.98"], ".0f", "never"),
            optional(one["training_seconds"], ".0f"),
        ]
        for seed, one in summary["seeds"].items()
    ]
    low, high = summary["success_interval"]
    return (
        f"# {summary['config']['data']['dataset']}, {summary['num_seeds']} seeds\n\n"
        f"{markdown_table(headers, rows)}\n\n"
        f"{summary['num_successes']} of {summary['num_seeds']} seeds reach a count "
        f"accuracy of {summary['success_accuracy']:.1%} on test images (95 % Wilson "
        f"interval of the success rate: {low:.1%} to {high:.1%}). Mean "
        f"{summary['mean_accuracy']:.2%}, worst {summary['worst_accuracy']:.2%}.\n"
    )


def _figures_3d(one: Mapping[str, Any]) -> list[str]:
    """Objects found with their kind, and the medians of position and yaw errors."""
    yaws = (one.get("yaw_error") or {}).items()
    return [
        optional(one.get("kind_accuracy"), ".2%"),
        optional(one.get("position_error"), ".2%"),
        ", ".join(f"{kind} {error:.1f}°" for kind, error in yaws),
    ]


def _save_failures(
    config: RunConfig,
    results: Mapping[str, Mapping[str, Any]],
    folder: pathlib.Path,
    data_dir: str | None,
) -> None:
    """Pictures of test images that runs count wrong, those of the worst seed first."""
    test = load_images(config, ["test"], data_dir=data_dir)["test"]
    images, scenes, counts, names = [], [], [], []
    ended = [seed for seed, one in results.items() if one["elbo"] is not None]
    for seed in sorted(ended, key=lambda seed: results[seed]["count_accuracy"]):
        share = 1.0 - results[seed]["count_accuracy"]
        number = min(_FAILURES_PER_SEED, round(share * len(test.images)))
        if number:
            air = RunDir(folder / f"seed-{seed}").load_model()
            wrong = _first_wrong(air, test.images, test.counts, number)
            # None, if results of an earlier version were resumed.
            if len(wrong):
                images.append(test.images[wrong])
                scenes.append(explain(air, test.images[wrong]))
                counts.append(test.counts[wrong])
                names += [f"seed {seed}"] * len(wrong)
        if len(names) > _MAX_FAILURES - _FAILURES_PER_SEED:
            break
    if names:
        with replacing(folder / "failures.png") as path:
            pictures.save_reconstructions(
                path,
                np.concatenate(images),
                Explanation(*map(np.concatenate, zip(*scenes, strict=True))),
                np.concatenate(counts),
                names,
            )


def _first_wrong(
    air: AIR | AIR3D, images: np.ndarray, counts: np.ndarray, number: int
) -> np.ndarray:
    """Numbers of the first images, [N, H, W, C], that are counted wrong."""
    wrong: list[int] = []
    for part, some in batches(images, _BATCH):
        found = air.infer(some, batch_size=_BATCH).num_objects
        wrong += (part.start + np.flatnonzero(found != counts[part])).tolist()
        # All images need not be inferred, which can take longer than the training.
        if len(wrong) >= number:
            break
    return np.array(wrong[:number], int)
