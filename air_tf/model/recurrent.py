"""Inference whose steps remember each other through an LSTM.

The form of Eslami et al. 2016, section 2.2: it sees the image on every step, and
has to learn which objects it has explained already. What it learns of counts ends
with the largest count that it was trained on.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.model import networks
from air_tf.model.attend import Attend, Search


class _Memory(NamedTuple):
    lstm: networks.LSTMState  # [B, U]
    latents: tf.Tensor  # [B, 3 + D], z_where and z_what of the step before


class RecurrentAttend(Attend):
    """The attend loop of an LSTM."""

    def _make_look(self):
        config = self._config
        self._lstm = networks.ImageLSTM(
            pooling=config.look_pooling,
            units=config.recurrent_units,
            dtype=self.dtype_policy,
        )
        self._where_head = networks.PresenceWhereHead(
            hidden_units=config.where_units,
            scale_loc=config.where_prior_loc[0],
            dtype=self.dtype_policy,
        )

    def _build_look(self):
        self._lstm.build(self._config.image_shape, 3 + self._config.z_what_size)
        self._where_head.build((None, self._config.recurrent_units))

    def _look(self, images):
        return self._lstm.look(images)  # [B, 4U]

    def _initial_memory(self, images, look):
        size = 3 + self._config.z_what_size
        return _Memory(
            lstm=self._lstm.initial_state(look),
            latents=tf.zeros([tf.shape(images)[0], size]),
        )

    def _search(self, images, look, memory):
        lstm = self._lstm(look, tf.cast(memory.latents, look.dtype), memory.lstm)
        presence_logits, q_where = self._where_head(lstm.h)
        return Search(presence_logits, q_where, images, memory._replace(lstm=lstm))

    def _remember(self, memory, result):
        latents = tf.concat([result.z_where, result.z_what], axis=-1)
        return memory._replace(latents=latents)
