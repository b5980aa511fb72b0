"""Neural variational inference and learning (Mnih and Gregor 2014, section 2.3).

The score-function estimator with a learning signal of lower variance. A baseline
network predicts the signal from the image and the canvas drawn so far; its value is
subtracted (section 2.3.1). The difference is centred and scaled by running moments
(section 2.3.2). Eslami et al. 2016, section 2.3, train AIR with this estimator.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.objectives.baseline import Baseline
from air_tf.objectives.bound import BoundEstimate
from air_tf.objectives.objective import Estimate, Objective
from air_tf.objectives.reinforce import (
    Sampled,
    learning_signal,
    sampled,
    score_function,
)


class NVIL(NamedTuple):
    """Result of `nvil`."""

    bound: BoundEstimate
    baseline_loss: tf.Tensor  # [B], squared centred and scaled signal, summed over t


def nvil(
    terms: Sampled, *, baseline: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor
) -> NVIL:
    """The score-function estimator with a baseline.

    Args:
      terms: of the bound, from `sampled`.
      baseline: b_t in nats, [B, T], predicted from inputs known before attend step t.
      mean: running mean of R_t - b_t, in nats.
      scale: divides R_t - b_t - mean, in nats, and so the score-function term. With
        1, the estimator is unbiased.
    """
    centred = (learning_signal(terms) - baseline - mean) / scale
    return NVIL(
        bound=score_function(terms, centred),
        baseline_loss=tf.reduce_sum(terms.decided * tf.square(centred), axis=1),
    )


class Estimator(Objective):
    """NVIL; the baseline network has its own optimizer."""

    def __init__(self, config):
        super().__init__(config)
        self.network_learning_rate = self.settings.baseline_learning_rate
        self.baseline = Baseline(
            config.model.image_shape, config.model.max_objects, self.settings
        )

    def estimate(self, air, images, *, seed, progress=0.0, plain=False):
        del progress
        p = air.generative.densities()
        output = self._until_absent(air, images, seed)
        terms = sampled(output, images, p)
        canvases = p.composition.prefix_canvases(
            output.ground, output.object_image, terms.z_pres
        )  # [B, T + 1, H, W, C]
        values, scale = self.baseline(images, canvases[:, :-1]), 1.0
        if not plain:
            # Mnih and Gregor 2014, algorithm 1, also updates the moments before use.
            error = learning_signal(terms) - tf.stop_gradient(values)
            self.baseline.update(error, terms.decided)
            scale = self.baseline.scale
        result = nvil(terms, baseline=values, mean=self.baseline.mean, scale=scale)
        return Estimate(result.bound, output, network_loss=result.baseline_loss)
