"""Attend, Infer, Repeat for 3D scenes: the decoder is a given renderer.

    n ~ Geometric truncated to {0 .. T}              number of objects
    kind_t ~ Uniform{1 .. K}, t <= n
    position_t ~ Uniform(table), yaw_t ~ Uniform(circle)
    positions closer than the table's `min_distance` are improbable
    canvas = objects drawn by the renderer on the empty table, nearer ones in front
    x ~ Normal(canvas, sigma^2)                      pixels are independent

(Eslami et al. 2016, section 3.3.) The inference model is `air_tf.model.attend3d`. It
learns from pictures alone which kinds of objects are where, and how they are turned.
"""

import functools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from air_tf.config import AIR3DConfig
from air_tf.config.tabletop import Tabletop
from air_tf.errors import InputError
from air_tf.images import batches, check_images
from air_tf.model import distributions, spatial
from air_tf.model.attend3d import Attend3D, draw_noise
from air_tf.model.pixels import to_float
from air_tf.model.tracing import in_batches, trace_once
from air_tf.renderers.make import make_renderer
from air_tf.renderers.occlusion import compose
from air_tf.renderers.renderer import Renderer
from air_tf.structs import Inference3D, Scenes3D

_MASK_THRESHOLD = 0.5
_MIN_COUNT_PROB = 1e-6
_FITTING_BATCH = 250
_PLACE_ATTEMPTS = 300


