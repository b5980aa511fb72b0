"""Attend, Infer, Repeat (Eslami et al. 2016, arXiv 1603.08575).

The generative story, p(x, z):

    n ~ Geometric truncated to {0 .. T}              how many objects
    z_where_t ~ Normal, z_what_t ~ Normal, t <= n    where each is, how it looks
    canvas = sum over t <= n of place(decode(z_what_t), z_where_t)
    x ~ Normal(canvas, sigma^2)                      each pixel by itself

and its inference, q(z | x), goes through the objects one by one
(`air_tf.model.attend`). Both are fitted by the evidence lower bound

    ELBO = E_q[log p(x | z) + log p(n) - log q(n)
               - sum over t <= n of (KL_where_t + KL_what_t)]  <=  log p(x),

whose estimators are in `air_tf.objectives`.

The priors that training uses are means to an end: p(n) falls steeply, so that an
object has to pay. Scenes are generated from p(n) as it is fitted to the training
images afterwards (`air_tf.training.fit_priors`).
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from air_tf.config import AIRConfig
from air_tf.errors import InputError
from air_tf.images import check_images
from air_tf.model import attend, distributions, networks, spatial
from air_tf.model.difference import DifferenceAttend
from air_tf.model.recurrent import RecurrentAttend
from air_tf.structs import AIROutput, Densities, NormalParams, Scenes

_ATTEND = {"recurrent": RecurrentAttend, "difference": DifferenceAttend}

# A drawn object ends where its pixels fall below this intensity.
BOX_THRESHOLD = 0.1


@keras.saving.register_keras_serializable(package="air_tf")
class AIR(keras.Model):
    """Explains images as a variable number of objects.

    Args:
      config: sizes, priors and likelihood; `AIRConfig()` if omitted.

    Raises:
      InputError: for a setting that can't work, naming it.
    """

    def __init__(self, config: AIRConfig | None = None, **kwargs):
        # Images stay float32 under mixed precision; layers cast for themselves.
        super().__init__(autocast=False, **kwargs)
        self.config = config or AIRConfig()
        self.attend = _ATTEND[self.config.inference](
            self.config, dtype=self.dtype_policy, name="attend"
        )
        self.decoder = networks.GlimpseDecoder(
            hidden_units=self.config.decoder_units,
            glimpse_shape=(*self.config.glimpse_size, self.config.image_shape[2]),
            output_bias=self.config.decoder_bias,
            dtype=self.dtype_policy,
            name="decoder",
        )
        self.build((None, *self.config.image_shape))

    def build(self, input_shape):
        self.attend.build(input_shape)
        self.decoder.build((None, self.config.z_what_size))
        probs = self.count_prior().probs_parameter()
        where = [self.config.where_prior_loc, self.config.where_prior_scale]
        # Those of training, until they are fitted.
        self._fitted_count_probs = self.add_weight(
            name="fitted_count_probs",
            shape=probs.shape,
            initializer=lambda shape, dtype=None: tf.cast(probs, dtype),
            trainable=False,
        )
        self._fitted_where = self.add_weight(
            name="fitted_where",
            shape=(2, 3),
            initializer=lambda shape, dtype=None: tf.constant(where, dtype),
            trainable=False,
        )
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        return cls(AIRConfig.from_dict(config.pop("config")), **config)

    # p(x, z)

    def count_prior(self, max_objects: int | None = None, *, fitted: bool = False):
        """p(n) on {0 .. T}, of training or as fitted to its images."""
        steps = self._steps(max_objects)
        if not fitted:
            return distributions.count_prior(self.config.count_decay, steps)
        return distributions.fitted_count_prior(self._fitted_count_probs.value, steps)

    def where_prior(self, *, fitted: bool = False):
        """p(z_where), of event shape [3], of training or as fitted."""
        if not fitted:
            return distributions.where_prior(
                self.config.where_prior_loc, self.config.where_prior_scale
            )
        loc, scale = tf.unstack(self._fitted_where.value)
        return distributions.diagonal_normal(NormalParams(loc=loc, scale=scale))

    def what_prior(self):
        """p(z_what), of event shape [D]."""
        return distributions.what_prior(self.config.z_what_size)

    def set_fitted_priors(self, count_probs, where) -> None:
        """Sets the priors that scenes are generated from.

        Args:
          count_probs: p(n), [T + 1].
          where: mean and standard deviation of p(z_where), [2, 3].
        """
        self._fitted_count_probs.assign(count_probs)
        self._fitted_where.assign(where)

    def densities(
        self, max_objects: int | None = None, *, fitted_count: bool = False
    ) -> Densities:
        """All that a bound needs of p, with p(n) of training or as fitted."""
        return Densities(
            count_prior=self.count_prior(max_objects, fitted=fitted_count),
            where_prior=self.where_prior(),
            what_prior=self.what_prior(),
            likelihood_scale=self.config.likelihood_scale,
        )

    def draw_objects(self, z_where: tf.Tensor, z_what: tf.Tensor) -> tf.Tensor:
        """Draws every object alone.

        Args:
          z_where: [B, T, 3].
          z_what: [B, T, D].

        Returns:
          Object images, [B, T, H, W, C].

        Raises:
          InputError: for other shapes.
        """
        z_where, z_what = _as_float(z_where, z_what)
        size = self.config.z_what_size
        shapes = tuple(z_where.shape), tuple(z_what.shape)
        if (
            [len(shape) for shape in shapes] != [3, 3]
            or (shapes[0][2], shapes[1][2]) != (3, size)
            or shapes[0][1] != shapes[1][1]
        ):
            raise InputError(
                f"z_where and z_what have shapes {shapes[0]} and {shapes[1]}; expected "
                f"[B, T, 3] and [B, T, {size}]"
            )
        drawn = self._draw_each(
            tf.reshape(z_where, [-1, 3]),
            tf.reshape(z_what, [-1, size]),
        )
        return tf.reshape(drawn, [-1, z_where.shape[1], *self.config.image_shape])

    def decode(
        self, z_where: tf.Tensor, z_what: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        """The mean of p(x | z).

        Args:
          z_where: [B, T, 3].
          z_what: [B, T, D].
          z_pres: [B, T], 0 or 1.

        Returns:
          Canvas, [B, H, W, C].

        Raises:
          InputError: for other shapes.
        """
        z_where, z_what, z_pres = _as_float(z_where, z_what, z_pres)
        if tuple(z_pres.shape[1:]) != tuple(z_where.shape[1:2]):
            raise InputError(
                f"z_pres has shape {tuple(z_pres.shape)}; expected [B, T] as z_where, "
                f"which has {tuple(z_where.shape)}"
            )
        return self._compose(self.draw_objects(z_where, z_what), z_pres)

    def generate(
        self,
        n: int,
        *,
        seed: int = 0,
        num_objects: int | None = None,
        max_objects: int | None = None,
        fitted_where: bool = False,
    ) -> Scenes:
        """Draws `n` scenes from the prior, with p(n) as fitted.

        Args:
          n: how many scenes.
          seed: the same seed draws the same scenes.
          num_objects: draws from p(. | n = num_objects) instead.
          max_objects: T; that of the config if omitted.
          fitted_where: draws z_where from p(z_where) as fitted, too.

        Returns:
          Scenes as numpy arrays; `canvas` is their mean image.
        """
        steps = self._steps(max_objects)
        if n < 1:
            raise InputError(f"n is {n}; expected at least 1")
        if num_objects is not None and not 0 <= num_objects <= steps:
            raise InputError(f"num_objects is {num_objects}; expected 0 to {steps}")
        seeds = tf.random.split([seed, 0], 3)
        count_prior = self.count_prior(steps, fitted=True)
        if num_objects is None:
            count = count_prior.sample(n, seed=seeds[0])
        else:
            count = tf.fill([n], num_objects)
        where_prior = self.where_prior(fitted=fitted_where)
        z_where = where_prior.sample([n, steps], seed=seeds[1])
        z_what = self.what_prior().sample([n, steps], seed=seeds[2])
        count_probs = tf.tile(count_prior.probs_parameter()[tf.newaxis], [n, 1])
        scenes = self.describe(z_where, z_what, distributions.unary_code(count, steps))
        at_least = tf.cumsum(count_probs, axis=1, reverse=True)[:, 1:]
        return scenes._replace(
            num_objects_probs=count_probs.numpy(), presence_probs=at_least.numpy()
        )

    def describe(self, z_where, z_what, z_pres) -> Scenes:
        """Draws scenes that are known for certain.

        Args:
          z_where: [N, T, 3].
          z_what: [N, T, D].
          z_pres: [N, T] in unary code: 1 for the first objects, then 0.

        Returns:
          Scenes as numpy arrays, as from `infer`.
        """
        z_where, z_what, z_pres = _as_float(z_where, z_what, z_pres)
        steps = z_pres.shape[1]
        count = tf.cast(tf.reduce_sum(z_pres, axis=1), tf.int32)
        scenes = self._describe(
            z_pres=z_pres,
            count_probs=tf.one_hot(count, steps + 1),
            z_where=z_where,
            z_what=z_what,
            object_image=self.draw_objects(z_where, z_what),
            num_trips=tf.fill(tf.shape(count), steps),
        )
        return tf.nest.map_structure(lambda x: x.numpy(), scenes)

    # q(z | x)

    def call(
        self,
        images: tf.Tensor,
        *,
        sample: bool = False,
        seed: tf.Tensor | None = None,
        max_objects: int | None = None,
        stop_early: bool = False,
        unroll: bool = False,
        training: bool | None = None,
    ) -> AIROutput:
        """Infers the objects and draws them again.

        Args:
          images: [B, H, W, C], float in [0, 1], or uint8.
          sample: samples of q rather than its means and most probable count.
          seed: [2] int32, needed to sample; the same seed draws the same.
          max_objects: T; that of the config if omitted.
          stop_early: ends the loop with the last object of the batch, see
            `Attend.call`. Only score functions do without all T steps.
          unroll: T copies of the step instead of a loop, see there.
          training: unused; Keras passes it.

        Raises:
          InputError: for images of another shape than the config's, or for
            `sample` without `seed`.
        """
        del training
        images = to_float(images)
        shape = tuple(images.shape[1:])
        if shape != self.config.image_shape:
            raise InputError(
                f"images have shape {shape}; expected {self.config.image_shape} "
                "after the batch axis"
            )
        steps = self._steps(max_objects)
        noise = None
        if sample:
            if seed is None:
                raise InputError("sample=True needs a seed")
            noise = attend.draw_noise(
                seed, tf.shape(images)[0], steps, self.config.z_what_size
            )
        inference, object_image = self.attend(
            images,
            draw=self._draw_each,
            max_objects=steps,
            noise=noise,
            stop_early=stop_early,
            unroll=unroll,
        )
        return AIROutput(
            inference=inference,
            object_image=object_image,
            canvas=self._compose(object_image, inference.z_pres),
        )

    def scenes(
        self, images: tf.Tensor, *, max_objects: int, unroll: bool = False
    ) -> Scenes:
        """The deterministic path, that of `infer`, in tensors: what is exported.

        Args:
          images: [B, H, W, C], float32 in [0, 1].
          max_objects: T.
          unroll: no loops or branches, for compilers that have none; all T
            steps are taken then.
        """
        inference, object_image = self.attend(
            images,
            draw=self._draw_each,
            max_objects=max_objects,
            noise=None,
            stop_early=not unroll,
            unroll=unroll,
        )
        log_probs = distributions.log_count_probs(inference.presence_logits)
        return self._describe(
            z_pres=inference.z_pres,
            count_probs=tf.exp(log_probs),
            z_where=inference.z_where,
            z_what=inference.z_what,
            object_image=object_image,
            num_trips=inference.num_trips,
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _compiled_scenes(self, images: tf.Tensor, *, max_objects: int) -> Scenes:
        return self.scenes(images, max_objects=max_objects)

    def infer(
        self, images, *, max_objects: int | None = None, batch_size: int = 64
    ) -> Scenes:
        """Says how many objects there are, where, and what they look like.

        Posterior means and the most probable count; the loop of a batch ends
        with its last object.

        Args:
          images: [N, H, W, C], float in [0, 1], or uint8.
          max_objects: T; that of the config if omitted.
          batch_size: how many images go through the loop together.

        Returns:
          Scenes as numpy arrays.

        Raises:
          InputError: for images of another shape, or values out of range or NaN.
        """
        images = np.asarray(images)
        check_images(images, self.config.image_shape)
        steps = self._steps(max_objects)
        parts = [
            self._compiled_scenes(
                to_float(images[i : i + batch_size]), max_objects=steps
            )
            for i in range(0, len(images), batch_size)
        ]
        return tf.nest.map_structure(
            lambda *arrays: np.concatenate([a.numpy() for a in arrays]), *parts
        )

    def reconstruct(self, images, *, max_objects: int | None = None) -> np.ndarray:
        """The canvas that explains each image: [N, H, W, C] to the same."""
        return self.infer(images, max_objects=max_objects).canvas

    def _steps(self, max_objects: int | None) -> int:
        steps = self.config.max_objects if max_objects is None else max_objects
        if not isinstance(steps, int) or steps < 1:
            raise InputError(
                f"max_objects is {steps}; expected a whole number of at least 1"
            )
        return steps

    def _draw_each(self, z_where: tf.Tensor, z_what: tf.Tensor) -> tf.Tensor:
        """One object for each image: [N, 3] and [N, D] to [N, H, W, C]."""
        return spatial.place_glimpses(
            self.decoder(z_what), z_where, self.config.image_shape[:2]
        )

    def _compose(self, object_image: tf.Tensor, z_pres: tf.Tensor) -> tf.Tensor:
        """Adds up the present objects: [B, T, H, W, C] to [B, H, W, C]."""
        return tf.einsum("bthwc,bt->bhwc", object_image, z_pres)

    def _describe(
        self, *, z_pres, count_probs, z_where, z_what, object_image, num_trips
    ) -> Scenes:
        boxes = spatial.object_boxes(object_image, BOX_THRESHOLD)
        present = z_pres[..., tf.newaxis]  # [B, T, 1]
        at_least = tf.cumsum(count_probs, axis=1, reverse=True)  # [B, T + 1]
        return Scenes(
            num_objects=tf.cast(tf.reduce_sum(z_pres, axis=1), tf.int32),
            num_objects_probs=count_probs,
            boxes=present * boxes,
            presence=z_pres,
            presence_probs=at_least[:, 1:],
            z_where=present * z_where,
            z_what=present * z_what,
            canvas=self._compose(object_image, z_pres),
            num_trips=num_trips,
        )


def _as_float(*arrays) -> tuple[tf.Tensor, ...]:
    return tuple(tf.cast(array, tf.float32) for array in arrays)


def to_float(images) -> tf.Tensor:
    """uint8 in 0 .. 255 or float in [0, 1] to float32 in [0, 1]."""
    images = tf.convert_to_tensor(images)
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)
