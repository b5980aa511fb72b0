"""Attend, Infer, Repeat (Eslami et al. 2016, arXiv 1603.08575).

The generative model p(x, z) is in `air_tf.model.generative`, the inference model
q(z | x) in `air_tf.model.attend`. Training maximises the evidence lower bound

    ELBO = E_q[log p(x | z) + log p(n) - log q(n)
               - sum over t <= n of (KL_where_t + KL_what_t)] - KL_ground  <=  log p(x),

whose estimators are in `air_tf.objectives`. The class `AIR` combines the two models
and returns inferred objects as `Scenes`.
"""

import dataclasses
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from air_tf.config import AIRConfig, DifferenceConfig
from air_tf.config.upgrade import WEIGHTS_VERSION, version_of
from air_tf.errors import InputError
from air_tf.images import check_images
from air_tf.model import distributions, replicas, spatial
from air_tf.model.attend import Attend, draw_noise
from air_tf.model.composition import make_composition
from air_tf.model.generative import Generative, as_float
from air_tf.model.ground import GroundEncoder
from air_tf.model.pixels import to_float
from air_tf.model.proposals import Proposals
from air_tf.model.revision import revise
from air_tf.model.tracing import in_batches
from air_tf.structs import AIROutput, Scenes


@keras.saving.register_keras_serializable(package="air_tf")
class AIR(keras.Model):
    """Infers a variable number of objects in images, and generates images.

    Args:
      config: sizes, priors and likelihood; `AIRConfig()` if omitted.

    Attributes:
      config: as given.
      generative: p(x, z).
      attend: q(z | x).
    """

    def __init__(self, config: AIRConfig | None = None, **kwargs):
        # Under mixed precision, images stay float32: layers cast their own inputs.
        super().__init__(autocast=False, **kwargs)
        self.config = config or AIRConfig()
        composition = make_composition(self.config.composition)
        self.attend = Attend(
            self.config, composition, dtype=self.dtype_policy, name="attend"
        )
        self.generative = Generative(
            self.config, composition, dtype=self.dtype_policy, name="generative"
        )
        self.ground_encoder = GroundEncoder(
            self.config, dtype=self.dtype_policy, name="ground_encoder"
        )
        self.proposals: Proposals | None = None
        form = self.config.inference
        if isinstance(form, DifferenceConfig) and form.proposals:
            self.proposals = Proposals(self.config, form, name="proposals")
        self.build((None, *self.config.image_shape))

    def build(self, input_shape):
        self.attend.build(input_shape)
        self.generative.build()
        self.ground_encoder.build(input_shape)
        if self.proposals is not None:
            self.proposals.build()
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        settings = config.pop("config")
        if version_of(settings) < WEIGHTS_VERSION:
            raise InputError(
                "the model was saved by an earlier version of air_tf; expected "
                "air_tf.load_model(FILE) to read it, instead of Keras"
            )
        return cls(AIRConfig.from_dict(settings), **config)

    def call(
        self,
        images: tf.Tensor,
        *,
        sample: bool = False,
        seed: tf.Tensor | None = None,
        max_objects: int | None = None,
        loop: str = "full",
        first_cells: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> AIROutput:
        """Infers the objects of images and reconstructs the images.

        Args:
          images: [B, H, W, C], float in [0, 1], or uint8.
          sample: whether to return samples of q instead of posterior means and the
            most probable count.
          seed: [2] int32, required with `sample`; the same seed gives the same
            samples.
          max_objects: T; that of the config if omitted.
          loop: "full", "early_stop" or "unrolled", see `air_tf.model.loop`.
            Objectives other than score-function estimators need all T attend steps,
            which "early_stop" does not take.
          first_cells: [B] int32, where the first attend step of the difference form
            looks; see `CellSearch.call`.
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
                f"have shape {shape}; expected {self.config.image_shape} after the "
                "batch axis",
                field="images",
            )
        steps = self.config.num_steps(max_objects)
        batch = tf.shape(images)[0]
        noise = None
        q_ground = self.ground_encoder(
            images,
            ground=self.generative.ground,
            scale=self.generative.likelihood_scale,
        )
        z_ground = q_ground.loc  # [B, G]
        if sample:
            if seed is None:
                raise InputError("is None; expected [2] int32 to sample", field="seed")
            noise = draw_noise(seed, batch, steps, self.config.z_what_size)
            own_seed = tf.random.experimental.stateless_fold_in(seed, 3)
            z_ground += q_ground.scale * replicas.normal(tf.shape(z_ground), own_seed)
        ground = self.generative.ground(z_ground)
        inference, object_image = self.attend(
            images,
            ground=ground,
            draw=self.generative.draw_object,
            max_objects=steps,
            noise=noise,
            loop=loop,
            first_cells=first_cells,
        )
        return AIROutput(
            inference=inference,
            object_image=object_image,
            q_ground_params=q_ground,
            z_ground=z_ground,
            ground=ground,
            canvas=self.generative.compose(object_image, inference.z_pres, ground),
        )

    def scenes(
        self,
        images: tf.Tensor,
        *,
        max_objects: int,
        proposals: int | None = None,
        loop: str = "early_stop",
        static_sizes: bool = False,
    ) -> Scenes:
        """The computation of `infer` on tensors: deterministic, and what is exported.

        Args:
          images: [B, H, W, C], float32 in [0, 1].
          max_objects: T.
          proposals: see `infer`.
          loop: see `air_tf.model.loop`.
          static_sizes: see `gather` of `Proposals.improve`, its opposite.
        """
        explain = partial(self, max_objects=max_objects, loop=loop)  # type: ignore[misc]
        output = explain(images)
        log_probs = distributions.log_count_probs(output.inference.presence_logits)
        number = self.config.num_proposals(proposals)
        if self.proposals is not None and number:
            likely = self.attend.search.first_cells
            output, log_probs = self.proposals.improve(
                output,
                images,
                self.generative.densities(max_objects),
                explain=lambda few, cells: explain(few, first_cells=cells),
                revise=partial(revise, attend=self.attend, generative=self.generative),
                other_cells=lambda few, ground: likely(few, ground, 1 + number)[:, 1:],
                number=number,
                gather=not static_sizes,
            )
        return self._describe(
            count_probs=tf.exp(log_probs),
            z_pres=output.inference.z_pres,
            z_where=output.inference.z_where,
            z_what=output.inference.z_what,
            object_image=output.object_image,
            ground=output.ground,
            canvas=output.canvas,
            num_trips=output.inference.num_trips,
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _compiled_scenes(
        self, images: tf.Tensor, *, max_objects: int, proposals: int
    ) -> Scenes:
        return self.scenes(images, max_objects=max_objects, proposals=proposals)

    def infer(
        self,
        images: npt.ArrayLike,
        *,
        max_objects: int | None = None,
        proposals: int | None = None,
        batch_size: int = 64,
    ) -> Scenes:
        """Counts, locates and encodes the objects in images.

        Deterministic: uses posterior means and the most probable count. The attend
        loop of a batch ends when all its images have ended.

        Args:
          images: [N, H, W, C], float in [0, 1], or uint8.
          max_objects: T; that of the config if omitted.
          proposals: K, how often an image that is explained badly is explained again,
            see `air_tf.model.proposals`; that of the config if omitted.
          batch_size: number of images that go through the attend loop together.

        Returns:
          Scenes as numpy arrays.

        Raises:
          InputError: for images of another shape, or values out of range or NaN.
        """
        images = np.asarray(images)
        check_images(images, self.config.image_shape)
        steps = self.config.num_steps(max_objects)
        number = self.config.num_proposals(proposals)
        settings = {"max_objects": steps, "proposals": number}
        return in_batches(self._compiled_scenes, images, batch_size, **settings)

    def with_proposals(self, number: int) -> "AIR":
        """This model, or a copy with another number of `proposals` (K).

        Raises:
          InputError: for a number that it can't have.
        """
        self.config.num_proposals(number)
        form = self.config.inference
        if not isinstance(form, DifferenceConfig) or form.proposals == number:
            return self
        form = dataclasses.replace(form, proposals=number)
        config = dataclasses.replace(self.config, inference=form)
        copy = AIR(config, dtype=self.dtype_policy)
        for name in ("attend", "generative", "ground_encoder", "proposals"):
            part = getattr(copy, name)
            if part is not None:
                part.set_weights(getattr(self, name).get_weights())
        return copy

    def reconstruct(
        self, images: npt.ArrayLike, *, max_objects: int | None = None
    ) -> np.ndarray:
        """The canvas of `infer` for each image: [N, H, W, C] to [N, H, W, C]."""
        return self.infer(images, max_objects=max_objects).canvas

    def decode(
        self,
        z_where: npt.ArrayLike,
        z_what: npt.ArrayLike,
        z_pres: npt.ArrayLike,
        ground: npt.ArrayLike | None = None,
    ) -> tf.Tensor:
        """The canvas of the given latents, see `Generative.decode`."""
        return self.generative.decode(z_where, z_what, z_pres, ground)

    def generate(
        self,
        n: int,
        *,
        seed: int = 0,
        num_objects: int | None = None,
        max_objects: int | None = None,
        fitted_where: bool = False,
    ) -> Scenes:
        """Generates `n` scenes from the prior; arguments as for `Generative.sample`.

        Returns:
          Scenes as numpy arrays; `canvas` is the mean of p(x | z). The count
          probabilities are those of p(n).

        Raises:
          InputError: for numbers out of range.
        """
        latents = self.generative.sample(
            n,
            seed=seed,
            num_objects=num_objects,
            max_objects=max_objects,
            fitted_where=fitted_where,
        )
        scenes = self.describe(
            latents.z_where,
            latents.z_what,
            latents.z_pres,
            self.generative.ground(latents.z_ground),
        )
        probs = np.tile(latents.count_probs.numpy(), (n, 1))
        at_least = tf.cumsum(probs, axis=1, reverse=True)[:, 1:]
        return scenes._replace(num_objects_probs=probs, presence_probs=at_least.numpy())

    def describe(
        self,
        z_where: npt.ArrayLike,
        z_what: npt.ArrayLike,
        z_pres: npt.ArrayLike,
        ground: npt.ArrayLike | None = None,
    ) -> Scenes:
        """Draws scenes from given latents.

        Args:
          z_where: [N, T, 3].
          z_what: [N, T, D].
          z_pres: [N, T] in unary code: 1 for the first objects, then 0.
          ground: [N, H, W, C]; `Generative.usual_ground` if omitted.

        Returns:
          Scenes as numpy arrays, as from `infer`; the count has probability 1.

        Raises:
          InputError: for other shapes of z_where, z_what and ground.
        """
        scenes = self.drawn_scenes(z_where, z_what, z_pres, ground)
        return tf.nest.map_structure(lambda x: x.numpy(), scenes)

    def drawn_scenes(
        self,
        z_where: tf.Tensor,
        z_what: tf.Tensor,
        z_pres: tf.Tensor,
        ground: tf.Tensor | None = None,
    ) -> Scenes:
        """The computation of `describe` on tensors, which is exported."""
        where, what, present = as_float(z_where, z_what, z_pres)
        steps = present.shape[1]
        count = tf.cast(tf.reduce_sum(present, axis=1), tf.int32)
        object_image = self.generative.draw_objects(where, what)
        ground = self.generative.given_ground(ground, tf.shape(count)[0])
        return self._describe(
            count_probs=tf.one_hot(count, steps + 1),
            z_pres=present,
            z_where=where,
            z_what=what,
            object_image=object_image,
            ground=ground,
            canvas=self.generative.compose(object_image, present, ground),
            num_trips=tf.fill(tf.shape(count), steps),
        )

    def _describe(
        self,
        *,
        count_probs: tf.Tensor,
        z_pres: tf.Tensor,
        z_where: tf.Tensor,
        z_what: tf.Tensor,
        object_image: tf.Tensor,
        ground: tf.Tensor,
        canvas: tf.Tensor,
        num_trips: tf.Tensor,
    ) -> Scenes:
        composition = self.generative.composition
        extent = composition.extent(object_image)[..., tf.newaxis]
        boxes = spatial.object_boxes(extent, self.config.box_threshold)
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
            canvas=canvas,
            mask=composition.masks(object_image, z_pres),
            ground=ground,
            num_trips=num_trips,
        )
