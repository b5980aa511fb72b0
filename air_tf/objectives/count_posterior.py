"""A cross-entropy loss that trains q(n) on the posterior of the count.

The samples of all T attend steps determine how well each count explains the image.
With

    E_n = log p(x | z_1 .. z_n) + log p(n) - sum over t <= n of (KL_where_t + KL_what_t)

the bound is the sum over n of q(n) (E_n - log q(n)). For given samples, its maximum is
at q(n) = softmax(E_n). The gradient of the bound with respect to the logit of a count
is proportional to q(n). It vanishes for counts whose probability has become small,
for example before the decoder has learnt to draw: then every image is counted 0, and
stays so. The gradient of the cross-entropy from softmax(E_n) to q(n) is the difference
of the two, which does not vanish. This is the wake-phase loss of reweighted wake-sleep
(Bornschein and Bengio 2015, section 2.2), for the one latent that is summed out.

The presence logit also says where the difference form looks next. Where every image
has an n-th object, the count says that the n-th attend step found one, wherever it
looked, and the search learns nothing. `object_loss` asks every step alone instead.
"""

import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.likelihood import count_bounds
from air_tf.structs import AIROutput, Densities


def count_loss(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """Cross-entropy from softmax(E_n) to q(n), in nats: [B].

    Only q(n) gets a gradient; in recurrent inference also the samples of earlier
    attend steps, which q(n) depends on. Arguments as for `count_bounds`.
    """
    posterior = tf.nn.softmax(tf.stop_gradient(count_bounds(output, images, p)))
    log_probs = distributions.log_count_probs(output.inference.presence_logits)
    return -tf.reduce_sum(posterior * log_probs, axis=1)


def object_loss(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """Cross-entropy of every attend step, to whether its object pays, in nats: [B].

    The object of step t pays with the probability sigmoid(E_t - E_{t-1}). Arguments and
    gradient as for `count_loss`.
    """
    bounds = tf.stop_gradient(count_bounds(output, images, p))
    pays = tf.sigmoid(bounds[:, 1:] - bounds[:, :-1])  # [B, T]
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=pays, logits=output.inference.presence_logits
    )
    return tf.reduce_sum(losses, axis=1)


def without_count_gradient(output: AIROutput) -> AIROutput:
    """The same output without a gradient through q(n)."""
    logits = tf.stop_gradient(output.inference.presence_logits)
    return output._replace(inference=output.inference._replace(presence_logits=logits))