@keras.saving.register_keras_serializable(package="air_tf")
class AIR3D(keras.Model):
    """Infers the objects on a table, and renders them.

    Args:
      config: scene, renderer and sizes; `AIR3DConfig()` if omitted.

    Attributes:
      config: as given.
      attend: q(z | x).
      ground: [H, W, 3], the picture of the empty table. A weight, because inference
        needs it but not the renderer.
    """

    def __init__(self, config: AIR3DConfig | None = None, **kwargs):
        # Under mixed precision, images stay float32: layers cast their own inputs.
        super().__init__(autocast=False, **kwargs)
        self.config = config or AIR3DConfig()
        self.attend = Attend3D(self.config, dtype=self.dtype_policy, name="attend")
        self.build((None, *self.config.image_shape))

    def build(self, input_shape):
        self.attend.build(input_shape)
        # Without autocast: also under mixed precision, these are read as they are.
        self.ground = self.add_weight(
            name="ground",
            shape=input_shape[1:],
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        probs = self.count_prior().probs_parameter()
        self._fitted_count_probs = self.add_weight(
            name="fitted_count_probs",
            shape=probs.shape,
            initializer=lambda shape, dtype=None: tf.cast(probs, dtype),
            trainable=False,
            autocast=False,
        )
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        settings = config.pop("config")
        return cls(AIR3DConfig.from_dict(settings), **config)

    @classmethod
    def of_table(cls, config: AIR3DConfig, **kwargs) -> "AIR3D":
        """A new model, with the picture of the empty table.

        Raises:
          InputError: for a renderer that can't be started.
        """
        model = cls(config, **kwargs)
        model.ground.assign(model.renderer.ground())
        return model

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The given decoder. It is started when it is first used."""
        config = self.config
        return make_renderer(config.renderer, config.tabletop, config.image_shape)

    def __dir__(self):
        # Keras reads all of these when it saves or loads, which would start it.
        return [name for name in super().__dir__() if name != "renderer"]

    def count_prior(self, max_objects: int | None = None, *, fitted: bool = False):
        """p(n) on {0 .. T}: that of training, or as fitted to the training images."""
        steps = self.config.num_steps(max_objects)
        if not fitted:
            return distributions.count_prior(self.config.count_decay, steps)
        return distributions.fitted_count_prior(
            self._fitted_count_probs.value, steps, _MIN_COUNT_PROB
        )

    def fit_count_prior(self, images: np.ndarray) -> None:
        """Sets the fitted p(n) to the mean of q(n) over images, [N, H, W, 3]."""
        total = sum(
            self._sum_of_count_probs(to_float(batch)).numpy().astype(np.float64)
            for _, batch in batches(images, _FITTING_BATCH)
        )
        self._fitted_count_probs.assign(total / len(images))

    @tf.function(reduce_retracing=True, autograph=False)
    def _sum_of_count_probs(self, images: tf.Tensor) -> tf.Tensor:
        """[T + 1], of all attend steps: a loop that ends early leaves q(n) open."""
        log_probs = distributions.log_count_probs(self(images).presence_logits)
        return tf.reduce_sum(tf.exp(log_probs), axis=0)

    def call(
        self,
        images: tf.Tensor,
        *,
        sample: bool = False,
        seed: tf.Tensor | None = None,
        max_objects: int | None = None,
        loop: str = "full",
        training: bool | None = None,
    ) -> Inference3D:
        """Infers the objects of images; arguments as for `AIR.call`."""
        del training
        images = to_float(images)
        shape = tuple(images.shape[1:])
        if shape != self.config.image_shape:
            raise InputError(
                f"have shape {shape}; expected {self.config.image_shape} after the "
                "batch axis",
                field="images",
            )
        steps = self.config.num_steps(max_objects)
        noise = None
        if sample:
            if seed is None:
                raise InputError("is None; expected [2] int32 to sample", field="seed")
            kinds = self.config.num_kinds
            noise = draw_noise(seed, tf.shape(images)[0], steps, kinds)
        return self.attend(
            images,
            ground=self.ground.value,
            max_objects=steps,
            noise=noise,
            loop=loop,
        )

    def scenes(
        self,
        images: tf.Tensor,
        *,
        max_objects: int,
        loop: str = "early_stop",
        static_sizes: bool = True,
    ) -> Scenes3D:
        """The computation of `infer` on tensors: deterministic, and what is exported.

        Arguments as for `AIR.scenes`. All sizes are static.
        """
        del static_sizes
        found = self(images, max_objects=max_objects, loop=loop)
        count_probs = tf.exp(distributions.log_count_probs(found.presence_logits))
        at_least = tf.cumsum(count_probs, axis=1, reverse=True)
        present = found.z_pres[..., tf.newaxis]  # [B, T, 1]
        kind = tf.argmax(found.kind_logits, axis=-1, output_type=tf.int32)
        chosen = tf.one_hot(kind, self.config.num_kinds)  # [B, T, K]
        folds, turns = self.folds
        phase = tf.reduce_sum(chosen * turns / folds * found.phase, axis=-1)
        phase_scale = found.q_phase_params.scale
        yaw_scale = tf.reduce_sum(chosen * turns / folds * phase_scale, axis=-1)
        reach = self.config.tabletop.reach
        mask = found.z_pres[..., tf.newaxis, tf.newaxis] * found.mask
        boxes = spatial.object_boxes(mask[..., tf.newaxis], _MASK_THRESHOLD)
        return Scenes3D(
            num_objects=tf.cast(tf.reduce_sum(found.z_pres, axis=1), tf.int32),
            num_objects_probs=count_probs,
            boxes=present * boxes,
            presence=found.z_pres,
            presence_probs=at_least[:, 1:],
            kind=kind * tf.cast(found.z_pres, tf.int32),
            kind_probs=present * tf.nn.softmax(found.kind_logits),
            position=present * reach * found.position,
            position_scale=present * reach * found.q_position_params.scale,
            yaw=found.z_pres * phase,
            yaw_scale=found.z_pres * yaw_scale,
            mask=mask,
            num_trips=found.num_trips,
        )

    @functools.cached_property
    def folds(self) -> tuple[np.ndarray, np.ndarray]:
        """For each kind, phase over yaw, and 1 where the yaw can be seen, else 0."""
        symmetry = np.array([kind.symmetry for kind in self.config.tabletop.kinds])
        folds = np.maximum(symmetry, 1).astype(np.float32)
        return folds, (symmetry > 0).astype(np.float32)

    @tf.function(reduce_retracing=True, autograph=False)
    def _compiled_scenes(self, images: tf.Tensor, *, max_objects: int) -> Scenes3D:
        return self.scenes(images, max_objects=max_objects)

    def infer(
        self,
        images: npt.ArrayLike,
        *,
        max_objects: int | None = None,
        batch_size: int = 64,
    ) -> Scenes3D:
        """Says how many objects are on the table, which, where, and how turned.

        Deterministic: uses posterior means and the most probable count and kinds.
        Arguments and errors as for `AIR.infer`; returns numpy arrays.
        """
        images = np.asarray(images)
        check_images(images, self.config.image_shape)
        steps = self.config.num_steps(max_objects)
        return in_batches(self._compiled_scenes, images, batch_size, max_objects=steps)

    def render(
        self,
        kind: npt.ArrayLike,
        position: npt.ArrayLike,
        yaw: npt.ArrayLike,
        presence: npt.ArrayLike,
    ) -> tf.Tensor:
        """The mean of p(x | z), drawn by the renderer.

        Args:
          kind: [B, T] int, indices of kinds.
          position: [B, T, 2], in the table's unit.
          yaw: [B, T], radians.
          presence: [B, T], 0 or 1.

        Returns:
          Canvas, [B, H, W, 3].
        """
        kinds = tf.cast(kind, tf.int32)
        steps, size = kinds.shape[1], self.config.image_shape[:2]
        place = tf.reshape(tf.cast(position, tf.float32), [-1, 2])
        turn = tf.reshape(tf.cast(yaw, tf.float32), [-1])
        which = tf.reshape(kinds, [-1])
        alpha = tf.zeros([tf.size(which), *size])
        colour = tf.zeros([tf.size(which), *size, 3])
        for index in range(self.config.num_kinds):
            layer = self.renderer.layers(index, place, turn, self.config.blur)
            chosen = tf.reshape(which == index, [-1, 1, 1])
            alpha = tf.where(chosen, layer.alpha, alpha)
            colour = tf.where(chosen[..., tf.newaxis], layer.colour, colour)
        _, depth = self.renderer.project(place)
        return compose(
            self.ground.value,
            tf.reshape(alpha, [-1, steps, *size]),
            tf.reshape(colour, [-1, steps, *size, 3]),
            tf.reshape(depth, [-1, steps]),
            tf.cast(presence, tf.float32),
        )

    def reconstruct(
        self, images: npt.ArrayLike, *, max_objects: int | None = None
    ) -> np.ndarray:
        """The canvas of what `infer` finds in each image: [N, H, W, 3]."""
        return self.draw(self.infer(images, max_objects=max_objects))

    def draw(self, scenes: Scenes3D, batch_size: int = 64) -> np.ndarray:
        """The canvas of each scene, drawn by the renderer: [N, H, W, 3] float32."""
        # Not within the trace, which could not start a process.
        self.renderer  # noqa: B018
        fields = (scenes.kind, scenes.position, scenes.yaw, scenes.presence)
        specs = [tf.TensorSpec([None, *one.shape[1:]], one.dtype) for one in fields]
        trace_once(self._compiled_render, *specs)  # T must be known
        return np.concatenate(
            [
                self._compiled_render(*(field[part] for field in fields)).numpy()
                for part, _ in batches(scenes.kind, batch_size)
            ]
        )

    @tf.function(autograph=False)
    def _compiled_render(self, kind, position, yaw, presence):
        return self.render(kind, position, yaw, presence)

    def generate(
        self,
        n: int,
        *,
        seed: int = 0,
        num_objects: int | None = None,
        max_objects: int | None = None,
    ) -> Scenes3D:
        """Generates `n` scenes from the prior, with p(n) as fitted.

        Objects are at least the table's `min_distance` apart. Where so many do not fit,
        they may be closer.

        Args:
          n: number of scenes.
          seed: the same seed gives the same scenes.
          num_objects: of every scene; sampled from p(n) if omitted.
          max_objects: T; that of the config if omitted.

        Returns:
          Scenes as numpy arrays; those without an image have no boxes and masks, which
          are 0.

        Raises:
          InputError: for numbers out of range.
        """
        steps, kinds = self.config.num_steps(max_objects), self.config.num_kinds
        if n < 1:
            raise InputError(f"is {n}; expected at least 1", field="n")
        if num_objects is not None and not 0 <= num_objects <= steps:
            raise InputError(
                f"is {num_objects}; expected 0 to {steps}", field="num_objects"
            )
        rng = np.random.default_rng(seed)
        prior = self.count_prior(steps, fitted=True).probs_parameter().numpy()
        counts = rng.choice(steps + 1, size=n, p=prior / prior.sum(dtype=np.float64))
        if num_objects is not None:
            counts[:] = num_objects
        presence = (np.arange(steps) < counts[:, None]).astype(np.float32)
        kind = rng.integers(kinds, size=(n, steps)) * presence.astype(np.int32)
        position = _scatter(rng, presence, self.config.tabletop) * presence[..., None]
        folds, turns = self.folds
        yaw = rng.uniform(-np.pi, np.pi, (n, steps)) / folds[kind]
        yaw *= turns[kind] * presence
        empty = np.zeros((n, steps), np.float32)
        height, width = self.config.image_shape[:2]
        return Scenes3D(
            num_objects=counts.astype(np.int32),
            num_objects_probs=np.tile(prior, (n, 1)),
            boxes=np.zeros((n, steps, 4), np.float32),
            presence=presence,
            presence_probs=np.tile(np.cumsum(prior[::-1])[::-1][1:], (n, 1)),
            kind=kind.astype(np.int32),
            kind_probs=np.eye(kinds, dtype=np.float32)[kind] * presence[..., None],
            position=position.astype(np.float32),
            position_scale=np.zeros((n, steps, 2), np.float32),
            yaw=yaw.astype(np.float32),
            yaw_scale=empty,
            mask=np.zeros((n, steps, height, width), np.float32),
            num_trips=np.full(n, steps, np.int32),
        )


def _scatter(
    rng: np.random.Generator, presence: np.ndarray, tabletop: Tabletop
) -> np.ndarray:
    """Positions of objects that are present [N, T], all of a scene at once: [N, T, 2].

    So they are uniform among all that are far enough apart.
    """
    steps, reach = presence.shape[1], tabletop.reach
    present = presence > 0
    pairs = present[:, :, np.newaxis] & present[:, np.newaxis]
    pairs &= ~np.eye(steps, dtype=bool)
    position = np.zeros((*presence.shape, 2))
    again = np.ones(len(presence), bool)
    for _ in range(_PLACE_ATTEMPTS):
        position[again] = rng.uniform(-reach, reach, (again.sum(), steps, 2))
        apart = position[:, :, np.newaxis] - position[:, np.newaxis]
        close = np.linalg.norm(apart, axis=-1) < tabletop.min_distance
        again = (close & pairs).any(axis=(1, 2))
        if not again.any():
            break
    return position
