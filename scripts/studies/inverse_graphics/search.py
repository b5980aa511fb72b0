"""Optimisation of the poses in one image, from scratch and without a network.

T slots have a position and, for each kind, a yaw. A choice says what each slot holds:
nothing, or an object of one of the K kinds. Given the poses, all (K + 1)^T choices are
summed out exactly,

    E = log sum over choices of p(x | choice, poses) p(choice, poses),

so that only poses are searched: by Adam on E, from several random starts. As in
training, edges are soft and the likelihood wide at first, and at first all slots hold
an object: in an empty slot nothing moves. The start with the largest E says what is in
the image. Slots have no order, unlike attend steps: any of them may be empty.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from air_tf.model.air3d import AIR3D
from air_tf.model.likelihood import log_normal_constant
from air_tf.model.pixels import to_float
from air_tf.objectives.assignments import Layers, squared_errors
from air_tf.objectives.drawing import closeness, draw_layers, pose_kl
from air_tf.structs import Objects3D
from studies.inverse_graphics.config import InverseGraphicsConfig

# Decays of Adam's moments, and by how much the learning rates fall.
_MEAN_DECAY, _SQUARE_DECAY, _EPSILON = 0.9, 0.95, 1e-8
_FINAL_RATE_SHARE = 0.3


class Poses(NamedTuple):
    """Poses of T slots, in each of M searches."""

    position: tf.Tensor  # [M, T, 2], in units of the table's reach
    phase: tf.Tensor  # [M, T, K], radians


class Rates(NamedTuple):
    """Learning rates at the start of the optimisation."""

    position: Any  # []
    phase: Any  # []


class _State(NamedTuple):
    """State of the optimisation."""

    step: tf.Tensor  # [] int32
    poses: Poses
    mean: Poses  # Adam's moments
    square: Poses


class Choices(NamedTuple):
    """All ways to fill T slots. C = (K + 1)^T."""

    kinds: np.ndarray  # [C, T]; K for an empty slot
    counts: np.ndarray  # [C], objects in each
    log_prior: np.ndarray  # [C], log p(choice) and the density of the poses, nats

    def of_count(self, count: int) -> np.ndarray:
        """Indices of the choices with that many objects."""
        return np.flatnonzero(self.counts == count)


def all_choices(air: AIR3D) -> Choices:
    """All ways to fill the slots of a model's T.

    A pose is as exact as q can be at most: a density would prefer scenes without
    objects.
    """
    config = air.config
    steps, number = config.max_objects, config.num_kinds
    every = itertools.product(range(number + 1), repeat=steps)
    kinds = np.array(list(every), np.int32)
    counts = (kinds < number).astype(np.int32).sum(axis=1, dtype=np.int32)
    of_position, of_phases = pose_kl(
        air,
        tf.fill([2], config.min_position_scale),
        tf.fill([number], config.min_yaw_scale),
    )
    cost = (of_position + of_phases).numpy() + math.log(number)
    cost = np.append(cost, 0.0)  # [K + 1], none is free
    log_prior = tf.math.log_softmax(air.count_prior().logits).numpy()[counts]
    # Any of the slots may be the empty ones.
    log_prior -= np.log([math.comb(steps, n) for n in counts])
    log_prior -= cost[kinds].sum(axis=1)
    return Choices(kinds, counts, log_prior.astype(np.float32))


class Search:
    """Finds the objects in one image at a time.

    Args:
      air: the model, for its renderer and its priors; no network is used.
      settings: of the optimisation.

    Attributes:
      air: as given.
      settings: as given.
    """

    def __init__(self, air: AIR3D, settings: InverseGraphicsConfig):
        self.air, self.settings = air, settings
        self._choices = all_choices(air)

    @tf.function(jit_compile=True, autograph=False)
    def find(
        self, image: tf.Tensor, rates: Rates, seed: tf.Tensor, num_starts: int
    ) -> Objects3D:
        """What is in an image, by the best of several random starts.

        Args:
          image: [H, W, 3], uint8 or float32 in [0, 1].
          rates: tensors.
          seed: [2] int32, of the starts.
          num_starts: M, a Python int.

        Returns:
          The objects, with B = 1.
        """
        image = to_float(image)
        poses = self.refine(image, self.starts(seed, num_starts), rates)
        config = self.air.config
        log_joint = self.log_joint(image, poses, config.blur, config.likelihood_scale)
        best = tf.argmax(tf.reduce_logsumexp(log_joint, axis=1))
        # With an index in brackets, XLA compiles anew for each image.
        poses = Poses(*(tf.gather(one, best) for one in poses))
        return self._objects(poses, tf.gather(log_joint, best))

    def starts(self, seed: tf.Tensor, num_starts: int) -> Poses:
        """Poses that are uniform on the table and on the circle."""
        config = self.air.config
        size = [num_starts, config.max_objects]
        seeds = tf.random.split(seed, 2)
        return Poses(
            position=tf.random.stateless_uniform([*size, 2], seeds[0], -1.0, 1.0),
            phase=tf.random.stateless_uniform(
                [*size, config.num_kinds], seeds[1], -math.pi, math.pi
            ),
        )

    def refine(self, image: tf.Tensor, poses: Poses, rates: Rates) -> Poses:
        """The poses after the optimisation; positions stay on the table."""
        settings = self.settings
        steps = settings.optimisation_steps

        def body(state: _State) -> tuple[_State]:
            done = tf.cast(state.step, tf.float32) / steps
            with tf.GradientTape() as tape:
                tape.watch(state.poses)
                gained = tf.reduce_sum(self._objective(image, state.poses, done))
            gradient = tape.gradient(gained, state.poses)
            return (_ascend(state, gradient, rates, done),)

        none = tf.nest.map_structure(tf.zeros_like, poses)
        (state,) = tf.while_loop(
            lambda state: state.step < steps,
            body,
            (_State(tf.constant(0), poses, none, none),),
        )
        return state.poses

    def _objective(self, image: tf.Tensor, poses: Poses, done: tf.Tensor) -> tf.Tensor:
        """What is maximised: E, or at first that of scenes with all T objects, [M]."""
        settings, config = self.settings, self.air.config
        log_joint = self.log_joint(
            image,
            poses,
            _falling(settings.initial_blur, config.blur, done),
            _falling(settings.initial_scale, config.likelihood_scale, done),
        )
        full = tf.gather(log_joint, self._choices.of_count(config.max_objects), axis=1)
        of_full = tf.reduce_logsumexp(full, axis=1)
        explore = tf.maximum(1.0 - done / settings.explore_share, 0.0)
        evidence = tf.reduce_logsumexp(log_joint, axis=1)
        return explore * of_full + (1.0 - explore) * evidence

    def log_joint(
        self,
        image: tf.Tensor,
        poses: Poses,
        blur: tf.Tensor | float,
        likelihood_scale: tf.Tensor | float,
    ) -> tf.Tensor:
        """log p(x, choice, poses) of all choices: [M, C] nats.

        Args:
          image: [H, W, 3], float32 in [0, 1].
          poses: of M searches.
          blur: of the objects' edges, in pixels.
          likelihood_scale: sigma.
        """
        air = self.air
        layers, _ = draw_layers(air, poses.position, poses.phase, blur)
        # The last kind is none: it covers nothing.
        layers = Layers(
            alpha=tf.pad(layers.alpha, [[0, 0], [0, 0], [0, 1], [0, 0]]),
            light=tf.pad(layers.light, [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]]),
            front=layers.front,
        )
        rest = air.renderer.blurred(image[tf.newaxis], blur) - air.ground.value
        rest = tf.reshape(rest, [1, -1, 3])
        rest = tf.tile(rest, [layers.alpha.shape[0], 1, 1])
        errors = squared_errors(rest, layers, air.config.max_objects)
        errors = tf.reshape(errors, [-1, len(self._choices.counts)])
        constant = log_normal_constant(3 * rest.shape[1], likelihood_scale)
        log_likelihood = constant - 0.5 * errors / tf.square(likelihood_scale)
        there = tf.cast(self._choices.kinds < air.config.num_kinds, tf.float32)
        close = closeness(air, poses.position)  # [M, T, T], each pair twice
        close = 0.5 * tf.einsum("mts,ct,cs->mc", close, there, there)
        return log_likelihood + self._choices.log_prior - close

    def _objects(self, poses: Poses, log_joint: tf.Tensor) -> Objects3D:
        """The most probable count, and the most probable choice of that count.

        Args:
          poses: of one search, [T, ...].
          log_joint: likewise, [C].
        """
        config, choices = self.air.config, self._choices
        probs = [
            tf.reduce_logsumexp(tf.gather(log_joint, choices.of_count(n)))
            for n in range(config.max_objects + 1)
        ]
        count = tf.argmax(probs, output_type=tf.int32)
        chosen = tf.where(tf.equal(choices.counts, count), log_joint, -np.inf)
        kind = tf.gather(choices.kinds, tf.argmax(chosen))  # [T]
        # Present objects first: an empty slot has the largest number.
        order = tf.argsort(kind, stable=True)
        kind = tf.gather(kind, order)
        is_one = tf.one_hot(kind, config.num_kinds)  # [T, K]
        folds, turns = self.air.folds
        phase = tf.gather(poses.phase, order)
        position = config.tabletop.reach * tf.gather(poses.position, order)
        present = tf.reduce_sum(is_one, axis=1)
        found = Objects3D(
            num_objects=count,
            kind=kind * tf.cast(present, tf.int32),
            position=present[:, tf.newaxis] * position,
            yaw=tf.reduce_sum(is_one * turns / folds * phase, axis=1),
        )
        return Objects3D(*(field[tf.newaxis] for field in found))


def _ascend(state: _State, gradient: Poses, rates: Rates, done: tf.Tensor) -> _State:
    """A step of Adam (Kingma and Ba 2015)."""
    number = tf.cast(state.step + 1, tf.float32)
    share = 1.0 - (1.0 - _FINAL_RATE_SHARE) * done

    def move(value, gradient, mean, square, rate):
        mean = _MEAN_DECAY * mean + (1.0 - _MEAN_DECAY) * gradient
        square = _SQUARE_DECAY * square
        square += (1.0 - _SQUARE_DECAY) * tf.square(gradient)
        first = mean / (1.0 - tf.pow(_MEAN_DECAY, number))
        second = square / (1.0 - tf.pow(_SQUARE_DECAY, number))
        value += share * rate * first / (tf.sqrt(second) + _EPSILON)
        return value, mean, square

    moved = map(move, state.poses, gradient, state.mean, state.square, rates)
    poses, mean, square = (Poses(*parts) for parts in zip(*moved, strict=True))
    poses = poses._replace(position=tf.clip_by_value(poses.position, -1.0, 1.0))
    return _State(state.step + 1, poses, mean, square)


def _falling(first: float, last: float, done: tf.Tensor) -> tf.Tensor:
    """From `first` to `last`, geometrically."""
    return first * tf.pow(last / first, done)
