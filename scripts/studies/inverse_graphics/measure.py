"""How well and how fast methods find the objects in test images."""

import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.evaluation.evaluate3d import object_figures
from air_tf.images import batches
from air_tf.model.air3d import AIR3D
from air_tf.structs import ImageSet, Objects3D, Scenes3D
from studies.inverse_graphics.search import Rates, Search

BATCH_SIZE = 64
_MIN_BATCHES = 5
_FIGURES = ("kind_accuracy", "position_error", "yaw_error")


def measure_network(air: AIR3D, images: ImageSet) -> dict[str, Any]:
    """Inference by the network, one image at a time.

    Returns:
      "milliseconds", the median over images; "count_accuracy"; and "kind_accuracy",
      "position_error" and "yaw_error" as in `Evaluation`.
    """

    def find(image: np.ndarray, number: int) -> Objects3D:
        del number
        return _objects(air.infer(image[np.newaxis]))

    return _measure(find, air, images)


def measure_batches(air: AIR3D, images: ImageSet) -> float:
    """Milliseconds that inference takes for an image in a batch, median over batches.

    If there are few images, they are repeated.
    """
    num = max(math.ceil(len(images.images) / BATCH_SIZE), _MIN_BATCHES) * BATCH_SIZE
    rows = np.arange(num) % len(images.images)
    air.infer(images.images[rows[:BATCH_SIZE]], batch_size=BATCH_SIZE)  # traces
    seconds = []
    for _, chosen in batches(rows, BATCH_SIZE):
        batch = images.images[chosen]
        start = time.perf_counter()
        air.infer(batch, batch_size=BATCH_SIZE)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds) / BATCH_SIZE


def measure_search(
    search: Search, images: ImageSet, *, rates: Rates, num_starts: int
) -> dict[str, Any]:
    """Optimisation from scratch for each image; returns what `measure_network` does."""
    tensors = Rates(*map(tf.constant, rates))

    def find(image: np.ndarray, number: int) -> Objects3D:
        seed = tf.constant([search.settings.search_seed, number])
        found = search.find(tf.constant(image), tensors, seed, num_starts)
        return Objects3D(*(field.numpy() for field in found))

    return _measure(find, search.air, images)


def choose_rates(search: Search, images: ImageSet) -> list[dict[str, float]]:
    """Tries all pairs of learning rates on validation images.

    Returns:
      For each pair "position", "phase", and the "kind_accuracy" that it leads to; the
      best first, of equal ones the smaller rates.
    """
    tried, settings = [], search.settings
    for pair in itertools.product(settings.position_rates, settings.phase_rates):
        rates = Rates(*pair)
        starts = settings.validation_starts
        found = measure_search(search, images, rates=rates, num_starts=starts)
        tried.append({**rates._asdict(), "kind_accuracy": found["kind_accuracy"]})
        logging.info("learning rates of positions and phases: %s", tried[-1])
    return sorted(tried, key=lambda one: -one["kind_accuracy"])


def _measure(
    find: Callable[[np.ndarray, int], Objects3D], air: AIR3D, images: ImageSet
) -> dict[str, Any]:
    find(images.images[0], 0)  # compiles
    parts, seconds = [], []
    for number, image in enumerate(images.images):
        start = time.perf_counter()
        parts.append(find(image, number))
        seconds.append(time.perf_counter() - start)
    found = Objects3D(*map(np.concatenate, zip(*parts, strict=True)))
    figures = object_figures(air.config.tabletop, images, found)
    return {
        "milliseconds": 1e3 * statistics.median(seconds),
        "count_accuracy": float(np.mean(found.num_objects == images.counts)),
        **{name: figures[name] for name in _FIGURES},
    }


def _objects(scenes: Scenes3D) -> Objects3D:
    return Objects3D(*(getattr(scenes, name) for name in Objects3D._fields))
