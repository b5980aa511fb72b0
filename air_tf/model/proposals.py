"""Other explanations of an image, accepted where they are better.

The attend loop is greedy: what it sees first, it explains first. Most wrong counts are
images in which one window covers two objects that are close to each other, although
the bound of the explanation with two objects is higher by tens of nats. So images that
are explained badly are explained again, each time with the first attend step at another
likely cell, and the explanation with the highest bound is kept. With revisions, the
objects of each are explained again once before that, one after the other, each from
what the others leave (`air_tf.model.revision`); and then those of the best: at first
where an object is most likely, then where the image is explained least, then with one
object less, and so on.

The loop gives posterior means. Their bound is too high, as

    E_q[log p(x | z)]  ~  log p(x | mean of q) - 1/2 sum over d of s_d^2 H_d

with H_d the curvature of -log p(x | z) along latent d, and s_d the standard deviation
of q. Where q is at the optimum of the bound, 1 / s_d^2 = 1 / p_d^2 + H_d, with p_d the
standard deviation of the prior. So the term is 1/2 sum over d of (1 - s_d^2 / p_d^2):
half a nat for each number that the image determines. Without it, an object costs about
ten nats too little, and objects are split in two.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from air_tf.config import AIRConfig, DifferenceConfig
from air_tf.model import distributions
from air_tf.model.likelihood import count_bounds
from air_tf.structs import AIROutput, Densities, NormalParams

# Explains images [M, H, W, C] with the first steps at cells [M], int32.
Explain = Callable[[tf.Tensor, tf.Tensor], AIROutput]


# Of revisions, in the order in which they take turns.
KINDS = ("likely", "least_explained", "merge")


class Revise(Protocol):
    """Explains one object again, see `air_tf.model.revision.revise`."""

    def __call__(
        self,
        images: tf.Tensor,
        output: AIROutput,
        position: int,
        *,
        kind: str,
    ) -> AIROutput: ...


# The K likely cells after the best one: images and grounds to [M, K] int32.
OtherCells = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# What a later explanation must gain, in nats. The same objects, found in another order,
# have the same bound but for its last digits, which depend on the size of the batch.
_LEAST_GAIN = 0.1


class Explained(NamedTuple):
    """Explanations of images, with the bound of every count."""

    output: AIROutput
    bounds: tf.Tensor  # [B, T + 1], E_n


def bounds_of_means(output: AIROutput, images: tf.Tensor, p: Densities) -> tf.Tensor:
    """E_n of posterior means for n = 0 .. T, corrected as said above: [B, T + 1] nats.

    The KL of the ground is left out, because it is the same for all explanations.

    Args:
      output: of `AIR.call`, without samples.
      images: [B, H, W, C].
      p: the generative model, from `Generative.densities`.
    """
    inference = output.inference
    lost = _spread(inference.q_where_params, p.where_prior)
    lost += _spread(inference.q_what_params, p.what_prior)
    lost = tf.pad(tf.cumsum(lost, axis=1), [[0, 0], [1, 0]])  # [B, T + 1]
    return count_bounds(output, images, p) - lost


def _spread(q: NormalParams, prior) -> tf.Tensor:
    """What the samples of q lose in likelihood against its mean: [B, T] nats."""
    determined = 1.0 - tf.square(q.scale / prior.stddev())
    return 0.5 * tf.reduce_sum(tf.maximum(determined, 0.0), axis=-1)


class Proposals(keras.layers.Layer):
    """Explains images again, if their explanation leaves more than usual.

    Args:
      config: of the model.
      form: its settings of the difference form.
    """

    def __init__(self, config: AIRConfig, form: DifferenceConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        # A window of the mean size of p(z_where), moved by a quarter of its size.
        share = config.where_prior_loc[0]
        rows, columns = (_windows(size, share) for size in config.image_shape[:2])
        self._rows, self._columns = rows, columns
        self._form = form

    def build(self, input_shape=None):
        # Until it is fitted, no image is explained again.
        self._usual_error = self.add_weight(
            name="usual_error",
            shape=(),
            initializer=keras.initializers.Constant(np.finfo(np.float32).max),
            trainable=False,
        )
        self.built = True

    def set_usual_error(self, errors: np.ndarray) -> None:
        """Fits what is examined to the errors of training images, [N]."""
        self._usual_error.assign(np.quantile(errors, 1.0 - self._form.examined_share))

    def errors(self, canvas: tf.Tensor, images: tf.Tensor, p: Densities) -> tf.Tensor:
        """The largest error of a window of the size of an object: [B] nats.

        An error in one place may be an object that is explained badly; the same error
        all over the image is noise.
        """
        squares = tf.reduce_sum(tf.square(images - canvas), axis=3)  # [B, H, W]
        sums = tf.einsum("bhw,yh,xw->byx", squares, self._rows, self._columns)
        return tf.reduce_max(sums, axis=[1, 2]) / (2.0 * tf.square(p.likelihood_scale))

    def improve(
        self,
        output: AIROutput,
        images: tf.Tensor,
        p: Densities,
        *,
        explain: Explain,
        revise: Revise,
        other_cells: OtherCells,
        number: int,
        gather: bool,
    ) -> tuple[AIROutput, tf.Tensor]:
        """Replaces explanations that leave more than usual by better ones.

        Args:
          output: of `AIR.call`, without samples.
          images: [B, H, W, C].
          p: the generative model, from `Generative.densities`.
          explain: see `Explain`.
          revise: see `Revise`.
          other_cells: see `OtherCells`.
          number: K, at least 1.
          gather: whether only the examined images are explained again. Otherwise all
            are if one is examined, with the same results, for runtimes that do not
            support tensors whose size depends on others.

        Returns:
          The explanations with the most probable counts; and log q(n), [B, T + 1]: of
          images that were examined, from the best bounds.
        """
        log_probs = distributions.log_count_probs(output.inference.presence_logits)
        examined = self.errors(output.canvas, images, p) > self._usual_error  # [B]
        few, first = images, output
        if gather:
            index = tf.where(examined)[:, 0]  # [M]
            few, first = tf.nest.map_structure(
                lambda x: tf.gather(x, index), (images, output)
            )
        best = Explained(first, bounds_of_means(first, few, p))
        cells = other_cells(few, first.ground)  # [M, K]

        objects = output.inference.z_pres.shape[1]

        def revised(best: Explained, step: int) -> Explained:
            turn, position = divmod(step, objects)
            kind = KINDS[turn % len(KINDS)]
            other = revise(few, _with_counts(best, p), position, kind=kind)
            return _better(best, Explained(other, bounds_of_means(other, few, p)))

        def body(step: tf.Tensor, best: Explained) -> tuple[tf.Tensor, Explained]:
            output = explain(few, tf.gather(cells, step, axis=1))
            other = Explained(output, bounds_of_means(output, few, p))
            # Compared as good as it gets: two touching objects may both be drawn
            # badly until each is explained by what the other leaves.
            for again in range(min(objects, self._form.revisions)):
                other = revised(other, again)
            return step + 1, _better(best, other)

        _, best = tf.while_loop(
            lambda step, _: tf.logical_and(step < number, tf.reduce_any(examined)),
            body,
            (tf.constant(0), best),
            maximum_iterations=number,
        )
        # Not a second loop: TensorFlow's optimizer of loops breaks it.
        for step in range(self._form.revisions):
            best = revised(best, step)
        better = _with_counts(best, p)
        new_probs = tf.nn.log_softmax(best.bounds / self._form.bound_deviation)
        old, new = (output, log_probs), (better, new_probs)
        if not gather:
            return tf.nest.map_structure(_where(examined), new, old)
        batch = tf.size(examined)
        place = batch - 1 + tf.cumsum(tf.cast(examined, tf.int32))
        row = tf.where(examined, place, tf.range(batch))  # [B]
        return tf.nest.map_structure(
            lambda x, y: tf.gather(tf.concat([x, y], axis=0), row), old, new
        )


def _with_counts(best: Explained, p: Densities) -> AIROutput:
    """The explanation, with the objects of its best count present."""
    output = best.output
    steps = output.inference.z_pres.shape[1]
    counts = tf.argmax(best.bounds, axis=1, output_type=tf.int32)
    z_pres = distributions.unary_code(counts, steps)
    return output._replace(
        inference=output.inference._replace(z_pres=z_pres),
        canvas=p.composition.compose(output.ground, output.object_image, z_pres),
    )


def _better(best: Explained, other: Explained) -> Explained:
    """The explanation of the higher bound; and for every count, the higher bound.

    So the most probable count is that of the explanation. The other one has to be
    better by more than rounding.
    """
    other = other._replace(bounds=other.bounds - _LEAST_GAIN)
    wins = tf.reduce_max(other.bounds, axis=1) > tf.reduce_max(best.bounds, axis=1)
    trips = best.output.inference.num_trips + other.output.inference.num_trips
    output = tf.nest.map_structure(_where(wins), other.output, best.output)
    return Explained(
        output._replace(inference=output.inference._replace(num_trips=trips)),
        tf.maximum(best.bounds, other.bounds),
    )


def _where(condition: tf.Tensor) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Chooses between rows: [B] bool."""

    def choose(x, y):
        return tf.where(tf.reshape(condition, [-1] + [1] * (len(x.shape) - 1)), x, y)

    return choose


def _windows(size: int, share: float) -> np.ndarray:
    """Windows along an axis of `size` pixels, which overlap: [G, size], 1 inside."""
    side = min(size, max(1, round(share * size)))
    number = 1 + -(-(size - side) // max(1, side // 4))
    first = np.round(np.linspace(0, size - side, number))[:, np.newaxis]
    pixel = np.arange(size)
    return ((pixel >= first) & (pixel < first + side)).astype(np.float32)
