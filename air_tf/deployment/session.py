"""Runs a SavedModel as TF Serving does: in a session, with the tensor names of the
SignatureDef.

`tf.saved_model.load` in Python is no proof that a server can load a model: it finds
variables that a session may not find (keras issue 20095).
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from air_tf.errors import InputError
from air_tf.files import reading

MAX_GRAPH_BYTES = 2**28
_INITIALISER = "__saved_model_init_op"


class ServedModel:
    """A SavedModel in its own session.

    Inputs are not checked against the signature's shapes, just as TF Serving does not
    check them: the graph has to.

    Args:
      path: BASE/VERSION.

    Attributes:
      signatures: SignatureDefs by name.
      graph_def: the GraphDef.

    Raises:
      InputError: if there is no SavedModel, or it can't be loaded.
    """

    def __init__(self, path: str | os.PathLike):
        meta_graph = read_meta_graph(path)
        self.signatures: dict[str, Any] = {
            name: signature
            for name, signature in meta_graph.signature_def.items()
            if name != _INITIALISER
        }
        self.graph_def = meta_graph.graph_def
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            fed = {
                tensor.name: tf.compat.v1.placeholder(tensor.dtype)
                for signature in self.signatures.values()
                for tensor in signature.inputs.values()
            }
            try:
                tf.compat.v1.saved_model.loader.load(
                    self._session, ["serve"], str(path), input_map=fed
                )
            except (OSError, ValueError, tf.errors.OpError) as error:
                reason = str(error).replace("Graph execution error:", "").strip()
                raise InputError(
                    f"{path} can't be loaded ({reason.splitlines()[0]})"
                ) from None
        self._calls = {
            name: self._session.make_callable(
                {key: tensor.name for key, tensor in signature.outputs.items()},
                [fed[signature.inputs[key].name] for key in sorted(signature.inputs)],
            )
            for name, signature in self.signatures.items()
        }

    def __call__(
        self, signature: str, inputs: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature: its name.
          inputs: an array for each of its inputs.

        Returns:
          An array for each of its outputs.

        Raises:
          KeyError: for an unknown signature or other inputs.
          tf.errors.OpError: if the graph refuses the values.
        """
        names = sorted(self.signatures[signature].inputs)
        if sorted(inputs) != names:
            raise KeyError(f"inputs are {sorted(inputs)}; expected {names}")
        return self._calls[signature](*(inputs[name] for name in names))

    def close(self) -> None:
        self._session.close()


def served_max_objects(signatures: Mapping[str, Any]) -> int:
    """T of an exported model, read from its SignatureDefs."""
    presence = signatures["serving_default"].outputs["presence"]
    return presence.tensor_shape.dim[1].size


def read_meta_graph(path: str | os.PathLike) -> Any:
    """The MetaGraphDef that is served, of the SavedModel in a folder.

    Raises:
      InputError: if there is none, or it can't be read.
    """
    file = pathlib.Path(path) / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel()
    with reading(file):
        if not file.is_file():
            raise InputError(f"{path} holds no saved_model.pb; expected a SavedModel")
        if file.stat().st_size > MAX_GRAPH_BYTES:
            raise InputError(f"{file} is larger than {MAX_GRAPH_BYTES} bytes")
        content = file.read_bytes()
    try:
        saved_model.ParseFromString(content)
    except DecodeError:
        raise InputError(f"{file} is not a SavedModel, or a broken one") from None
    for meta_graph in saved_model.meta_graphs:
        if "serve" in meta_graph.meta_info_def.tags:
            return meta_graph
    raise InputError(f"{file} has no graph with the tag serve")
