"""Recurrent inference: an LSTM is the memory between attend steps.

The form of Eslami et al. 2016, section 2.2. The LSTM reads the whole image at every
attend step, and has to learn which objects are explained already. It does not
generalise to counts larger than those it was trained on.
"""

from typing import NamedTuple

import tensorflow as tf

from air_tf.config import AIRConfig, RecurrentConfig
from air_tf.model.composition import Composition
from air_tf.model.heads import PresenceWhereHead
from air_tf.model.lstm import ImageLSTM, LSTMState
from air_tf.model.search import Found, Search


class _Memory(NamedTuple):
    image_gates: tf.Tensor  # [B, 4U], the image's contribution, the same at every step
    lstm: LSTMState  # [B, U]
    latents: tf.Tensor  # [B, 3 + D], z_where and z_what of the step before


class RecurrentSearch(Search):
    """Finds objects with an LSTM that reads the image and the last object found."""

    def __init__(self, config: AIRConfig, composition: Composition, **kwargs):
        super().__init__(autocast=False, **kwargs)
        del composition  # the form keeps no canvas: the LSTM is its only memory
        form = config.inference
        if not isinstance(form, RecurrentConfig):
            raise TypeError(f"inference is {form}; expected RecurrentConfig")
        self._config, self._form = config, form
        self._lstm = ImageLSTM(
            pooling=config.look_pooling,
            units=form.recurrent_units,
            dtype=self.dtype_policy,
        )
        self._where_head = PresenceWhereHead(config, dtype=self.dtype_policy)

    def build(self, input_shape):
        config = self._config
        self._lstm.build(config.image_shape, 3 + config.z_what_size)
        self._where_head.build((None, self._form.recurrent_units))

    def source_channels(self):
        return self._config.image_shape[2]

    def start(self, images, ground, first_cells):
        if first_cells is not None:
            raise ValueError("there are no cells in recurrent inference")
        gates = self._lstm.image_gates(images)
        size = 3 + self._config.z_what_size
        return _Memory(
            image_gates=gates,
            lstm=self._lstm.initial_state(gates),
            latents=tf.zeros([tf.shape(images)[0], size]),
        )

    def find(self, images, memory):
        gates = memory.image_gates
        lstm = self._lstm(gates, tf.cast(memory.latents, gates.dtype), memory.lstm)
        presence_logits, q_where = self._where_head(lstm.h)
        return Found(presence_logits, q_where, images, memory._replace(lstm=lstm))

    def remember(self, memory, result):
        latents = tf.concat([result.z_where, result.z_what], axis=-1)
        return memory._replace(latents=latents)
