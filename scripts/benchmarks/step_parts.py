"""Where the time of a training step goes, and what bounds it."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from air_tf.config import TrainingConfig
from air_tf.model.air import AIR
from air_tf.objectives.estimators import Draw, estimate
from air_tf.training.trainer import make_optimizer

_ROUNDS, _CALLS = 5, 40
_SIDE, _PRODUCTS, _FLOATS = 1024, 20, 20_000_000


def step_parts(air: AIR, config: TrainingConfig) -> dict[str, float]:
    """Times the parts of a step of `enumeration`, and the machine.

    Args:
      air: the model; its weights change.
      config: batch size, optimizer and whether XLA compiles.

    Returns:
      Medians in milliseconds, each measured with what comes before it:
      "forward_ms", "gradient_ms" (forward and backward), "update_ms" (and the
      optimizer); "gflop", the floating-point operations of forward and backward by
      TensorFlow's profiler; "products_gflop_s", what matrix products of
      [192, 1024] by [1024, 1024] reach here, and "copy_gb_s", what copying does.
    """
    variables = air.trainable_variables
    optimizer = make_optimizer(config)
    optimizer.build(variables)
    shape = (config.batch_size, *air.config.image_shape)
    images = tf.constant(np.random.default_rng(0).random(shape, np.float32))

    def loss(seed):
        result = estimate("enumeration", Draw(air, images, seed))
        return tf.reduce_mean(result.objective.loss + result.lesson)

    def gradient(seed):
        with tf.GradientTape() as tape:
            value = loss(seed)
        return tape.gradient(value, variables)

    def update(seed):
        gradients = gradient(seed)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return gradients[0]

    def timed(function: Callable) -> float:
        return 1e3 * _seconds(tf.function(function, jit_compile=config.jit_compile))

    graph = tf.function(gradient).get_concrete_function(tf.constant([0, 0])).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, options=options)
    return {
        "forward_ms": timed(loss),
        "gradient_ms": timed(gradient),
        "update_ms": timed(update),
        "gflop": profile.total_float_ops / 1e9,
        "products_gflop_s": _products(),
        "copy_gb_s": _copies(),
    }


def _seconds(function: Callable) -> float:
    """Of one call, the first left out: the median over rounds."""
    seed = tf.constant([0, 1])
    function(seed)
    rounds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            result = function(seed)
        tf.nest.flatten(result)[0].numpy()  # waits for the last call
        rounds.append((time.perf_counter() - start) / _CALLS)
    return statistics.median(rounds)


def _products() -> float:
    weight = tf.random.stateless_normal([_SIDE, _SIDE], [0, 0]) / _SIDE**0.5

    start = tf.random.stateless_normal([192, _SIDE], [0, 1])

    def products(seed):
        del seed
        x = start
        for _ in range(_PRODUCTS):
            x = tf.matmul(x, weight)
        return x

    seconds = _seconds(tf.function(products))
    return _PRODUCTS * 2 * 192 * _SIDE**2 / seconds / 1e9


def _copies() -> float:
    source = np.ones(_FLOATS, np.float32)
    target = source.copy()
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        np.copyto(target, source)
    return _ROUNDS * 2 * source.nbytes / (time.perf_counter() - start) / 1e9
