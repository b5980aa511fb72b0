"""Measures converted models: size, agreement with Keras, and time for one image."""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.deployment.convert import FORMATS, convert
from air_tf.deployment.edge import EdgeModel
from air_tf.deployment.session import ServedModel
from air_tf.deployment.signatures import ServingModule, in_float32
from air_tf.runs import RunDir
from benchmarks.tables import markdown_table, optional

_ROUNDS, _CALLS_PER_ROUND = 30, 30
_COUNTS = (0, 1, 2)


def benchmark_edge(run: RunDir, *, data_dir: str | None = None) -> dict[str, Any]:
    """Converts a run to every format and times single images, on one thread.

    Formats take turns in short rounds, so that other load on the machine affects all
    of them.

    Args:
      run: the run.
      data_dir: of TFDS, for images of the run's dataset; its own default if omitted.

    Returns:
      For every LiteRT format, and for "savedmodel" (run in a session): "bytes"; "ms",
      the median over rounds by number of objects, for the numbers in 0, 1 and 2 that
      the model finds in some test image; and, but for "savedmodel", the fields of
      what `convert` returns.

    Raises:
      InputError: if the run or its images can't be read.
    """
    air = in_float32(run.load_air())
    images = run.load_images(["test"], data_dir=data_dir)["test"].images[:300]
    found = air.infer(images).num_objects
    examples = {
        count: images[found == count][:1] for count in _COUNTS if (found == count).any()
    }
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        calls: dict[str, Callable] = {}
        for format in FORMATS:
            file = pathlib.Path(folder, f"{format}.tflite")
            agreement = convert(
                run, file, format=format, data_dir=data_dir, allow_disagreement=True
            )
            calls[format] = EdgeModel(file).infer
            results[format] = {"bytes": file.stat().st_size, **agreement._asdict()}
        saved = pathlib.Path(folder, "saved")
        module = ServingModule(air, air.config.max_objects)
        tf.saved_model.save(module, str(saved), signatures=module.signatures())
        served = ServedModel(saved)
        calls["savedmodel"] = lambda image: served(
            "reconstruct", {"image": image.astype(np.float32) / 255}
        )
        files = [path for path in saved.rglob("*") if path.is_file()]
        results["savedmodel"] = {"bytes": sum(path.stat().st_size for path in files)}
        for name, ms in _time(calls, examples).items():
            results[name]["ms"] = ms
        served.close()
    return results


def _time(
    calls: Mapping[str, Callable[[np.ndarray], Any]],
    examples: Mapping[int, np.ndarray],
) -> dict[str, dict[int, float]]:
    """Milliseconds of each call with each example: medians over rounds."""
    rounds: dict[tuple[str, int], list[float]] = {
        (name, count): [] for name in calls for count in examples
    }
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            for count, image in examples.items():
                call(image)
                start = time.perf_counter()
                for _ in range(_CALLS_PER_ROUND):
                    call(image)
                seconds = time.perf_counter() - start
                rounds[name, count].append(1e3 * seconds / _CALLS_PER_ROUND)
    return {
        name: {count: statistics.median(rounds[name, count]) for count in examples}
        for name in calls
    }


def format_edge(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table of what `benchmark_edge` returned."""
    headers = ["format", "MB", *(f"ms, {count} objects" for count in _COUNTS)]
    headers += ["counts agree", "IoU of boxes", "code error"]
    rows = []
    for name, result in results.items():
        row = [name, f"{result['bytes'] / 1e6:.2f}"]
        row += [optional(result["ms"].get(count), ".3f") for count in _COUNTS]
        if "count_agreement" in result:
            row += [
                f"{result['count_agreement']:.2%}",
                f"{result['mean_iou']:.4f}",
                f"{result['code_error']:.4f}",
            ]
        rows.append(row)
    first = results["float32"]
    return (
        f"{markdown_table(headers, rows)}\n\nAgreement is with Keras, on "
        f"{first['num_images']} test images. Codes have a standard deviation of "
        f"{first['code_scale']:.2f}."
    )
