"""Reads TF Serving's settings files, which hold protobuf messages as text."""

import pathlib
from typing import Any, TypeVar

from google.protobuf import text_format

from air_tf.deployment.protos.monitoring_config_pb2 import MonitoringConfig
from air_tf.deployment.protos.session_bundle_config_pb2 import BatchingParameters
from air_tf.errors import InputError
from air_tf.extras import require_extra
from air_tf.files import reading

_Message = TypeVar("_Message")


def read_models(path: pathlib.Path) -> Any:
    """Reads models.config, a ModelServerConfig.

    Raises:
      InputError: if the file can't be read or is not such a message.
    """
    require_extra("serving")
    from tensorflow_serving.config import model_server_config_pb2

    return _read(path, model_server_config_pb2.ModelServerConfig())


def read_batching(path: pathlib.Path) -> BatchingParameters:
    """Reads batching_parameters.pbtxt; raises as `read_models`."""
    return _read(path, BatchingParameters())


def read_monitoring(path: pathlib.Path) -> MonitoringConfig:
    """Reads monitoring.config; raises as `read_models`."""
    return _read(path, MonitoringConfig())


def _read(path: pathlib.Path, message: _Message) -> _Message:
    with reading(path):
        content = path.read_bytes()
    try:
        return text_format.Parse(content.decode(), message)
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise InputError(f"{path} can't be read ({error})") from None
