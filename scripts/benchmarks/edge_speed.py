"""Measures converted models: speed by number of objects, size, agreement."""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.data import sources
from air_tf.deployment.convert import FORMATS, convert
from air_tf.deployment.edge import EdgeModel
from air_tf.deployment.session import ServedModel
from air_tf.deployment.signatures import ServingModule, in_float32
from air_tf.runs import RunDir

_ROUNDS, _CALLS_PER_ROUND = 30, 30
_COUNTS = (0, 1, 2)


def benchmark_edge(run: RunDir, *, data_dir: str | None = None) -> dict[str, Any]:
    """Converts a run to every format and times single images, on one thread.

    Formats take turns in short rounds, so that what else the machine does meets all
    of them.

    Args:
      run: the run.
      data_dir: of TFDS, for images of the run's dataset.

    Returns:
      For every format and "savedmodel", through a session: "ms", the median over
      rounds for images of 0, 1 and 2 objects; "bytes"; and what `convert` found.
    """
    air = in_float32(run.load_model())
    splits = sources.load_splits(
        run.read_config().data,
        ["test"],
        image_shape=air.config.image_shape,
        data_dir=data_dir,
    )
    images = splits["test"].images[:300]
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


def _time(calls, examples) -> dict[str, dict[int, float]]:
    rounds = {(name, count): [] for name in calls for count in examples}
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


def format_edge(results: dict[str, Any]) -> str:
    lines = [
        "format      MB     ms for 0, 1, 2 objects   counts agree    IoU  code error"
    ]
    for name, result in results.items():
        times = "  ".join(f"{result['ms'].get(c, float('nan')):6.3f}" for c in _COUNTS)
        line = f"{name:10}  {result['bytes'] / 1e6:5.2f}  {times}"
        if "count_agreement" in result:
            line += (
                f"   {result['count_agreement']:11.2%}  {result['mean_iou']:.4f}  "
                f"{result['code_error']:.4f}"
            )
        lines.append(line)
    first = results["float32"]
    lines.append(
        f"Agreement is with Keras, on {first['num_images']} test images; codes have a "
        f"standard deviation of {first['code_scale']:.2f}."
    )
    return "\n".join(lines)
