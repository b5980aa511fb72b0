"""Asks a running TF Serving, over gRPC or REST."""

import base64
import io
import pathlib
import re
import time
from collections.abc import Callable
from typing import TypeVar

import grpc
import numpy as np
import requests
import tensorflow as tf
from PIL import ExifTags, Image

from air_tf.deployment.answers import to_scenes
from air_tf.deployment.serving_config import require_serving_api
from air_tf.errors import InputError
from air_tf.images import MAX_SERVED_PIXELS
from air_tf.structs import Scenes

SIGNATURE = "serve_image_bytes"
_ATTEMPTS, _FIRST_PAUSE = 4, 0.25
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_INTEGERS = ("num_objects", "num_trips")
_Answer = TypeVar("_Answer")


def to_bytes(path: str, picture: Image.Image) -> bytes:
    """What is sent of a picture: its file, but upright where only EXIF says how.

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


class ServerError(Exception):
    """The server does not answer, or not for this model: no picture will do."""


class _NotReady(Exception):
    pass


class GrpcClient:
    """Asks over gRPC.

    Args:
      server: HOST:PORT.
      model: its name.
      timeout: seconds for an answer.

    Raises:
      InputError: for an address of another form.
    """

    def __init__(self, server: str, model: str, *, timeout: float):
        require_serving_api()
        from tensorflow_serving.apis import predict_pb2
        from tensorflow_serving.apis import prediction_service_pb2_grpc as service

        self._server, self._model, self._timeout = _checked(server), model, timeout
        self._request = predict_pb2.PredictRequest
        # gRPC's own pauses must not outlast those between attempts.
        self._channel = grpc.insecure_channel(
            server, options=[("grpc.max_reconnect_backoff_ms", 200)]
        )
        self._stub = service.PredictionServiceStub(self._channel)

    def infer_bytes(self, picture: bytes) -> Scenes:
        """A PNG or JPEG to scenes of one image, without canvas.

        Raises:
          InputError: if the server refuses the picture.
          ServerError: if it does not answer, or has no such model.
        """
        request = self._request()
        request.model_spec.name = self._model
        request.model_spec.signature_name = SIGNATURE
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([picture]))
        return _with_retries(lambda: self._ask(request), self._server)

    def _ask(self, request) -> Scenes:
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            code, details = error.code(), _one_line(error.details())
            if code == grpc.StatusCode.UNAVAILABLE:
                raise _NotReady(details) from None
            if code == grpc.StatusCode.INVALID_ARGUMENT:
                raise InputError(f"the server refuses it: {details}") from None
            raise ServerError(
                f"server {self._server}: {code.name}: {details}"
            ) from None
        return to_scenes(
            {key: tf.make_ndarray(value) for key, value in response.outputs.items()}
        )

    def close(self) -> None:
        self._channel.close()


class RestClient:
    """Asks over REST; arguments, methods and errors are those of `GrpcClient`."""

    def __init__(self, server: str, model: str, *, timeout: float):
        self._server, self._timeout = _checked(server), timeout
        self._url = f"http://{server}/v1/models/{model}:predict"
        self._session = requests.Session()

    def infer_bytes(self, picture: bytes) -> Scenes:
        instance = {"image_bytes": {"b64": base64.b64encode(picture).decode()}}
        body = {"signature_name": SIGNATURE, "instances": [instance]}
        return _with_retries(lambda: self._ask(body), self._server)

    def _ask(self, body) -> Scenes:
        try:
            response = self._session.post(self._url, json=body, timeout=self._timeout)
        except requests.Timeout:
            raise ServerError(
                f"server {self._server}: no answer within {self._timeout:g} s"
            ) from None
        except requests.RequestException as error:
            raise _NotReady(_one_line(str(error))) from None
        if response.status_code == requests.codes.unavailable:
            raise _NotReady(_error_of(response))
        if response.status_code == requests.codes.bad_request:
            raise InputError(f"the server refuses it: {_error_of(response)}")
        if not response.ok:
            raise ServerError(
                f"server {self._server}: {response.status_code}: {_error_of(response)}"
            )
        try:
            row = response.json()["predictions"][0]
            outputs = {
                key: np.array([value], np.int32 if key in _INTEGERS else np.float32)
                for key, value in row.items()
            }
            return to_scenes(outputs)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise ServerError(
                f"server {self._server}: an answer that is not that of the model"
            ) from None

    def close(self) -> None:
        self._session.close()


PROTOCOLS = {"grpc": GrpcClient, "rest": RestClient}


def _with_retries(ask: Callable[[], _Answer], server: str) -> _Answer:
    """Asks again while the server is not ready, with pauses that double."""
    for attempt in range(_ATTEMPTS):
        try:
            return ask()
        except _NotReady as error:
            reason = error
        if attempt + 1 < _ATTEMPTS:
            time.sleep(_FIRST_PAUSE * 2**attempt)
    raise ServerError(
        f"server {server}: UNAVAILABLE after {_ATTEMPTS} attempts ({reason})"
    )


def _checked(server: str) -> str:
    port = server.rpartition(":")[2]
    if not _ADDRESS.fullmatch(server) or not 1 <= int(port) <= 65535:
        raise InputError(f"server is {server!r}; expected HOST:PORT")
    return server


def _error_of(response: requests.Response) -> str:
    try:
        return _one_line(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return _one_line(response.text or response.reason)


def _one_line(text: str | None) -> str:
    return " ".join((text or "no reason given").split())[:300]
