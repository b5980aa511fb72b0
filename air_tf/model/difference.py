"""Inference whose steps look at what is left to explain.

Difference-AIR (Eslami et al. 2016, section 3.1): a step sees the image
minus what has been drawn so far, and remembers nothing else. As it can't know how
many objects came before, it goes on with counts that it was never trained on.

One network sees every part of the canvas in the same way: in each cell of a grid it
says how likely an object is there, and in which window. The step takes the most
likely cell and looks again, at full resolution, through that window, and once more
through the corrected one: where objects stand close, the first window often lies
between two.
"""

import math

import tensorflow as tf

from air_tf.model import networks, spatial
from air_tf.model.attend import Attend, Search

# Each through the window that the look before corrected.
_CLOSER_LOOKS = 2


class DifferenceAttend(Attend):
    """The attend loop of a network that sees the unexplained rest of the image."""

    def _make_look(self):
        config = self._config
        self._cells = networks.CellSearch(
            pooling=config.look_pooling,
            hidden_units=config.look_units,
            scale_loc=config.where_prior_loc[0],
            dtype=self.dtype_policy,
        )
        self._where_head = networks.WhereHead(
            hidden_units=config.where_units, dtype=self.dtype_policy
        )

    def _build_look(self):
        config = self._config
        self._cells.build((None, *config.image_shape))
        size = math.prod(config.glimpse_size) * config.image_shape[2]
        self._where_head.build((None, size))

    def _look(self, images):
        return ()

    def _initial_memory(self, images, look):
        return tf.zeros_like(images)  # the canvas

    def _search(self, images, look, memory):
        # What is left is data to this step: where earlier objects were drawn is for
        # the likelihood to improve.
        rest = tf.stop_gradient(images - memory)
        presence_logits, guess = self._cells(rest)
        for _ in range(_CLOSER_LOOKS):
            glimpse = spatial.extract_glimpses(
                rest, guess.window(), self._config.glimpse_size
            )
            size = math.prod(glimpse.shape[1:])
            guess, q_where = self._where_head(
                tf.reshape(glimpse, [-1, size]), guess=guess
            )
        return Search(presence_logits, q_where, rest, memory)

    def _remember(self, memory, result):
        return memory + result.object_image
