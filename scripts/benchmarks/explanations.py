"""Measures what explaining images again changes, and what it costs."""

import dataclasses
import time
from typing import Any

import numpy as np

from air_tf.config import DataConfig
from air_tf.errors import InputError
from air_tf.evaluation import metrics
from air_tf.images import batches
from air_tf.runs import RunDir, load_images
from benchmarks.tables import markdown_table

_NUMBERS = (0, 1, 2, 4, 8)
_BATCH_SIZE = 250


def benchmark_explanations(
    run: RunDir,
    *,
    dataset: str | None = None,
    max_objects: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Infers test images with several numbers of proposals.

    The numbers take turns in batches, so that other load on the machine affects all.

    Args:
      run: the run.
      dataset: whose test images are used; that of the run if omitted.
      max_objects: T; that of training if omitted.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      "dataset", "num_images", and "proposals": for every number, "count_accuracy";
      "calibration_error" of the count; "examined", the share of images that are
      explained again; "attend_steps" and "ms", for an image.

    Raises:
      InputError: for a run without proposals, or images without counts.
    """
    air = run.load_air()
    most = air.config.num_proposals()
    if not most:
        raise InputError(f"{run.path} has no proposals", field="model_dir")
    config = run.read_config()
    if dataset is not None:
        config = dataclasses.replace(config, data=DataConfig(dataset=dataset))
    test = load_images(config, ["test"], data_dir=data_dir)["test"]
    if test.counts is None:
        raise InputError("has no counts; expected images with them", field="dataset")
    numbers = sorted({number for number in _NUMBERS if number < most} | {most})
    found: dict[int, list[Any]] = {number: [] for number in numbers}
    seconds = dict.fromkeys(numbers, 0.0)
    steps = air.config.num_steps(max_objects)
    for number in numbers:  # traces
        air.infer(test.images[:_BATCH_SIZE], max_objects=steps, proposals=number)
    for _, batch in batches(test.images, _BATCH_SIZE):
        for number in numbers:
            start = time.perf_counter()
            scenes = air.infer(
                batch, max_objects=steps, proposals=number, batch_size=_BATCH_SIZE
            )
            seconds[number] += time.perf_counter() - start
            few = (scenes.num_objects, scenes.num_objects_probs, scenes.num_trips)
            found[number].append(few)
    results: dict[int, dict[str, float]] = {}
    trips: dict[int, np.ndarray] = {}
    for number, parts in found.items():
        counts, probs, trips[number] = map(np.concatenate, zip(*parts, strict=True))
        correct = counts == test.counts
        error, _ = metrics.calibration(probs.max(axis=1), correct)
        results[number] = {
            "count_accuracy": float(correct.mean()),
            "calibration_error": error,
            "examined": float(np.mean(trips[number] > trips[0])),
            "attend_steps": float(trips[number].mean()),
            "ms": 1e3 * seconds[number] / len(test.images),
        }
    return {
        "dataset": config.data.dataset,
        "num_images": len(test.images),
        "proposals": results,
    }


def format_explanations(results: dict[str, Any]) -> str:
    """A Markdown table of what `benchmark_explanations` returned."""
    headers = ["proposals", "count accuracy", "calibration error"]
    headers += ["explained again", "attend steps", "ms"]
    rows = [
        [
            str(number),
            f"{one['count_accuracy']:.2%}",
            f"{one['calibration_error']:.4f}",
            f"{one['examined']:.1%}",
            f"{one['attend_steps']:.1f}",
            f"{one['ms']:.2f}",
        ]
        for number, one in results["proposals"].items()
    ]
    title = f"# {results['dataset']}, {results['num_images']} test images"
    return f"{title}\n\n{markdown_table(headers, rows)}\n"
