"""The generative model, p(x, z) (Eslami et al. 2016, section 2.1).

    n ~ Geometric truncated to {0 .. T}              number of objects
    z_where_t ~ Normal, z_what_t ~ Normal, t <= n    window and code of each object
    z_ground ~ Normal, unless the ground is black    code of the ground
    canvas = ground with object(z_where_t, z_what_t), t <= n
    x ~ Normal(canvas, sigma^2)                      pixels are independent

Three parts can be replaced: `draw_object` (the glimpse decoder and the window; or a
fixed renderer), `composition` (combines objects into a canvas) and `ground` (the
canvas without objects).

Training and generation use different priors. In training, p(n) falls steeply, so
that an object is inferred only if it explains enough of the image. Scenes are
generated from p(n), p(z_ground), and optionally p(z_where), as fitted to the training
images after training.
"""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from air_tf.config import AIRConfig
from air_tf.errors import InputError
from air_tf.model import distributions, spatial
from air_tf.model.composition import Composition
from air_tf.model.glimpses import GlimpseDecoder
from air_tf.model.ground import Ground, code_size
from air_tf.structs import Densities, NormalParams

# Of a pixel, before it is learned.
_FIRST_SCALE = 0.3


class Latents(NamedTuple):
    """Samples of the prior."""

    z_where: tf.Tensor  # [N, T, 3]
    z_what: tf.Tensor  # [N, T, D]
    z_pres: tf.Tensor  # [N, T]
    z_ground: tf.Tensor  # [N, G]
    count_probs: tf.Tensor  # [T + 1], p(n)


