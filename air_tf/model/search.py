"""Interface of a form of inference: the search for the next object.

At each attend step, the search gives q(z_pres_t) and q(z_where_t). Everything else in
the step is the same for all forms (`air_tf.model.attend`). The forms differ in the
memory between steps: the canvas drawn so far (`difference`), or the state of an LSTM
(`recurrent`).
"""

import abc
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from air_tf.structs import NormalParams


class StepResult(NamedTuple):
    """Results of one attend step; with an axis T after B, of all of them."""

    presence_logits: tf.Tensor  # [B]
    q_where_params: NormalParams  # [B, 3]
    z_where: tf.Tensor  # [B, 3]
    q_what_params: NormalParams  # [B, D]
    z_what: tf.Tensor  # [B, D]
    object_image: tf.Tensor  # [B, H, W, L], the object of this step


class Found(NamedTuple):
    """What the search gives at one attend step."""

    presence_logits: tf.Tensor  # [B], of q(z_pres_t = 1 | z_pres_{t-1} = 1)
    q_where_params: NormalParams  # [B, 3]
    source: tf.Tensor  # [B, H, W, S], the image that the glimpse is read from
    memory: Any  # of the search, [B, ...]


class Search(keras.layers.Layer, abc.ABC):
    """The networks of q(z_pres_t | ..) and q(z_where_t | ..), with their memory."""

    @abc.abstractmethod
    def source_channels(self) -> int:
        """The number of channels that glimpses have."""

    @abc.abstractmethod
    def start(
        self, images: tf.Tensor, ground: tf.Tensor, first_cells: tf.Tensor | None
    ) -> Any:
        """The memory before the first attend step.

        Args:
          images: [B, H, W, C].
          ground: [B, H, W, C], the canvas without objects.
          first_cells: [B] int32, for forms that search over cells: where the first
            step looks, see `CellSearch.call`. None: where it wants.

        Returns:
          A structure of tensors [B, ...].
        """

    def after(self, ground: tf.Tensor, layers: tf.Tensor) -> Any:
        """The memory after objects that are given, [B, N, H, W, L].

        Only of forms whose memory is what is drawn.
        """
        raise NotImplementedError

    def least_explained(self, images: tf.Tensor, memory: Any) -> Any:
        """The memory, with the next step where the image is explained least.

        Only of forms that search over cells.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def find(self, images: tf.Tensor, memory: Any) -> Found:
        """Gives q(z_pres_t) and q(z_where_t) of the next object."""

    @abc.abstractmethod
    def remember(self, memory: Any, result: StepResult) -> Any:
        """The memory after an attend step with this result."""
