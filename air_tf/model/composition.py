"""Combines objects into a canvas.

Every object is a layer of the canvas, [H, W, L]; only this module knows what the
channels of a layer mean, and combines them. Another composition (such as the depth of
a 3D renderer) implements the functions of `Composition`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from air_tf.config import AdditiveConfig, AlphaConfig


class Composition(Protocol):
    """Interface of a composition.

    Shapes: images, canvas and ground [B, H, W, C]; z_pres [B, T] in [0, 1];
    object_image [B, T, H, W, L], but [B, H, W, L] in `add`. `memory` is a structure of
    tensors [B, ...].
    """

    def layer_channels(self, channels: int) -> int:
        """L, for a canvas of C channels."""
        ...

    def start(self, ground: tf.Tensor) -> Any:
        """The memory of what is drawn, before the first object."""
        ...

    def add(self, memory: Any, object_image: tf.Tensor) -> Any:
        """The memory with one more object."""
        ...

    def unexplained(self, images: tf.Tensor, memory: Any) -> tf.Tensor:
        """What the search for one more object sees, [B, H, W, K]."""
        ...

    def distance(self, unexplained: tf.Tensor) -> tf.Tensor:
        """Of the pixels from what is drawn, where one more object can be: [B, H, W]."""
        ...

    def focus(
        self, images: tf.Tensor, unexplained: tf.Tensor, centre: tf.Tensor
    ) -> tf.Tensor:
        """`unexplained` and what belongs to the object at `centre`, [B, H, W, F].

        Args:
          images: [B, H, W, C].
          unexplained: [B, H, W, K].
          centre: [B, 2], (y, x) in [-1, 1].
        """
        ...

    def source(self, images: tf.Tensor, focused: tf.Tensor) -> tf.Tensor:
        """What glimpses are read from, [B, H, W, S]; of the result of `focus`."""
        ...

    def compose(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        """The ground with all present objects, [B, H, W, C]."""
        ...

    def prefix_canvases(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        """The ground with the first n objects, for n = 0 .. T: [B, T + 1, H, W, C]."""
        ...

    def residuals(
        self, images: tf.Tensor, ground: tf.Tensor, object_image: tf.Tensor
    ) -> Iterator[tf.Tensor]:
        """Images minus the canvas of the first n objects, for n = 0 .. T.

        All objects count as present.
        """
        ...

    def extent(self, object_image: tf.Tensor) -> tf.Tensor:
        """How much of a pixel the whole object takes, [..., H, W] in [0, 1]."""
        ...

    def masks(self, object_image: tf.Tensor, z_pres: tf.Tensor) -> tf.Tensor:
        """Where each object is seen, [B, T, H, W] in [0, 1]."""
        ...

    def segmentation(self, masks: tf.Tensor) -> tf.Tensor:
        """[B, H, W] int32: k + 1 where object k is seen most, 0 for the ground."""
        ...


class Additive:
    """Objects add light: the canvas is their sum (Eslami et al. 2016, section 2.1).

    A layer is the object's light, L = C. The order of objects does not matter. The
    canvas of n objects is that of n - 1 objects plus one object image; it is the memory
    of what is drawn.
    """

    def layer_channels(self, channels: int) -> int:
        """See `Composition`; the same for the other methods."""
        return channels

    def start(self, ground: tf.Tensor) -> tf.Tensor:
        return ground

    def add(self, memory: tf.Tensor, object_image: tf.Tensor) -> tf.Tensor:
        return memory + object_image

    def unexplained(self, images: tf.Tensor, memory: tf.Tensor) -> tf.Tensor:
        return images - memory

    def distance(self, unexplained: tf.Tensor) -> tf.Tensor:
        return tf.sqrt(tf.reduce_sum(tf.square(unexplained), axis=-1))

    def focus(
        self, images: tf.Tensor, unexplained: tf.Tensor, centre: tf.Tensor
    ) -> tf.Tensor:
        del images, centre  # light has no parts that belong together
        return unexplained

    def source(self, images: tf.Tensor, focused: tf.Tensor) -> tf.Tensor:
        del images  # light that others added does not belong to the object
        return focused

    def compose(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        return ground + tf.einsum("bthwc,bt->bhwc", object_image, z_pres)

    def prefix_canvases(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        drawn = _present(object_image, z_pres)
        sums = tf.cumsum(drawn, axis=1)
        before = tf.zeros_like(sums[:, :1])
        return ground[:, tf.newaxis] + tf.concat([before, sums], axis=1)

    def residuals(
        self, images: tf.Tensor, ground: tf.Tensor, object_image: tf.Tensor
    ) -> Iterator[tf.Tensor]:
        residual = images - ground
        yield residual
        for one in tf.unstack(object_image, axis=1):
            residual -= one
            yield residual

    def extent(self, object_image: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(object_image, axis=-1)

    def masks(self, object_image: tf.Tensor, z_pres: tf.Tensor) -> tf.Tensor:
        return self.extent(object_image) * z_pres[:, :, tf.newaxis, tf.newaxis]

    def segmentation(self, masks: tf.Tensor) -> tf.Tensor:
        return _most_seen(masks, ground=tf.zeros_like(masks[:, 0]))


# Subtracted from what networks read.
_MEAN_COLOUR = 0.5
# Standard deviation of the colours of an object, and of the distance of its pixels from
# the centre of the first window, in units of half the canvas.
_COLOUR_TOLERANCE, _REACH = 0.15, 0.2


class Drawn(NamedTuple):
    """What is drawn so far, by alpha."""

    ground: tf.Tensor  # [B, H, W, C]
    canvas: tf.Tensor  # [B, H, W, C]
    clear: tf.Tensor  # [B, H, W, 1], how much of the ground is still seen


class Alpha:
    """Objects hide what is behind them; earlier objects are nearer.

    A layer is the object's light and its mask alpha, L = C + 1, with the light already
    multiplied by alpha (Porter and Duff 1984). What n objects leave to see of the
    ground is clear_n = prod over t <= n of (1 - alpha_t), and

        canvas_n = canvas_{n-1} + clear_{n-1} (light_n - alpha_n ground),

    so the canvases of all counts cost one pass over the layers.

    The nearest object comes first. The search finds first what it is most certain of,
    which is what nothing hides. A later step can't draw where an earlier one did, so it
    can't mend a poor reconstruction, which would count as one more object; and of a
    hidden object, it only has to explain what is seen.
    """

    def layer_channels(self, channels: int) -> int:
        """See `Composition`; the same for the other methods."""
        return channels + 1

    def start(self, ground: tf.Tensor) -> Drawn:
        return Drawn(ground, ground, tf.ones_like(ground[..., :1]))

    def add(self, memory: Drawn, object_image: tf.Tensor) -> Drawn:
        light, alpha = object_image[..., :-1], object_image[..., -1:]
        seen = memory.clear * (light - alpha * memory.ground)
        return memory._replace(
            canvas=memory.canvas + seen, clear=memory.clear * (1.0 - alpha)
        )

    def unexplained(self, images: tf.Tensor, memory: Drawn) -> tf.Tensor:
        # Inputs that are usually 0: a constant would act as one large bias.
        return tf.concat([images - memory.canvas, 1.0 - memory.clear], axis=-1)

    def distance(self, unexplained: tf.Tensor) -> tf.Tensor:
        error = tf.reduce_sum(tf.square(unexplained[..., :-1]), axis=-1)
        return tf.sqrt(error) * (1.0 - unexplained[..., -1])

    def focus(
        self, images: tf.Tensor, unexplained: tf.Tensor, centre: tf.Tensor
    ) -> tf.Tensor:
        # The pixel near the centre that is explained least lies on the object.
        clear = 1.0 - unexplained[..., -1]
        score = self.distance(unexplained) * _nearness(centre, images.shape[1:3])
        colour = _pixel_at_maximum(images, score)  # [B, C]
        difference = images - colour[:, tf.newaxis, tf.newaxis]
        squares = tf.reduce_sum(tf.square(difference), axis=-1)
        alike = clear * tf.exp(-0.5 * squares / _COLOUR_TOLERANCE**2)  # [B, H, W]
        return tf.concat([unexplained, alike[..., tf.newaxis]], axis=-1)

    def source(self, images: tf.Tensor, focused: tf.Tensor) -> tf.Tensor:
        # The difference from the ground alone does not say which colour an object has.
        colour = focused[..., -1:] * (images - _MEAN_COLOUR)
        return tf.concat([focused, colour], axis=-1)

    def _drawn(self, ground: tf.Tensor, layers: tf.Tensor) -> Iterator[Drawn]:
        drawn = self.start(ground)
        yield drawn
        for layer in tf.unstack(layers, axis=1):
            drawn = self.add(drawn, layer)
            yield drawn

    def compose(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        *_, last = self._drawn(ground, _present(object_image, z_pres))
        return last.canvas

    def prefix_canvases(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        layers = _present(object_image, z_pres)
        canvases = [drawn.canvas for drawn in self._drawn(ground, layers)]
        return tf.stack(canvases, axis=1)

    def residuals(
        self, images: tf.Tensor, ground: tf.Tensor, object_image: tf.Tensor
    ) -> Iterator[tf.Tensor]:
        for drawn in self._drawn(ground, object_image):
            yield images - drawn.canvas

    def extent(self, object_image: tf.Tensor) -> tf.Tensor:
        return object_image[..., -1]

    def masks(self, object_image: tf.Tensor, z_pres: tf.Tensor) -> tf.Tensor:
        alpha = self.extent(object_image) * z_pres[:, :, tf.newaxis, tf.newaxis]
        clear, masks = tf.ones_like(alpha[:, 0]), []
        for one in tf.unstack(alpha, axis=1):  # LiteRT has no cumulative product
            masks.append(clear * one)
            clear *= 1.0 - one
        return tf.stack(masks, axis=1)

    def segmentation(self, masks: tf.Tensor) -> tf.Tensor:
        return _most_seen(masks, ground=1.0 - tf.reduce_sum(masks, axis=1))


def _present(object_image: tf.Tensor, z_pres: tf.Tensor) -> tf.Tensor:
    """Layers [B, T, H, W, L], 0 where there is no object."""
    return object_image * z_pres[:, :, tf.newaxis, tf.newaxis, tf.newaxis]


def _nearness(centre: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """1 at the centre of each image, [B, 2], and less far from it: [B, H, W]."""
    along = [
        tf.exp(-0.5 * tf.square((place[np.newaxis] - at) / _REACH))  # [B, H] or [B, W]
        for place, at in zip(
            ((2.0 * np.arange(n, dtype=np.float32) + 1.0) / n - 1.0 for n in size),
            tf.split(centre, 2, axis=1),
            strict=True,
        )
    ]
    return along[0][:, :, tf.newaxis] * along[1][:, tf.newaxis]


def _pixel_at_maximum(images: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
    """Images [B, H, W, C] where `score` [B, H, W] is largest: [B, C]."""
    pixels = score.shape[1] * score.shape[2]
    best = tf.argmax(tf.reshape(score, [-1, pixels]), axis=1)
    chosen = tf.one_hot(best, pixels)[:, :, tf.newaxis]  # [B, H W, 1]
    return tf.reduce_sum(chosen * tf.reshape(images, [-1, pixels, images.shape[3]]), 1)


def _most_seen(masks: tf.Tensor, *, ground: tf.Tensor) -> tf.Tensor:
    """The object of the largest mask, from 1 on; 0 where `ground` is not less."""
    best = tf.argmax(masks, axis=1, output_type=tf.int32)
    return tf.where(tf.reduce_max(masks, axis=1) > ground, best + 1, 0)


def make_composition(config: AdditiveConfig | AlphaConfig) -> Composition:
    """The composition that is set."""
    return Alpha() if isinstance(config, AlphaConfig) else Additive()
