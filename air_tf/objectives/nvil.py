"""Neural variational inference and learning (Mnih and Gregor 2014, section 2.3).

The score function estimator, with what can be foreseen of the learning signal taken
off it: a baseline learned from the image and what is drawn so far (section 2.3.1),
and running moments that centre and scale the rest (section 2.3.2). That is how Eslami
et al. 2016, section 2.3, train AIR.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.objectives.bound import Objective
from air_tf.objectives.reinforce import Sampled, learning_signal, score_function


class NVIL(NamedTuple):
    objective: Objective
    baseline_loss: tf.Tensor  # [B], squared error of the baseline


def nvil(
    terms: Sampled, *, baseline: tf.Tensor, mean: tf.Tensor, scale: tf.Tensor
) -> NVIL:
    """The score function estimator with a baseline.

    Args:
      terms: of the bound, from `sampled`.
      baseline: b_t, [B, T], in nats, foreseen from what was known before step t.
      mean: of what is not foreseen, in nats.
      scale: what it is divided by, in nats, at least 1. The gradient of presence
        shrinks by it; at 1 the estimator is unbiased.
    """
    unforeseen = (learning_signal(terms) - baseline - mean) / scale
    return NVIL(
        objective=score_function(terms, unforeseen),
        baseline_loss=tf.reduce_sum(terms.decided * tf.square(unforeseen), axis=1),
    )
