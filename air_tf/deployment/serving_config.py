"""Reads TF Serving's settings, in the text format of its messages."""

import importlib.util
import pathlib
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message

from air_tf.errors import InputError

_INT = wrappers_pb2.Int64Value.DESCRIPTOR
_FIELD = descriptor_pb2.FieldDescriptorProto


def require_serving_api() -> None:
    """Refuses to go on without TF Serving's messages.

    Raises:
      InputError: telling how to install them.
    """
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise InputError(
            "tensorflow-serving-api is not installed; expected air_tf with its extra: "
            "pip install '.[serving]'"
        )


def read_models(path: pathlib.Path) -> Message:
    """models.config, a ModelServerConfig.

    Raises:
      InputError: if it can't be read as one, as of every function here.
    """
    require_serving_api()
    from tensorflow_serving.config import model_server_config_pb2

    return _read(path, model_server_config_pb2.ModelServerConfig)


def read_batching(path: pathlib.Path) -> Message:
    """batching_parameters.pbtxt, a BatchingParameters."""
    return _read(path, _BATCHING)


def read_monitoring(path: pathlib.Path) -> Message:
    """monitoring.config, a MonitoringConfig."""
    return _read(path, _MONITORING)


def _read(path: pathlib.Path, message: Any) -> Message:
    try:
        return text_format.Parse(path.read_text(), message())
    except (OSError, text_format.ParseError) as error:
        raise InputError(f"{path} can't be read ({error})") from None


def _declare() -> tuple[Any, Any]:
    """The two messages that tensorflow-serving-api does not ship.

    As in tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
    tensorflow_serving/config/monitoring_config.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="air_tf_serving.proto",
        package="air_tf.serving",
        syntax="proto3",
        dependency=[_INT.file.name],
    )

    def add(message, name, type, type_name=None, repeated=False):
        message.field.add(
            name=name,
            number=len(message.field) + 1,
            type=type,
            type_name=type_name,
            label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
        )

    batching = file.message_type.add(name="BatchingParameters")
    for name in (
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    ):
        add(batching, name, _FIELD.TYPE_MESSAGE, f".{_INT.full_name}")
    add(batching, "allowed_batch_sizes", _FIELD.TYPE_INT64, repeated=True)
    add(batching, "pad_variable_length_inputs", _FIELD.TYPE_BOOL)
    prometheus = file.message_type.add(name="PrometheusConfig")
    add(prometheus, "enable", _FIELD.TYPE_BOOL)
    add(prometheus, "path", _FIELD.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    add(
        monitoring,
        "prometheus_config",
        _FIELD.TYPE_MESSAGE,
        ".air_tf.serving.PrometheusConfig",
    )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return tuple(
        message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"air_tf.serving.{name}")
        )
        for name in ("BatchingParameters", "MonitoringConfig")
    )


_BATCHING, _MONITORING = _declare()
