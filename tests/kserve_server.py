"""Serves an exported model over REST with KServe, in a session as TF Serving does.

    python tests/kserve_server.py --version=BASE/VERSION --http_port=PORT

It needs its own environment, since KServe needs an older protobuf.
"""

import base64
import sys

import kserve
import numpy as np
import tensorflow as tf
from kserve.errors import InvalidInput

from air_tf.deployment.session import ServedModel


class Model(kserve.Model):
    """TF Serving's REST rows to arrays and back."""

    def __init__(self, name: str, version: str):
        super().__init__(name)
        self._served = ServedModel(version)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        name = payload.get("signature_name", "serving_default")
        if name not in self._served.signatures:
            raise InvalidInput(f'Serving signature key "{name}" not found.')
        inputs = self._served.signatures[name].inputs
        try:
            rows = [_row(instance, inputs) for instance in payload["instances"]]
            arrays = {
                key: np.array([row[key] for row in rows], _dtype(tensor))
                for key, tensor in inputs.items()
            }
            outputs = self._served(name, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{type(error).__name__}: {error}") from None
        except tf.errors.OpError as error:
            raise InvalidInput(error.message) from None
        return {
            "predictions": [
                {key: array[i].tolist() for key, array in outputs.items()}
                for i in range(len(rows))
            ]
        }


def _row(instance, inputs):
    """{name: value}, or the value itself where there is one input."""
    named = isinstance(instance, dict) and set(instance) == set(inputs)
    row = instance if named else {next(iter(inputs)): instance}
    return {key: _value(value) for key, value in row.items()}


def _value(value):
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value


def _dtype(tensor):
    dtype = tf.as_dtype(tensor.dtype)
    return object if dtype == tf.string else dtype.as_numpy_dtype


if __name__ == "__main__":
    given = dict(flag.lstrip("-").split("=", 1) for flag in sys.argv[1:])
    sys.argv[1:] = []
    server = kserve.ModelServer(
        http_port=int(given["http_port"]), enable_grpc=False, workers=1
    )
    server.start([Model("air", given["version"])])
