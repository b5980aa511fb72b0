"""Client of a running TF Serving, over gRPC or REST."""

import abc
import base64
import io
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf
from PIL import ExifTags, Image
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError
from urllib3.util import Retry

from air_tf.config import PictureConfig
from air_tf.deployment.answers import dtype_of, read_answer, read_pictures
from air_tf.errors import InputError, ServerError
from air_tf.extras import require_extra
from air_tf.images import MAX_SERVED_PIXELS, batches
from air_tf.structs import Scenes, TabletopScenes

SIGNATURE = "serve_image_bytes"
_WINDOWS = "reconstruct"
# Windows in a request: the answer holds a mask for each object.
_NUM_WINDOWS = 16
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
# Of arrays, by those of outputs.
_TYPES = {"float32": np.float32, "int32": np.int32, "string": np.str_}
# Of a request to a server that is down, still loading the model, or overloaded.
_ATTEMPTS = 4
_FIRST_PAUSE = 0.25  # seconds, doubled after every attempt
_GRPC_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "tensorflow.serving.PredictionService"}],
            "retryPolicy": {
                "maxAttempts": _ATTEMPTS,
                "initialBackoff": f"{_FIRST_PAUSE}s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
# Failed connections and status 503. Not a late answer: it would be late again.
_REST_RETRY = Retry(
    total=_ATTEMPTS - 1,
    read=False,
    allowed_methods=["POST"],
    status_forcelist=[requests.codes.unavailable],
    backoff_factor=_FIRST_PAUSE,
    raise_on_status=False,
    respect_retry_after_header=False,
)


def to_bytes(path: str | os.PathLike, picture: Image.Image) -> bytes:
    """The bytes to send for a picture.

    They are those of its file, unless EXIF data rotate it: servers ignore EXIF.

    Args:
      path: PNG or JPEG.
      picture: as `read_picture` reads it.

    Raises:
      InputError: if it is too large for the server.
    """
    if picture.width * picture.height > MAX_SERVED_PIXELS:
        raise InputError(
            f"{path}: {picture.width}x{picture.height} pixels; a server takes at most "
            f"{MAX_SERVED_PIXELS}"
        )
    with Image.open(path) as file:
        upright = file.getexif().get(ExifTags.Base.Orientation, 1) == 1
    if upright:
        return pathlib.Path(path).read_bytes()
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


class Client(abc.ABC):
    """Asks a server for what it finds in pictures."""

    @abc.abstractmethod
    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
          signature: its name.
          inputs: arrays by name, with the same first axis; pictures as bytes.

        Returns:
          Outputs by name; texts as str.

        Raises:
          InputError: if the server refuses the inputs.
          ServerError: if it does not answer, or has no such model.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the connection."""

    def infer_bytes(self, picture: bytes) -> Scenes | TabletopScenes:
        """Infers the scene of one PNG or JPEG.

        Returns:
          Scenes of one image, without canvas or masks.

        Raises:
          InputError, ServerError: as `predict`.
        """
        outputs = self.predict(SIGNATURE, {"image_bytes": np.array([picture], object)})
        return self._read(outputs)

    def infer_windows(self, windows: np.ndarray) -> Scenes:
        """Infers the scenes of images of the canvas' size, [N, H, W, C] uint8.

        Raises:
          InputError, ServerError: as `predict`.
        """
        images = windows / np.float32(255.0)
        parts = [
            self._read(self.predict(_WINDOWS, {"image": batch}))
            for _, batch in batches(images, _NUM_WINDOWS)
        ]
        return Scenes(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in Scenes._fields
            )
        )

    def read_pictures(self) -> tuple[PictureConfig, tuple[int, int]] | None:
        """How pictures of any size are cut into windows of (h, w) pixels; None for a
        model that does not do that.

        Raises:
          InputError, ServerError: as `predict`. ServerError also for settings that
            this version of air_tf can't read.
        """
        black = io.BytesIO()
        Image.new("L", (1, 1)).save(black, "PNG")
        picture = np.array([black.getvalue()], object)
        try:
            outputs = self.predict(SIGNATURE, {"image_bytes": picture})
        except InputError:  # a fixed camera has another aspect ratio
            return None
        try:
            return read_pictures(outputs)
        except InputError as error:
            raise ServerError(
                f"server {self._server}: the model was exported by another version of "
                f"air_tf: {error}"
            ) from None

    _server: str

    def _read(self, outputs: Mapping[str, np.ndarray]) -> Scenes | TabletopScenes:
        try:
            return read_answer(outputs)
        except (KeyError, TypeError, IndexError):
            raise _not_ours(self._server) from None


class GrpcClient(Client):
    """Client over gRPC.

    Args:
      server: HOST:PORT.
      model: name of the model on the server.
      timeout: seconds to wait for an answer, retries included.

    Raises:
      InputError: for an address that is not HOST:PORT.
    """

    def __init__(self, server: str, model: str, *, timeout: float):
        require_extra("serving")
        from tensorflow_serving.apis import predict_pb2
        from tensorflow_serving.apis import prediction_service_pb2_grpc as service

        self._server, self._model, self._timeout = _checked(server), model, timeout
        self._request = predict_pb2.PredictRequest
        self._channel = grpc.insecure_channel(
            server,
            options=[
                ("grpc.service_config", json.dumps(_GRPC_CONFIG)),
                # Masks of windows are larger than gRPC's usual 4 MiB.
                ("grpc.max_receive_message_length", -1),
                # gRPC's own pause before it connects again, below those of retries.
                ("grpc.max_reconnect_backoff_ms", 200),
            ],
        )
        self._stub = service.PredictionServiceStub(self._channel)

    def predict(self, signature, inputs):
        request = self._request()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._as_ours(error) from None
        return {key: _from_proto(value) for key, value in response.outputs.items()}

    def _as_ours(self, error: Any) -> InputError | ServerError:
        code, details = error.code(), _one_line(error.details())
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return _refused(details)
        if code == grpc.StatusCode.UNAVAILABLE:
            return _unavailable(self._server, details)
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return _too_late(self._server, self._timeout)
        return ServerError(f"server {self._server}: {code.name}: {details}")

    def close(self) -> None:
        self._channel.close()


class RestClient(Client):
    """Client over REST.

    Arguments, methods and errors are those of `GrpcClient`, but `timeout` is for each
    attempt.
    """

    def __init__(self, server: str, model: str, *, timeout: float):
        self._server, self._timeout = _checked(server), timeout
        self._url = f"http://{server}/v1/models/{model}:predict"
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(max_retries=_REST_RETRY))

    def predict(self, signature, inputs):
        num = len(next(iter(inputs.values())))
        instances = [
            {name: _to_json(array[i]) for name, array in inputs.items()}
            for i in range(num)
        ]
        body = {"signature_name": signature, "instances": instances}
        try:
            response = self._session.post(self._url, json=body, timeout=self._timeout)
        except requests.Timeout:
            raise _too_late(self._server, self._timeout) from None
        except requests.RequestException as error:
            cause = error.args[0] if error.args else error
            if isinstance(cause, MaxRetryError):
                reason = _one_line(str(cause.reason))
                raise _unavailable(self._server, reason) from None
            raise ServerError(
                f"server {self._server}: {_one_line(str(error))}"
            ) from None
        if response.status_code == requests.codes.bad_request:
            raise _refused(_error_of(response))
        if response.status_code == requests.codes.unavailable:
            raise _unavailable(self._server, _error_of(response))
        if not response.ok:
            raise ServerError(
                f"server {self._server}: {response.status_code}: {_error_of(response)}"
            )
        try:
            rows = response.json()["predictions"]
            return {
                key: np.array([row[key] for row in rows], _TYPES[dtype_of(key)])
                for key in rows[0]
            }
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise _not_ours(self._server) from None

    def close(self) -> None:
        self._session.close()


PROTOCOLS: dict[str, type[GrpcClient] | type[RestClient]] = {
    "grpc": GrpcClient,
    "rest": RestClient,
}


def _checked(server: str) -> str:
    port = server.rpartition(":")[2]
    if not _ADDRESS.fullmatch(server) or not 1 <= int(port) <= 65535:
        raise InputError(f"is {server!r}; expected HOST:PORT", field="server")
    return server


def _from_proto(proto: Any) -> np.ndarray:
    array = tf.make_ndarray(proto)
    return np.char.decode(array.astype(np.bytes_)) if array.dtype == object else array


def _to_json(value: Any) -> Any:
    """An input of a REST request."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value.tolist()


def _refused(details: str) -> InputError:
    return InputError(f"refused by the server: {details}")


def _unavailable(server: str, reason: str) -> ServerError:
    return ServerError(
        f"server {server}: UNAVAILABLE after {_ATTEMPTS} attempts ({reason})"
    )


def _too_late(server: str, timeout: float) -> ServerError:
    return ServerError(f"server {server}: no answer within {timeout:g} s")


def _not_ours(server: str) -> ServerError:
    return ServerError(f"server {server}: the answer is not that of an AIR model")


def _error_of(response: requests.Response) -> str:
    try:
        return _one_line(response.json()["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return _one_line(response.text or response.reason)


def _one_line(text: str | None) -> str:
    return " ".join((text or "no reason given").split())[:300]
