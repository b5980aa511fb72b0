"""Difference inference: each attend step sees what is not explained yet.

Difference-AIR (Eslami et al. 2016, section 3.1): an attend step sees the residual,
the image minus the canvas drawn so far. The canvas is its only memory, so a step
does not depend on the number of objects before it. Therefore inference generalises
to counts larger than those it was trained on.

One network reads the surroundings of every cell of a grid, and gives the logit that
an object is there, and a window. The step chooses the most likely cell, and corrects
its window with glimpses at full resolution, because the first window often lies
between two objects that are close to each other.
"""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from air_tf.config import AIRConfig, DifferenceConfig
from air_tf.model import spatial
from air_tf.model.cell_search import CellSearch
from air_tf.model.composition import Composition
from air_tf.model.heads import WhereHead
from air_tf.model.layers import flat_size
from air_tf.model.search import Found, Search


class _Memory(NamedTuple):
    drawn: Any  # of the composition
    # [B] int32, where the next step looks if at least 0; () if it is free to choose.
    cells: Any


class DifferenceSearch(Search):
    """Searches the residual for the next object; its memory is what is drawn."""

    def __init__(self, config: AIRConfig, composition: Composition, **kwargs):
        super().__init__(autocast=False, **kwargs)
        form = config.inference
        if not isinstance(form, DifferenceConfig):
            raise TypeError(f"inference is {form}; expected DifferenceConfig")
        self._config, self._form, self._composition = config, form, composition
        self._cells = CellSearch(config, form, dtype=self.dtype_policy)
        self._where_head = WhereHead(config, dtype=self.dtype_policy)

    def build(self, input_shape):
        config = self._config
        channels = self._seen(tf.zeros([1, *config.image_shape])).shape[3]
        self._cells.build((None, *config.image_shape[:2], channels))
        channels = self._focused(tf.zeros([1, *config.image_shape])).shape[3]
        self._where_head.build((None, math.prod(config.glimpse_size) * channels))

    def source_channels(self):
        image = tf.zeros([1, *self._config.image_shape])
        return self._composition.source(image, self._focused(image)).shape[3]

    def _seen(self, image: tf.Tensor) -> tf.Tensor:
        """What the search sees of an image that is its own ground."""
        return self._composition.unexplained(image, self._composition.start(image))

    def _focused(self, image: tf.Tensor) -> tf.Tensor:
        return self._composition.focus(image, self._seen(image), tf.zeros([1, 2]))

    def start(self, images, ground, first_cells):
        cells = () if first_cells is None else first_cells
        return _Memory(self._composition.start(ground), cells)

    def after(self, ground, layers):
        drawn = self._composition.start(ground)
        for layer in tf.unstack(layers, axis=1):
            drawn = self._composition.add(drawn, layer)
        return _Memory(drawn, ())

    def least_explained(self, images, memory):
        seen = self._composition.unexplained(images, memory.drawn)
        squares = tf.square(self._composition.distance(seen))  # [B, H, W]
        return memory._replace(cells=self._cells.largest(squares[..., tf.newaxis]))

    def first_cells(
        self, images: tf.Tensor, ground: tf.Tensor, number: int
    ) -> tf.Tensor:
        """Where the first attend step could look.

        Args:
          images, ground: [B, H, W, C].
          number: K.

        Returns:
          The most likely cells that are apart from each other, best first: [B, K]
          int32.
        """
        seen = self._composition.unexplained(images, self._composition.start(ground))
        return self._cells.ranked(seen, number, self._form.proposal_distance)

    def find(self, images, memory):
        # No gradient: earlier objects learn from the likelihood, not from how well
        # later steps can use the residual.
        seen = tf.stop_gradient(self._composition.unexplained(images, memory.drawn))
        free = isinstance(memory.cells, tuple)
        presence_logits, guess = self._cells(seen, None if free else memory.cells)
        centre = tf.stop_gradient(guess.centre)
        seen = self._composition.focus(images, seen, centre)
        for _ in range(self._form.num_refinements):
            glimpse = spatial.extract_glimpses(
                seen,
                guess.window(),
                self._config.glimpse_size,
                self._config.min_window_scale,
            )
            size = flat_size(glimpse.shape)
            guess, q_where = self._where_head(
                tf.reshape(glimpse, [-1, size]), guess=guess
            )
        source = self._composition.source(images, seen)
        return Found(presence_logits, q_where, source, memory)

    def remember(self, memory, result):
        cells = memory.cells
        if not isinstance(cells, tuple):
            cells = tf.fill(tf.shape(cells), -1)
        drawn = self._composition.add(memory.drawn, result.object_image)
        return _Memory(drawn, cells)
