"""Turns that the networks did not think of, accepted where they explain more.

The turn of a cup is seen by its handle alone. The gradient of the likelihood leads to
the right yaw only from close to it; elsewhere it leads to the yaw at which a wrong
handle costs least, whatever the image. So at each training step, one object of each
image is examined: yaws all around the circle are tried, with everything else in the
scene as q has it. If one of them explains the image better than the yaw of q, it takes
its place in the samples and q(yaw) learns it: a wake-phase loss, as in reweighted
wake-sleep (Bornschein and Bengio 2015, section 2.2), but from a proposal that is better
for sure instead of weighted samples of q. Its weight is what the proposal gains, in
nats. If none does, the yaw follows the gradient of the likelihood. The yaws of objects
that are not examined do not learn in this step, nor do their standard deviations: the
KL alone would widen them.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions, replicas
from air_tf.model.air3d import AIR3D
from air_tf.objectives.drawing import draw
from air_tf.structs import Inference3D

# Nats by which a proposal has to explain more.
_MARGIN = 3.0


class Improved(NamedTuple):
    """Result of `improve_yaws`."""

    found: Inference3D  # with the accepted proposals instead of samples of q
    loss: tf.Tensor  # [B], nats, for q(yaw)
    accepted: tf.Tensor  # [B], 1 where the examined object got a better yaw


class Setting(NamedTuple):
    """What one object of a scene has before and behind it. P pixels."""

    rest: tf.Tensor  # [B, T, P, 3], image minus ground minus the other objects
    hidden: tf.Tensor  # [B, T, P, 3], light of other objects that object t can hide
    clear: tf.Tensor  # [B, T, P], what nearer objects leave to see of object t


def settings_of(
    rest: tf.Tensor, alpha: tf.Tensor, light: tf.Tensor, front: tf.Tensor
) -> Setting:
    """The scene without object t, for each t.

    With object t drawn as (alpha', light'), the squared error is the sum of
    (rest + alpha' hidden - light' clear) ** 2.

    Args:
      rest: [B, P, 3], the image minus the ground.
      alpha: [B, T, P], of present objects; else 0.
      light: [B, T, P, 3], of present objects; else 0.
      front: [B, t, s], see `Layers`.
    """
    steps = alpha.shape[1]

    def through(t: int, s: int) -> tf.Tensor:
        return 1.0 - front[:, t, s, tf.newaxis] * alpha[:, s]  # [B, P]

    rests, hiddens, clears = [], [], []
    for t in range(steps):
        others = [s for s in range(steps) if s != t]
        left, hidden = rest, tf.zeros_like(rest)
        clear = tf.ones_like(alpha[:, 0])
        for s in others:
            seen = light[:, s]
            for u in others:
                if u != s:
                    seen *= through(s, u)[..., tf.newaxis]
            left -= seen
            hidden += front[:, s, t, tf.newaxis, tf.newaxis] * seen
            clear *= through(t, s)
        rests.append(left)
        hiddens.append(hidden)
        clears.append(clear)
    return Setting(*(tf.stack(one, axis=1) for one in (rests, hiddens, clears)))


def improve_yaws(
    air: AIR3D,
    found: Inference3D,
    images: tf.Tensor,
    *,
    num_proposals: int,
    likelihood_scale: tf.Tensor | float,
    blur: tf.Tensor | float,
    seed: tf.Tensor,
) -> Improved:
    """Tries yaws for one random object of each image, of those whose yaw can be seen.

    Args:
      air: the model.
      found: samples of q, of all T steps. The count and the kinds are the most
        probable ones of q.
      images: [B, H, W, 3].
      num_proposals: M, yaws tried for the examined object.
      likelihood_scale: sigma.
      blur: of the objects' edges.
      seed: [2] int32.
    """
    before = tf.nest.map_structure(tf.stop_gradient, found)
    drawn = draw(air, images, before, blur)
    layers, rest = drawn.layers, drawn.rest
    batch = tf.shape(rest)[0]
    steps, kinds = layers.alpha.shape[1:3]
    seeds = tf.random.split(seed, 1 + kinds)
    counts = distributions.most_probable_count(before.presence_logits)
    z_pres = distributions.unary_code(counts, steps)
    folds, turns = air.folds
    chosen = tf.one_hot(tf.argmax(before.kind_logits, axis=-1), kinds)
    chosen *= z_pres[..., tf.newaxis]
    # One of the objects whose yaw can be seen, or none.
    can_turn = tf.reduce_sum(chosen * turns, axis=-1)  # [B, T]
    order = can_turn * replicas.uniform([batch, steps], seeds[0], 0.1, 1.0)
    examined = can_turn * tf.one_hot(tf.argmax(order, axis=1), steps)
    alpha = tf.einsum("btkp,btk->btp", layers.alpha, chosen)
    light = tf.einsum("btkpc,btk->btpc", layers.light, chosen)
    others = settings_of(rest, alpha, light, layers.front)
    others = Setting(*(_examined(field, examined) for field in others))
    error = _errors(
        others,
        _examined(alpha, examined)[:, tf.newaxis],
        _examined(light, examined)[:, tf.newaxis],
    )[:, 0]
    kind_of = _examined(chosen, examined)  # [B, K]
    position = _examined(before.position, examined) * air.config.tabletop.reach
    position = tf.repeat(position, num_proposals, axis=0)  # [B M, 2]
    scale = found.q_phase_params.scale
    phases, scales, gains = [], [], []
    for kind in range(kinds):
        phase = found.phase[:, :, kind]
        if not turns[kind]:
            phases.append(phase)
            scales.append(scale[:, :, kind])
            gains.append(tf.zeros([batch, steps]))
            continue
        start = replicas.uniform([batch, 1], seeds[1 + kind])
        shares = (start + tf.range(num_proposals, dtype=tf.float32)) / num_proposals
        tried = 2.0 * math.pi * shares - math.pi  # [B, M]
        yaw = tf.reshape(tried / folds[kind], [-1])
        layer = air.renderer.layers(kind, position, yaw, blur)
        shape = [-1, num_proposals, rest.shape[1]]
        lights = layer.alpha[..., tf.newaxis] * (layer.colour - air.ground.value)
        errors = _errors(
            others, tf.reshape(layer.alpha, shape), tf.reshape(lights, [*shape, 3])
        )  # [B, M]
        best = tf.one_hot(tf.argmin(errors, axis=1), num_proposals)
        gain = 0.5 * (error - tf.reduce_sum(best * errors, axis=1))
        gain = kind_of[:, kind] * gain / tf.square(likelihood_scale)
        gain = tf.where(gain > _MARGIN, gain, 0.0)[:, tf.newaxis] * examined  # [B, T]
        gains.append(gain)
        wanted = tf.reduce_sum(best * tried, axis=1, keepdims=True)
        phase = tf.where(gain > 0.0, wanted, phase)
        learns = (examined > 0.0) & (gain == 0.0)
        phases.append(_with_gradient_where(learns, phase))
        scales.append(_with_gradient_where(learns, scale[:, :, kind]))
    gain, phase = tf.stack(gains, axis=2), tf.stack(phases, axis=2)  # [B, T, K]
    params = found.q_phase_params._replace(scale=tf.stack(scales, axis=2))
    turn = tf.stop_gradient(phase) - found.q_phase_params.loc
    turn -= 2.0 * math.pi * tf.stop_gradient(tf.round(turn / (2.0 * math.pi)))
    return Improved(
        found=found._replace(phase=phase, q_phase_params=params),
        loss=tf.reduce_sum(gain * 0.5 * tf.square(turn), axis=[1, 2]),
        accepted=tf.reduce_sum(tf.cast(gain > 0.0, tf.float32), axis=[1, 2]),
    )


def _with_gradient_where(condition: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.where(condition, x, tf.stop_gradient(x))


def _examined(values: tf.Tensor, examined: tf.Tensor) -> tf.Tensor:
    """The values [B, T, ...] of the examined object, or 0: [B, ...]."""
    shape = [-1, values.shape[1]] + [1] * (len(values.shape) - 2)
    return tf.reduce_sum(values * tf.reshape(examined, shape), axis=1)


def _errors(others: Setting, alpha: tf.Tensor, light: tf.Tensor) -> tf.Tensor:
    """Squared errors of the image with one object drawn in M ways: [B, M].

    Args:
      others: of this object, without the axis T.
      alpha: [B, M, P].
      light: [B, M, P, 3].
    """
    hidden = others.hidden[:, tf.newaxis]
    clear = others.clear[:, tf.newaxis, :, tf.newaxis]
    left = others.rest[:, tf.newaxis]
    left = left + alpha[..., tf.newaxis] * hidden - light * clear
    return tf.reduce_sum(tf.square(left), axis=[2, 3])
