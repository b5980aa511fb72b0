"""What it costs that two workers share a training step, and what they compute."""

import concurrent.futures
import json
import os
import socket
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.config import RunConfig
from air_tf.runs import make_model
from air_tf.training.batches import training_batches
from air_tf.training.distribute import replica_means, start
from air_tf.training.trainer import Trainer, make_optimizer, steps_per_execution
from benchmarks.machine import machine
from benchmarks.processes import in_fresh_process
from benchmarks.tables import markdown_table

_NUM_IMAGES, _ROUNDS = 2_000, 9
_WORKERS = (1, 2)


def benchmark_workers(config: RunConfig) -> dict[str, Any]:
    """Trains with one worker and with two, each a process of this machine.

    Images are noise of the config's `image_shape`. Workers share the machine's
    processors, so that two are not faster than one where one can use them all.

    Returns:
      "machine", "num_weights", "batch_size", and
      - "workers": for one and for two, what `_measure` returns of them together;
      - "difference": of the weights after the first step, the largest one, and
        "moved": how far this step moved a weight. Later steps add to the difference:
        which place is searched next may depend on rounding.
    """
    found = []
    for number in _WORKERS:
        parts = _run(number, config)
        one = {
            name: sum(part[name] for part in parts)
            for name in ("cpu_ms_per_image", "exchange_cpu_ms")
        }
        for name in ("step_ms", "exchange_ms"):
            one[name] = max(part[name] for part in parts)
        found.append({"number": number, **one, "weights": parts[0]["weights"]})
        logging.info("%d: %.2f CPU ms per image", number, one["cpu_ms_per_image"])
    weights = [one.pop("weights") for one in found]
    return {
        "machine": machine(),
        "num_weights": sum(np.size(array) for array in weights[0][0]),
        "batch_size": config.training.batch_size,
        "workers": found,
        "difference": _largest(weights[0][1], weights[1][1]),
        "moved": _largest(*weights[0]),
    }


def _largest(ones: list[np.ndarray], others: list[np.ndarray]) -> float:
    pairs = zip(ones, others, strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs if a.size)


def _run(number: int, config: RunConfig) -> list[dict[str, Any]]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("localhost", 0))
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        parts = [
            pool.submit(in_fresh_process, _measure, config, addresses, index)
            for index in range(number)
        ]
        return [part.result() for part in parts]


def _measure(config: RunConfig, addresses: list[str], index: int) -> dict[str, Any]:
    """Trains as one of the workers.

    Returns:
      - "weights": before, and after the first step;
      - "step_ms", milliseconds of a step, and "cpu_ms_per_image": of this process, for
        every image of the whole batch; medians over rounds;
      - "exchange_ms", "exchange_cpu_ms": of a step that only takes the mean of
        gradients over replicas; 0 for one worker.
    """
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": task}
    )
    replicas, settings = start("multi_worker", config), config.training
    at_once = steps_per_execution(settings)
    with replicas.scope():
        air = make_model(config)
    before = air.get_weights()
    trainer = Trainer(air, settings, replicas)
    with replicas.scope():
        trainer.compile(
            optimizer=make_optimizer(settings),
            jit_compile=settings.jit_compile,
            steps_per_execution=1,
        )
        trainer.optimizer.build(air.trainable_variables)
    shape = (_NUM_IMAGES, *config.model.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    given = {"batch_size": settings.batch_size, "seed": 0, "first_step": 0}
    batches = replicas.batches(
        lambda context: training_batches(images, replicas=context, **given)
    )
    iterator = iter(batches)
    trainer.make_train_function()
    float(trainer.train_function(iterator)["elbo"])
    weights = [before, air.get_weights()]
    trainer.steps_per_execution = at_once
    trainer.make_train_function(force=True)
    step: Any = trainer.train_function
    step_ms, cpu_ms = _time(lambda: float(step(iterator)["elbo"]), at_once)
    exchange = (0.0, 0.0)
    if replicas.number > 1:
        tensors = [tf.zeros(v.shape) for v in air.trainable_variables]
        mean = tf.function(
            lambda: replicas.strategy.run(lambda: replica_means(tensors)),
            autograph=False,
        )
        exchange = _time(lambda: [mean() for _ in range(at_once)], at_once)
    return {
        "weights": weights,
        "step_ms": step_ms,
        "cpu_ms_per_image": cpu_ms / settings.batch_size,
        "exchange_ms": exchange[0],
        "exchange_cpu_ms": exchange[1],
    }


def _time(work: Callable[[], Any], steps: int) -> tuple[float, float]:
    """Milliseconds of a step, by the clock and of this process; medians of rounds."""
    work()
    clock, process = [], []
    for _ in range(_ROUNDS):
        start_clock, start_process = time.perf_counter(), time.process_time()
        work()
        clock.append(1e3 * (time.perf_counter() - start_clock) / steps)
        process.append(1e3 * (time.process_time() - start_process) / steps)
    return statistics.median(clock), statistics.median(process)


def format_workers(result: dict[str, Any]) -> str:
    """A Markdown table of what `benchmark_workers` returned."""
    one, two = result["workers"]
    rows = [
        ("CPU ms per image", "cpu_ms_per_image", ".2f"),
        ("ms per training step", "step_ms", ".1f"),
        ("CPU ms per step for the mean of gradients", "exchange_cpu_ms", ".1f"),
        ("ms per step for the mean of gradients", "exchange_ms", ".1f"),
    ]
    table = markdown_table(
        ["measured", "one worker", "two workers"],
        [
            (text, f"{one[name]:{form}}", f"{two[name]:{form}}")
            for text, name, form in rows
        ],
    )
    return (
        f"{table}\n\n{result['num_weights']:,} weights, {result['batch_size']} images "
        "in a step. After the first step, which moved a weight by up to "
        f"{result['moved']:.1e}, two workers differ from one by "
        f"{result['difference']:.1e}."
    )
