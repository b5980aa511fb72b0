"""How long the parts of a training step take, and what the machine can do."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from air_tf.config import RunConfig, TrainingConfig
from air_tf.model.air import AIR
from air_tf.objectives.objective import make_objective
from air_tf.training.trainer import make_optimizer

_ROUNDS, _CALLS = 5, 40
_ROWS, _SIDE, _PRODUCTS = 192, 1024, 20
_NUM_COPIED = 20_000_000


def step_parts(air: AIR, config: TrainingConfig) -> dict[str, float]:
    """Times the parts of a training step, matrix products, and copying.

    Args:
      air: the model; its weights change.
      config: objective, batch size, optimizer and whether XLA compiles.

    Returns:
      Medians in milliseconds, each of which includes the one before: "forward_ms",
      "gradient_ms" (and backward) and "update_ms" (and the optimizer of the model).
      "gflop" are the floating-point operations of forward and backward, as counted by
      TensorFlow's profiler, "products_gflop_s" the speed of matrix products of
      [192, 1024] by [1024, 1024] on this machine, "copy_gb_s" that of copying.
    """
    variables = air.trainable_variables
    objective = make_objective(RunConfig(model=air.config, training=config))
    optimizer = make_optimizer(config)
    optimizer.build(variables)
    shape = (config.batch_size, *air.config.image_shape)
    images = tf.constant(np.random.default_rng(0).random(shape, np.float32))

    def loss(seed: tf.Tensor) -> tf.Tensor:
        return objective.estimate(air, images, seed=seed).loss

    def gradient(seed: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(seed)
        return tape.gradient(value, variables)

    def update(seed: tf.Tensor) -> tf.Tensor:
        gradients = gradient(seed)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return gradients[0]

    def timed(function: Callable) -> float:
        return 1e3 * _seconds(
            tf.function(function, jit_compile=config.jit_compile, autograph=False)
        )

    traced = tf.function(gradient, autograph=False)
    graph = traced.get_concrete_function(tf.constant([0, 0])).graph
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
    """Seconds of one call: the median over rounds, without the first call."""
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
    """Matrix products, in GFLOP/s."""
    weight = tf.random.stateless_normal([_SIDE, _SIDE], [0, 0]) / _SIDE**0.5
    start = tf.random.stateless_normal([_ROWS, _SIDE], [0, 1])

    def products(seed: tf.Tensor) -> tf.Tensor:
        del seed
        x = start
        for _ in range(_PRODUCTS):
            x = tf.matmul(x, weight)
        return x

    seconds = _seconds(tf.function(products, autograph=False))
    return _PRODUCTS * 2 * _ROWS * _SIDE**2 / seconds / 1e9


def _copies() -> float:
    """Copying in memory, in GB/s: every byte is read and written."""
    source = np.ones(_NUM_COPIED, np.float32)
    target = source.copy()
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        np.copyto(target, source)
    return _ROUNDS * 2 * source.nbytes / (time.perf_counter() - start) / 1e9
