"""The bound of 3D scenes with the count and the kinds summed out exactly.

The renderer draws every attend step as every kind. For samples of positions and yaws,

    E_n = log (sum over kinds of p(x | kinds, z) / K^n) + log p(n)
          - sum over t <= n of KL_t

is the log evidence of the count n, and the posterior of the count and of the kinds
follows. It weights the gradients of positions and yaws: the right kind pulls, while a
mean over q(kind) would repel from the wrong ones. q(n) and q(kind) learn the posterior
by cross-entropy, as q(n) does in `air_tf.objectives.count_posterior`: the gradient of
the bound vanishes where differences are hundreds of nats.

At first, objects are drawn with soft edges, the likelihood is wide, and counts above
zero keep a part of the weight although they explain less: networks learn poses only
from objects that are there.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.air3d import AIR3D
from air_tf.model.likelihood import log_normal_constant
from air_tf.objectives.annealing import annealed
from air_tf.objectives.assignments import MAX_SUMMED, squared_errors
from air_tf.objectives.bound import BoundEstimate
from air_tf.objectives.drawing import Drawn, draw
from air_tf.objectives.masks import mask_error
from air_tf.objectives.objective import Estimate, Objective
from air_tf.objectives.yaw_proposals import improve_yaws
from air_tf.renderers.occlusion import compose_light
from air_tf.structs import Inference3D

# Differences of E_n are divided by this while counts are explored.
_EXPLORATION_NATS = 30.0


class Output3D(NamedTuple):
    """Samples of q, and the canvas of the most probable objects."""

    inference: Inference3D
    canvas: tf.Tensor  # [B, H, W, 3]


class Posterior(NamedTuple):
    """What the samples of positions and yaws say of counts and kinds."""

    evidence: tf.Tensor  # [B, T + 1], E_n
    kinds: list[tf.Tensor]  # for n = 1 .. T: [B, n, K], p(kind_t | x, n, z)


def posterior(
    drawn: Drawn, log_prior: tf.Tensor, likelihood_scale: tf.Tensor | float
) -> Posterior:
    """The posterior of counts and kinds, given samples of positions and yaws.

    Args:
      drawn: see `draw`.
      log_prior: log p(n), [T + 1].
      likelihood_scale: sigma.
    """
    layers = drawn.layers
    steps, kinds = layers.alpha.shape[1:3]
    batch = tf.shape(drawn.rest)[0]
    constant = log_normal_constant(3 * drawn.rest.shape[1], likelihood_scale)
    evidence: list[tf.Tensor] = []
    kind_posteriors: list[tf.Tensor] = []
    fixed: list[tf.Tensor] = []  # [B, K], the kinds of the first objects of many
    for n in range(steps + 1):
        while n - len(fixed) > MAX_SUMMED:
            most = tf.argmax(kind_posteriors[-1][:, len(fixed)], axis=-1)
            fixed.append(tf.one_hot(most, kinds))
        errors = squared_errors(drawn.rest, layers, n, fixed)
        log_likelihood = constant - 0.5 * errors / tf.square(likelihood_scale)
        flat = tf.reshape(log_likelihood, [batch, -1])
        value = tf.reduce_logsumexp(flat, axis=1) - n * tf.math.log(float(kinds))
        if n > 0:
            shares = tf.reshape(tf.nn.softmax(flat, axis=1), tf.shape(log_likelihood))
            free = n - len(fixed)
            of_kinds = [
                tf.reduce_sum(
                    shares, axis=[1 + other for other in range(free) if other != t]
                )
                for t in range(free)
            ]
            of_kinds = tf.stop_gradient(tf.stack([*fixed, *of_kinds], axis=1))
            kind_posteriors.append(of_kinds)
            value -= tf.reduce_sum(drawn.kl_position[:, :n], axis=1)
            value -= tf.reduce_sum(of_kinds * drawn.kl_phase[:, :n], axis=[1, 2])
        evidence.append(value)
    return Posterior(tf.stack(evidence, axis=1) + log_prior, kind_posteriors)


def plain_bound(
    air: AIR3D,
    images: tf.Tensor,
    *,
    seed: tf.Tensor,
    max_objects: int,
    fitted_count: bool = False,
) -> tuple[BoundEstimate, Inference3D]:
    """The plain bound, with one sample of positions and yaws for each image.

    Args:
      air: the model.
      images: [B, H, W, 3], float32 in [0, 1].
      seed: [2] int32.
      max_objects: T.
      fitted_count: whether p(n) is that fitted to the training images.

    Returns:
      The bound, and the samples of q.
    """
    found = air(images, sample=True, seed=seed, max_objects=max_objects)
    prior = air.count_prior(max_objects, fitted=fitted_count)
    log_prior = tf.math.log_softmax(prior.logits)
    drawn = draw(air, images, found, air.config.blur)
    return elbo(found, drawn, log_prior, air.config.likelihood_scale), found


class Estimator(Objective):
    """Learns from the posterior of counts and kinds. See the module."""

    FIGURES = ("training_loss", "mask_error", "accepted_yaws")

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        found = air(images, sample=True, seed=seed, loop=self._loop)
        settings, config = self.settings, air.config
        prior = tf.math.log_softmax(air.count_prior().logits)
        blur, sigma, explore = config.blur, config.likelihood_scale, 0.0
        if not plain:
            blur, sigma = annealed(settings, config, progress)
            explore = tf.clip_by_value(
                2.5 * (1.0 - progress / settings.explore_share), 0.0, 1.0
            )
        wake_loss, turned = tf.zeros([tf.shape(images)[0]]), 0.0
        if settings.yaw_proposals and not plain:
            found, wake_loss, turned = improve_yaws(
                air,
                found,
                images,
                num_proposals=settings.yaw_proposals,
                likelihood_scale=sigma,
                blur=blur,
                seed=tf.random.experimental.stateless_fold_in(seed, 0),
            )
        drawn = draw(air, images, found, blur)
        given = posterior(drawn, prior, sigma)
        best = tf.stop_gradient(tf.nn.softmax(given.evidence))  # [B, T + 1]
        bound = elbo(found, drawn, prior, sigma)
        at_least = tf.cumsum(best, axis=1, reverse=True)[:, 1:]
        kinds = _weighted_kinds(given, best)
        alpha = tf.einsum("btkp,btk->btp", drawn.layers.alpha, kinds)
        light = tf.einsum("btkpc,btk->btpc", drawn.layers.light, kinds)
        canvas = compose_light(alpha, light, drawn.layers.front, at_least)
        canvas = air.ground.value + tf.reshape(canvas, tf.shape(images))
        output = Output3D(found, canvas)
        if plain:
            return Estimate(bound, output)
        weights = explore * _exploration(given.evidence) + (1.0 - explore) * best
        loss = -tf.reduce_sum(weights * given.evidence, axis=1)
        log_counts = distributions.log_count_probs(found.presence_logits)
        log_kinds = tf.nn.log_softmax(found.kind_logits)
        counts = -tf.reduce_sum(best * log_counts, axis=1)
        of_kinds = -sum(
            weights[:, n] * tf.reduce_sum(one * log_kinds[:, :n], axis=[1, 2])
            for n, one in enumerate(given.kinds, start=1)
        )
        known = tf.cumsum(weights, axis=1, reverse=True)[:, 1:]
        of_masks = mask_error(found, alpha, drawn.depth, z_pres=at_least, weights=known)
        auxiliary = settings.posterior_loss_weight * (counts + of_kinds)
        auxiliary += settings.mask_loss_weight * of_masks
        return Estimate(
            bound=bound._replace(loss=loss),
            output=output,
            auxiliary_loss=auxiliary + wake_loss,
            figures={
                "training_loss": loss + auxiliary + wake_loss,
                "mask_error": of_masks,
                "accepted_yaws": turned,
            },
        )


def _weighted_kinds(given: Posterior, counts: tf.Tensor) -> tf.Tensor:
    """p(kind_t | x, z), [B, T, K], with the count summed out."""
    steps = len(given.kinds)
    total = 0.0
    for n, one in enumerate(given.kinds, start=1):
        padded = tf.pad(one, [[0, 0], [0, steps - n], [0, 0]])
        total += (counts[:, n] + 1e-9)[:, tf.newaxis, tf.newaxis] * padded
    return total / tf.reduce_sum(total, axis=-1, keepdims=True)


def _exploration(evidence: tf.Tensor) -> tf.Tensor:
    """Weights of counts: the first object is always tried, more if they help."""
    one = tf.one_hot(1, evidence.shape[1])
    softened = tf.nn.softmax(tf.stop_gradient(evidence) / _EXPLORATION_NATS)
    return 0.5 * one + 0.5 * softened


def elbo(
    found: Inference3D,
    drawn: Drawn,
    log_prior: tf.Tensor,
    likelihood_scale: tf.Tensor | float,
) -> BoundEstimate:
    """The plain bound: expectations over q(n) and q(kind), both summed out.

    Args:
      found: samples of q.
      drawn: see `draw`.
      log_prior: log p(n), [T + 1].
      likelihood_scale: sigma.
    """
    log_counts = distributions.log_count_probs(found.presence_logits)
    counts = tf.exp(log_counts)  # [B, T + 1]
    at_least = tf.cumsum(counts, axis=1, reverse=True)[:, 1:]  # [B, T]
    log_kinds = tf.nn.log_softmax(found.kind_logits)
    kinds = tf.exp(log_kinds)  # [B, T, K]
    steps, number = kinds.shape[1:]
    each = tf.unstack(kinds, axis=1)
    errors = tf.stack(
        [
            squared_errors(drawn.rest, drawn.layers, n, each[:n])
            for n in range(steps + 1)
        ],
        axis=1,
    )  # [B, T + 1], mean over q(kind)
    constant = log_normal_constant(3 * drawn.rest.shape[1], likelihood_scale)
    log_likelihoods = constant - 0.5 * errors / tf.square(likelihood_scale)
    log_likelihood = tf.reduce_sum(counts * log_likelihoods, axis=1)
    kl_num_objects = tf.reduce_sum(counts * (log_counts - log_prior), axis=1)
    kl_kind = tf.reduce_sum(
        kinds * (log_kinds + tf.math.log(float(number)) + drawn.kl_phase), axis=2
    )
    kl_where = tf.reduce_sum(at_least * drawn.kl_position, axis=1)
    kl_what = tf.reduce_sum(at_least * kl_kind, axis=1)
    value = log_likelihood - kl_num_objects - kl_where - kl_what
    return BoundEstimate(
        loss=-value,
        elbo=value,
        log_likelihood=log_likelihood,
        kl_num_objects=kl_num_objects,
        kl_where=kl_where,
        kl_what=kl_what,
        mean_count=tf.reduce_sum(at_least, axis=1),
    )
