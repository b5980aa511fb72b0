"""The paper's estimator for 3D scenes (Eslami et al. 2016, sections 2.3 and 3.3).

The count and the kinds are sampled, and have the gradient of NVIL (Mnih and Gregor
2014, see `air_tf.objectives.nvil`); positions and yaws are reparameterised, and their
gradient goes through the renderer: by finite differences with a black box.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.model import distributions, replicas
from air_tf.model.air3d import AIR3D
from air_tf.model.likelihood import log_normal_constant
from air_tf.objectives.annealing import annealed
from air_tf.objectives.baseline import Baseline
from air_tf.objectives.drawing import draw
from air_tf.objectives.kind_enumeration import Output3D
from air_tf.objectives.masks import mask_error
from air_tf.objectives.nvil import nvil
from air_tf.objectives.objective import Estimate, Objective
from air_tf.objectives.reinforce import Sampled, learning_signal
from air_tf.renderers.occlusion import compose_light
from air_tf.structs import Inference3D


class SampledScene(NamedTuple):
    """A sample of all latents, drawn."""

    terms: Sampled  # of the bound
    log_kinds: tf.Tensor  # [B, T], log q of the kinds; 0 where no object is present
    alpha: tf.Tensor  # [B, T, P], of objects of these kinds
    depth: tf.Tensor  # [B, T]
    canvas: tf.Tensor  # [B, H, W, 3]


def sample_scene(
    air: AIR3D,
    images: tf.Tensor,
    found: Inference3D,
    *,
    seed: tf.Tensor,
    likelihood_scale: tf.Tensor | float,
    blur: tf.Tensor | float,
    given: tf.Tensor | bool = False,
) -> SampledScene:
    """Samples kinds, and draws the objects of samples of the other latents.

    The decision of an attend step is whether there is one more object, and its kind.

    Args:
      air: the model.
      images: [B, H, W, 3].
      found: samples of q, of all T steps.
      seed: [2] int32, of the kinds; not that of `found`, whose noise it would repeat.
      likelihood_scale: sigma.
      blur: of the objects' edges.
      given: [] bool, whether the first object is present, and no decision of q.
    """
    first = tf.one_hot(0, found.z_pres.shape[1]) * tf.cast(given, tf.float32)  # [T]
    found = found._replace(z_pres=tf.maximum(found.z_pres, first))
    z_pres, kinds = found.z_pres, found.kind_logits.shape[2]
    drawn = draw(air, images, found, blur)
    log_kinds = tf.nn.log_softmax(found.kind_logits)
    uniform = replicas.uniform(tf.shape(log_kinds), seed, 1e-7, 1.0)
    # The largest of logits with Gumbel noise is a sample.
    noisy = log_kinds - tf.math.log(-tf.math.log(uniform))
    chosen = tf.one_hot(tf.argmax(noisy, axis=-1), kinds)  # [B, T, K]
    alpha = tf.einsum("btkp,btk->btp", drawn.layers.alpha, chosen)
    light = tf.einsum("btkpc,btk->btpc", drawn.layers.light, chosen)
    canvas = compose_light(alpha, light, drawn.layers.front, z_pres)  # [B, P, 3]
    error = tf.reduce_sum(tf.square(drawn.rest - canvas), axis=[1, 2])
    constant = log_normal_constant(3 * drawn.rest.shape[1], likelihood_scale)
    before = tf.concat([tf.ones_like(z_pres[:, :1]), z_pres[:, :-1]], axis=1)
    presence = distributions.presence(found.presence_logits).log_prob(z_pres)
    presence *= 1.0 - first
    kind = z_pres * tf.reduce_sum(chosen * log_kinds, axis=2)
    phase = tf.reduce_sum(chosen * drawn.kl_phase, axis=2)
    count = tf.cast(tf.reduce_sum(z_pres, axis=1), tf.int32)
    log_prior = tf.math.log_softmax(air.count_prior(z_pres.shape[1]).logits)
    terms = Sampled(
        log_likelihood=constant - 0.5 * error / tf.square(likelihood_scale),
        log_count_prior=tf.gather(log_prior, count),
        decided=before,
        log_decision=before * presence + kind,
        kl_where=z_pres * drawn.kl_position,
        kl_what=z_pres * (phase + tf.math.log(float(kinds))),
        z_pres=z_pres,
    )
    canvas = air.ground.value + tf.reshape(canvas, tf.shape(images))
    return SampledScene(terms, kind, alpha, drawn.depth, canvas)


class Estimator(Objective):
    """NVIL for count and kind; the baseline network has its own optimizer."""

    FIGURES = ("mask_error",)

    def __init__(self, config):
        super().__init__(config)
        self.network_learning_rate = self.settings.baseline_learning_rate
        self.baseline = Baseline(
            config.model.image_shape, config.model.max_objects, self.settings
        )

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        found = air(images, sample=True, seed=seed, loop=self._loop)
        blur, sigma, given = air.config.blur, air.config.likelihood_scale, False
        if not plain:
            given = tf.convert_to_tensor(progress < self.settings.given_share)
            blur, sigma = annealed(self.settings, air.config, progress)
        scene = sample_scene(
            air,
            images,
            found,
            seed=tf.random.experimental.stateless_fold_in(seed, 0),
            likelihood_scale=sigma,
            blur=blur,
            given=given,
        )
        terms, steps = scene.terms, found.z_pres.shape[1]
        # The canvas before a step is not drawn: the baseline sees only the image.
        empty = tf.tile(air.ground.value[tf.newaxis, tf.newaxis], [1, steps, 1, 1, 1])
        values, scale = self.baseline(images, empty), 1.0
        if not plain:
            error = learning_signal(terms) - tf.stop_gradient(values)
            self.baseline.update(error, terms.decided)
            scale = self.baseline.scale
        result = nvil(terms, baseline=values, mean=self.baseline.mean, scale=scale)
        # A decision is a count and a kind; the terms of the bound tell them apart.
        log_kinds = tf.reduce_sum(scene.log_kinds, axis=1)
        bound = result.bound._replace(
            kl_num_objects=result.bound.kl_num_objects - log_kinds,
            kl_what=result.bound.kl_what + log_kinds,
        )
        output = Output3D(found, scene.canvas)
        if plain:
            return Estimate(bound, output, network_loss=result.baseline_loss)
        of_masks = mask_error(
            found,
            scene.alpha,
            scene.depth,
            z_pres=terms.z_pres,
            weights=terms.z_pres,
        )
        return Estimate(
            bound,
            output,
            auxiliary_loss=self.settings.mask_loss_weight * of_masks,
            network_loss=result.baseline_loss,
            figures={"mask_error": of_masks},
        )
