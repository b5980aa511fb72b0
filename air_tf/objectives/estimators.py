"""By name: draws the samples that an objective needs, and takes it."""

from typing import Any, NamedTuple

import tensorflow as tf

from air_tf.model.air import AIR
from air_tf.objectives.baseline import Baseline
from air_tf.objectives.blank_steps import without_blanks
from air_tf.objectives.bound import Objective
from air_tf.objectives.concrete import concrete, falling_temperature
from air_tf.objectives.count_posterior import count_lesson, without_count_gradient
from air_tf.objectives.enumeration import enumeration
from air_tf.objectives.iwae import iwae
from air_tf.objectives.nvil import nvil
from air_tf.objectives.reinforce import learning_signal, reinforce, sampled
from air_tf.objectives.vimco import vimco
from air_tf.structs import AIROutput


class Draw(NamedTuple):
    """What an estimate may depend on."""

    air: AIR
    images: tf.Tensor  # [B, H, W, C], float32 in [0, 1]
    seed: tf.Tensor  # [2] int32
    num_particles: int = 1
    progress: Any = 0.0  # of training, 0 to 1
    baseline: Baseline | None = None
    # Without, the plain estimate: q(n) follows the bound, and the signal
    # of nvil is not scaled and leaves the baseline's moments as they are.
    training: bool = True


class Estimate(NamedTuple):
    """A loss, and what it was estimated from."""

    objective: Objective
    output: AIROutput  # of [S, H, W, C], as in `Objective`
    # [B], nats, a loss of its own: see `blank_steps` and `count_posterior`.
    lesson: Any = 0.0
    blanks: Any = 0.0  # [B], steps that are blank
    baseline_loss: Any = 0.0  # [B], of the baseline's weights alone


# The lesson is of a nat or less, the bound of hundreds, and both reach the networks
# that decide where to look.
_LESSON_WEIGHT = 10.0
# More copies of the attend step take longer to compile than they save. A loop writes
# what it draws into buffers of all steps: a third slower with 6.
_MAX_UNROLLED = 8


def estimate(objective: str, draw: Draw) -> Estimate:
    """An estimate of one of `air_tf.config.OBJECTIVES`, to be differentiated."""
    return _ESTIMATORS[objective](draw)


def _all_steps(draw: Draw, images: tf.Tensor, seed: tf.Tensor) -> AIROutput:
    unroll = draw.air.config.max_objects <= _MAX_UNROLLED
    return draw.air(images, sample=True, seed=seed, unroll=unroll)


def _until_absent(draw: Draw, images: tf.Tensor) -> AIROutput:
    """The loop ends with the last object that was drawn from q, as in the paper."""
    return draw.air(images, sample=True, seed=draw.seed, stop_early=True)


def _enumeration(draw: Draw) -> Estimate:
    p = draw.air.densities()
    output = _all_steps(draw, draw.images, draw.seed)
    if not draw.training:
        return Estimate(enumeration(output, draw.images, p), output)
    if draw.air.config.inference == "difference":
        return Estimate(
            objective=enumeration(without_count_gradient(output), draw.images, p),
            output=output,
            lesson=_LESSON_WEIGHT * count_lesson(output, draw.images, p),
        )
    better = without_blanks(output, draw.images, p)
    return Estimate(
        objective=enumeration(better.output, draw.images, p),
        output=output,
        lesson=better.lesson,
        blanks=tf.reduce_sum(better.blank, axis=1),
    )


def _reinforce(draw: Draw) -> Estimate:
    output = _until_absent(draw, draw.images)
    return Estimate(reinforce(output, draw.images, draw.air.densities()), output)


def _nvil(draw: Draw) -> Estimate:
    output = _until_absent(draw, draw.images)
    terms = sampled(output, draw.images, draw.air.densities())
    baseline, scale = draw.baseline(draw.images, output), 1.0
    if draw.training:
        # Before they are used, as in algorithm 1 there.
        unforeseen = learning_signal(terms) - tf.stop_gradient(baseline)
        draw.baseline.update(unforeseen, terms.decided)
        scale = draw.baseline.scale
    result = nvil(terms, baseline=baseline, mean=draw.baseline.mean, scale=scale)
    return Estimate(result.objective, output, baseline_loss=result.baseline_loss)


def _vimco(draw: Draw) -> Estimate:
    images = tf.repeat(draw.images, draw.num_particles, axis=0)
    output = _until_absent(draw, images)
    p = draw.air.densities()
    return Estimate(vimco(output, images, p, num_particles=draw.num_particles), output)


def _concrete(draw: Draw) -> Estimate:
    seeds = tf.random.split(draw.seed, 2)
    p = draw.air.densities()
    output = _all_steps(draw, draw.images, seeds[0])
    uniform = tf.random.stateless_uniform(
        tf.shape(output.inference.presence_logits),
        seeds[1],
        minval=1e-6,
        maxval=1.0 - 1e-6,
    )
    objective = concrete(
        output,
        draw.images,
        p,
        uniform=uniform,
        temperature=falling_temperature(draw.progress),
    )
    return Estimate(objective, output)


def _iwae(draw: Draw) -> Estimate:
    images = tf.repeat(draw.images, draw.num_particles, axis=0)
    output = _all_steps(draw, images, draw.seed)
    p = draw.air.densities()
    return Estimate(iwae(output, images, p, num_particles=draw.num_particles), output)


_ESTIMATORS = {
    "enumeration": _enumeration,
    "nvil": _nvil,
    "reinforce": _reinforce,
    "vimco": _vimco,
    "concrete": _concrete,
    "iwae": _iwae,
}
