"""How long a training step takes."""

import pathlib
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from air_tf.config import RunConfig
from air_tf.runs import make_model
from air_tf.training.batches import training_batches
from air_tf.training.trainer import Trainer, make_optimizer, steps_per_execution
from benchmarks.machine import format_machine, machine
from benchmarks.step_parts import step_parts
from benchmarks.tables import markdown_table

_ROUNDS, _CALLS_PER_ROUND = 9, 4
_NUM_IMAGES = 20_000


def benchmark_step(config: RunConfig) -> dict[str, Any]:
    """Times the training step and its parts.

    Returns:
      "machine", what `time_steps` and `step_parts` return, and "import_seconds": what
      importing the model adds to importing TensorFlow and TFP.
    """
    times = time_steps(config)
    air = make_model(config)
    return {
        "machine": machine(),
        **times,
        **step_parts(air, config.training),
        "import_seconds": _import_seconds(),
    }


def time_steps(config: RunConfig) -> dict[str, Any]:
    """Times the training step, with and without the input pipeline.

    Images are noise of the config's `image_shape`: no operation's time depends on
    what they show.

    Returns:
      - "num_weights" and "batch_size";
      - "compile_seconds": seconds of the first steps, compilation included;
      - "step_ms", with the input pipeline, and "step_ms_one_batch", with the same
        batch in every step: medians over rounds, in milliseconds;
      - "pipeline_share": the share of time that the pipeline adds, median over pairs
        of rounds;
      - "peak_memory_mb": the process's peak so far, and "step_memory_mb": how far it
        is above the memory that was in use before the first step.
    """
    settings = config.training
    air = make_model(config)
    trainer = Trainer(air, settings)
    at_once = steps_per_execution(settings)
    trainer.compile(
        optimizer=make_optimizer(settings),
        jit_compile=settings.jit_compile,
        steps_per_execution=at_once,
    )
    rng = np.random.default_rng(0)
    shape = (_NUM_IMAGES, *config.model.image_shape)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    pipeline = training_batches(
        images, batch_size=settings.batch_size, seed=0, first_step=0
    )
    one_batch = tf.data.Dataset.from_tensors(images[: settings.batch_size]).repeat()
    trainer.make_train_function()
    step = trainer.train_function
    iterators = {"pipeline": iter(pipeline), "one_batch": iter(one_batch)}

    memory = _resident_mb()
    start = time.perf_counter()
    step(iterators["pipeline"])
    compile_seconds = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in iterators}
    for _ in range(_ROUNDS):
        for name, iterator in iterators.items():
            start = time.perf_counter()
            for _ in range(_CALLS_PER_ROUND):
                logs = step(iterator)
            float(logs["elbo"])  # waits for the last step
            elapsed = time.perf_counter() - start
            times[name].append(elapsed / (_CALLS_PER_ROUND * at_once))
    shares = [
        a / b - 1 for a, b in zip(times["pipeline"], times["one_batch"], strict=True)
    ]
    peak = _peak_mb()
    return {
        "num_weights": air.count_params(),
        "batch_size": settings.batch_size,
        "compile_seconds": compile_seconds,
        "step_ms": 1e3 * statistics.median(times["pipeline"]),
        "step_ms_one_batch": 1e3 * statistics.median(times["one_batch"]),
        "pipeline_share": statistics.median(shares),
        "peak_memory_mb": peak,
        "step_memory_mb": peak - memory,
    }


def _resident_mb() -> float:
    """Memory of this process; its peak where the system has no /proc."""
    file = pathlib.Path("/proc/self/statm")
    if not file.exists():
        return _peak_mb()
    pages = int(file.read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _import_seconds() -> float:
    """Seconds that importing the model takes after TensorFlow and TFP."""
    code = (
        "import time, tensorflow, tensorflow_probability\n"
        "tensorflow_probability.distributions\n"
        "start = time.perf_counter()\n"
        "import air_tf; air_tf.AIR\n"
        "print(time.perf_counter() - start)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def format_step(result: dict[str, Any]) -> str:
    """A Markdown table of what `benchmark_step` returned."""
    per_second = 1e3 / result["step_ms"]
    rows = [
        ("machine", format_machine(result["machine"])),
        ("batch size", str(result["batch_size"])),
        ("weights", f"{result['num_weights']:,}"),
        ("first steps, with compilation", f"{result['compile_seconds']:.1f} s"),
        ("training step", f"{result['step_ms']:.1f} ms"),
        ("training steps per second", f"{per_second:.1f}"),
        ("images per second", f"{per_second * result['batch_size']:.0f}"),
        ("added by the input pipeline", f"{result['pipeline_share']:+.1%}"),
        ("forward", f"{result['forward_ms']:.1f} ms"),
        ("forward and backward", f"{result['gradient_ms']:.1f} ms"),
        ("forward, backward and optimizer", f"{result['update_ms']:.1f} ms"),
        ("operations, forward and backward", f"{result['gflop']:.2f} GFLOP"),
        ("matrix products", f"{result['products_gflop_s']:.0f} GFLOP/s"),
        ("copying", f"{result['copy_gb_s']:.0f} GB/s"),
        ("added by importing air_tf", f"{result['import_seconds']:.2f} s"),
        ("peak memory", f"{result['peak_memory_mb']:.0f} MB"),
    ]
    return markdown_table(["measured", "value"], rows)
