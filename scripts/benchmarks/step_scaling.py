"""What a training step costs on larger canvases and with more attend steps."""

import dataclasses
from typing import Any

from air_tf.config import RunConfig
from benchmarks.machine import machine
from benchmarks.step_speed import time_steps
from studies.seeds import in_fresh_process

_SIDES = (50, 75, 100)
_STEPS = (1, 2, 3, 4, 5, 6, 8)


def benchmark_scaling(config: RunConfig) -> dict[str, Any]:
    """Times a step on square canvases, and with several T, all else as in `config`.

    Each in a process of its own, or it would see the memory of the others. Small T are
    unrolled, larger ones a loop, as in training.

    Returns:
      "machine", and "measurements": of each "image_shape" and "max_objects",
      and what `time_steps` returns.
    """
    model = config.model
    height, width, channels = model.image_shape
    chosen = [((side, side), model.max_objects) for side in _SIDES]
    chosen += [((height, width), steps) for steps in _STEPS]
    found = []
    for canvas, steps in dict.fromkeys(chosen):
        changes = {"image_shape": (*canvas, channels), "max_objects": steps}
        one = dataclasses.replace(config, model=dataclasses.replace(model, **changes))
        found.append({**changes, **in_fresh_process(time_steps, one)})
        print(_row(found[-1]), flush=True)
    return {"machine": machine(), "measurements": found}


def format_scaling(result: dict[str, Any]) -> str:
    """A markdown table."""
    return "\n".join(
        [
            "| canvas | T | ms per step | MB with compiling | s of the first steps |",
            "|---|---|---|---|---|",
            *map(_row, result["measurements"]),
        ]
    )


def _row(one: dict[str, Any]) -> str:
    height, width, _ = one["image_shape"]
    return (
        f"| {height} x {width} | {one['max_objects']} | "
        f"{one['step_ms']:.1f} | {one['step_memory_mb']:.0f} | "
        f"{one['compile_seconds']:.1f} |"
    )