class Generative(keras.layers.Layer):
    """Priors, decoder and likelihood.

    Args:
      config: of the model.
      composition: combines objects into a canvas.
    """

    def __init__(self, config: AIRConfig, composition: Composition, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self._config = config
        self.composition = composition
        channels = composition.layer_channels(config.image_shape[2])
        self._layer_shape = (*config.image_shape[:2], channels)
        self.decoder = GlimpseDecoder(config, dtype=self.dtype_policy)
        self.ground = Ground(config, dtype=self.dtype_policy)

    def build(self, input_shape=None):
        config = self._config
        self.decoder.build((None, config.z_what_size))
        self.ground.build()
        probs = self.count_prior().probs_parameter()
        where = [config.where_prior_loc, config.where_prior_scale]
        # Until they are fitted, scenes are generated from the priors of training.
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
        size = code_size(config)
        if size:
            # The last ones, because files of earlier versions do not have them.
            self._fitted_ground = [
                self.add_weight(
                    name=f"fitted_ground_{name}",
                    shape=(size,),
                    initializer=first,
                    trainable=False,
                )
                for name, first in (("loc", "zeros"), ("scale", "ones"))
            ]
        if config.learns_scale:
            first = max(_FIRST_SCALE, config.min_likelihood_scale)
            self._log_scale = self.add_weight(
                name="log_likelihood_scale",
                shape=(),
                initializer=keras.initializers.Constant(math.log(first)),
            )
        self.built = True

    def load_own_variables(self, store):
        """Reads files of earlier versions, too, which generate from p(z_ground)."""
        added = self._fitted_ground if code_size(self._config) else []
        number = len(self._trainable_variables) + len(self._non_trainable_variables)
        older = number - len(added)
        if len(store.keys()) == older:
            found = {str(i): store[str(i)] for i in range(older)}
            store = found | {str(older + i): one for i, one in enumerate(added)}
        super().load_own_variables(store)

    # Priors.

    def count_prior(self, max_objects: int | None = None, *, fitted: bool = False):
        """p(n) on {0 .. T}: that of training, or as fitted to the training images."""
        steps = self._config.num_steps(max_objects)
        if not fitted:
            return distributions.count_prior(self._config.count_decay, steps)
        return distributions.fitted_count_prior(
            self._fitted_count_probs.value, steps, self._config.min_count_prob
        )

    def where_prior(self, *, fitted: bool = False):
        """p(z_where), event shape [3]: that of training, or as fitted."""
        if not fitted:
            return distributions.where_prior(
                self._config.where_prior_loc, self._config.where_prior_scale
            )
        loc, scale = tf.unstack(self._fitted_where.value)
        return distributions.diagonal_normal(NormalParams(loc=loc, scale=scale))

    def what_prior(self):
        """p(z_what), event shape [D]."""
        return distributions.what_prior(self._config.z_what_size)

    def ground_prior(self, *, fitted: bool = False):
        """p(z_ground), event shape [G]: standard normal, or as fitted."""
        size = code_size(self._config)
        if not (fitted and size):
            return distributions.what_prior(size)
        loc, scale = (one.value for one in self._fitted_ground)
        return distributions.diagonal_normal(NormalParams(loc=loc, scale=scale))

    @property
    def likelihood_scale(self) -> tf.Tensor | float:
        """sigma, the standard deviation of a pixel."""
        config = self._config
        if not config.learns_scale:
            return float(config.likelihood_scale)
        return tf.maximum(tf.exp(self._log_scale.value), config.min_likelihood_scale)

    def set_fitted_priors(self, count_probs, where, ground) -> None:
        """Sets the priors that scenes are generated from.

        Args:
          count_probs: p(n), [T + 1].
          where: mean and standard deviation of p(z_where), [2, 3].
          ground: those of p(z_ground), [2, G].
        """
        self._fitted_count_probs.assign(count_probs)
        self._fitted_where.assign(where)
        if code_size(self._config):
            for variable, value in zip(self._fitted_ground, ground, strict=True):
                variable.assign(value)

    def densities(
        self, max_objects: int | None = None, *, fitted_count: bool = False
    ) -> Densities:
        """The factors of p(x, z) that a bound needs; p(n) as in `count_prior`."""
        return Densities(
            count_prior=self.count_prior(max_objects, fitted=fitted_count),
            where_prior=self.where_prior(),
            what_prior=self.what_prior(),
            ground_prior=self.ground_prior(),
            likelihood_scale=self.likelihood_scale,
            composition=self.composition,
        )

    # From latents to a canvas.

    def usual_ground(self, batch: tf.Tensor | int) -> tf.Tensor:
        """The ground of the mean code of training images, [batch, H, W, C].

        Black if it has no code.
        """
        mean = self.ground_prior(fitted=True).mean()
        return self.ground(tf.tile(mean[tf.newaxis], [batch, 1]))

    def given_ground(
        self, ground: tf.Tensor | None, batch: tf.Tensor | int
    ) -> tf.Tensor:
        """The ground that is given, or `usual_ground` if it is None.

        Raises:
          InputError: for one of another shape than [batch, H, W, C].
        """
        if ground is None:
            return self.usual_ground(batch)
        (ground,) = as_float(ground)
        if tuple(ground.shape[1:]) != self._config.image_shape:
            raise InputError(
                f"has shape {tuple(ground.shape)}; expected "
                f"{self._config.image_shape} after the batch axis",
                field="ground",
            )
        return ground

    def draw_glimpse(self, z_what: tf.Tensor) -> tf.Tensor:
        """Objects on a black ground, in their windows: [N, D] to [N, h, w, C]."""
        return self.decoder(z_what)[..., : self._config.image_shape[2]]

    def draw_object(self, z_where: tf.Tensor, z_what: tf.Tensor) -> tf.Tensor:
        """Draws one object per image: z_where [N, 3], z_what [N, D] to [N, H, W, L]."""
        return spatial.place_glimpses(
            self.decoder(z_what),
            z_where,
            self._config.image_shape[:2],
            self._config.min_window_scale,
        )

    def draw_objects(self, z_where: tf.Tensor, z_what: tf.Tensor) -> tf.Tensor:
        """Draws one image per object.

        Args:
          z_where: [B, T, 3].
          z_what: [B, T, D].

        Returns:
          Object images, [B, T, H, W, L].

        Raises:
          InputError: for other shapes.
        """
        z_where, z_what = as_float(z_where, z_what)
        size = self._config.z_what_size
        where, what = tuple(z_where.shape), tuple(z_what.shape)
        if [len(where), len(what)] != [3, 3] or (
            (where[2], what[2], where[1]) != (3, size, what[1])
        ):
            raise InputError(
                f"z_where and z_what have shapes {where} and {what}; expected "
                f"[B, T, 3] and [B, T, {size}]"
            )
        drawn = self.draw_object(
            tf.reshape(z_where, [-1, 3]), tf.reshape(z_what, [-1, size])
        )
        return tf.reshape(drawn, [-1, where[1], *self._layer_shape])

    def compose(
        self, object_image: tf.Tensor, z_pres: tf.Tensor, ground: tf.Tensor
    ) -> tf.Tensor:
        """The ground with all present objects: [B, T, H, W, L] to [B, H, W, C]."""
        return self.composition.compose(ground, object_image, z_pres)

    def decode(
        self,
        z_where: tf.Tensor,
        z_what: tf.Tensor,
        z_pres: tf.Tensor,
        ground: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """The mean of p(x | z).

        Args:
          z_where: [B, T, 3].
          z_what: [B, T, D].
          z_pres: [B, T], 0 or 1.
          ground: [B, H, W, C]; `usual_ground` if omitted.

        Returns:
          Canvas, [B, H, W, C].

        Raises:
          InputError: for other shapes.
        """
        z_where, z_what, z_pres = as_float(z_where, z_what, z_pres)
        if tuple(z_pres.shape[1:]) != tuple(z_where.shape[1:2]):
            raise InputError(
                f"has shape {tuple(z_pres.shape)}; expected [B, T] as z_where, "
                f"which has {tuple(z_where.shape)}",
                field="z_pres",
            )
        ground = self.given_ground(ground, tf.shape(z_where)[0])
        return self.compose(self.draw_objects(z_where, z_what), z_pres, ground)

    def sample(
        self,
        n: int,
        *,
        seed: int,
        num_objects: int | None = None,
        max_objects: int | None = None,
        fitted_where: bool = False,
    ) -> Latents:
        """Samples scenes from the prior, with p(n) and p(z_ground) as fitted.

        Args:
          n: number of scenes.
          seed: the same seed gives the same scenes.
          num_objects: of every scene; sampled from p(n) if omitted.
          max_objects: T; that of the config if omitted.
          fitted_where: whether to sample z_where from p(z_where) as fitted, instead
            of the p(z_where) of training.

        Raises:
          InputError: for numbers out of range.
        """
        steps = self._config.num_steps(max_objects)
        if n < 1:
            raise InputError(f"is {n}; expected at least 1", field="n")
        if num_objects is not None and not 0 <= num_objects <= steps:
            raise InputError(
                f"is {num_objects}; expected 0 to {steps}", field="num_objects"
            )
        seeds = tf.random.split([seed, 0], 3)
        count_prior = self.count_prior(steps, fitted=True)
        if num_objects is None:
            count = count_prior.sample(n, seed=seeds[0])
        else:
            count = tf.fill([n], num_objects)
        where_prior = self.where_prior(fitted=fitted_where)
        return Latents(
            z_where=where_prior.sample([n, steps], seed=seeds[1]),
            z_what=self.what_prior().sample([n, steps], seed=seeds[2]),
            z_pres=distributions.unary_code(count, steps),
            z_ground=self._sample_grounds(n, seed),
            count_probs=count_prior.probs_parameter(),
        )

    def _sample_grounds(self, n: int, seed: int) -> tf.Tensor:
        own_seed = tf.random.experimental.stateless_fold_in([seed, 0], 3)
        return self.ground_prior(fitted=True).sample(n, seed=own_seed)


def as_float(*arrays) -> tuple[tf.Tensor, ...]:
    """Arrays as float32 tensors."""
    return tuple(tf.cast(array, tf.float32) for array in arrays)
