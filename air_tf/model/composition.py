"""Combines objects into a canvas.

Other modules handle one image per object, [B, T, H, W, C]; only this one combines
them. Another composition (alpha and occlusion, or the depth of a 3D renderer)
implements the four functions of `Composition`.
"""

from collections.abc import Iterator
from typing import Protocol

import tensorflow as tf


class Composition(Protocol):
    """Interface of a composition.

    Shapes: canvas, ground and images [B, H, W, C]; z_pres [B, T] in [0, 1];
    object_image [B, T, H, W, C], but [B, H, W, C] in `add`.
    """

    def add(self, canvas: tf.Tensor, object_image: tf.Tensor) -> tf.Tensor:
        """The canvas with one more object in front of it."""
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


class Additive:
    """Objects add light: the canvas is their sum (Eslami et al. 2016, section 2.1).

    The order of objects does not matter. The canvas of n objects is that of n - 1
    objects plus one object image.
    """

    def add(self, canvas: tf.Tensor, object_image: tf.Tensor) -> tf.Tensor:
        """See `Composition`; the same for the other methods."""
        return canvas + object_image

    def compose(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        return ground + tf.einsum("bthwc,bt->bhwc", object_image, z_pres)

    def prefix_canvases(
        self, ground: tf.Tensor, object_image: tf.Tensor, z_pres: tf.Tensor
    ) -> tf.Tensor:
        drawn = object_image * z_pres[:, :, tf.newaxis, tf.newaxis, tf.newaxis]
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
