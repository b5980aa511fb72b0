"""What a training step costs on larger canvases and with more attend steps."""

import dataclasses
from typing import Any

from absl import logging

from air_tf.config import RunConfig
from benchmarks.machine import machine
from benchmarks.processes import in_fresh_process
from benchmarks.step_speed import time_steps
from benchmarks.tables import markdown_table

_SIDES = (50, 75, 100)
_MAX_OBJECTS = (1, 2, 3, 4, 5, 6, 8)


def benchmark_scaling(config: RunConfig) -> dict[str, Any]:
    """Times training steps on square canvases, and with different T.

    All other settings are those of the config. Each measurement has a process of its
    own, so that its memory is its own.

    Returns:
      "machine", and "measurements": a list of "image_shape", "max_objects" and what
      `time_steps` returns.
    """
    model = config.model
    height, width, channels = model.image_shape
    chosen = [((side, side), model.max_objects) for side in _SIDES]
    chosen += [((height, width), most) for most in _MAX_OBJECTS]
    found = []
    for canvas, most in dict.fromkeys(chosen):
        shape = (*canvas, channels)
        changed = dataclasses.replace(model, image_shape=shape, max_objects=most)
        times = in_fresh_process(time_steps, dataclasses.replace(config, model=changed))
        found.append({"image_shape": shape, "max_objects": most, **times})
        logging.info("%s, T = %d: %.1f ms", _canvas(shape), most, times["step_ms"])
    return {"machine": machine(), "measurements": found}


def format_scaling(result: dict[str, Any]) -> str:
    """A Markdown table of what `benchmark_scaling` returned."""
    headers = ["canvas", "T", "ms per step", "MB with compiling", "s of first steps"]
    rows = [
        [
            _canvas(one["image_shape"]),
            str(one["max_objects"]),
            f"{one['step_ms']:.1f}",
            f"{one['step_memory_mb']:.0f}",
            f"{one['compile_seconds']:.1f}",
        ]
        for one in result["measurements"]
    ]
    return markdown_table(headers, rows)


def _canvas(image_shape: tuple[int, int, int]) -> str:
    height, width, _ = image_shape
    return f"{height} x {width}"
