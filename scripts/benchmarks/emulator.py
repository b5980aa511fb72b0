"""An emulator of TF Serving: its gRPC interface over a session in this process.

For tests and load tests without a container: TF Serving itself is not on PyPI. The
emulator loads the model as TF Serving does, has the same interface and errors, and
reads the same batching parameters. One difference: if a batch fails, it runs each of
the requests alone, while TF Serving refuses all of them.
"""

import concurrent.futures
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from air_tf.deployment import serving_config
from air_tf.deployment.protos.session_bundle_config_pb2 import BatchingParameters
from air_tf.deployment.serving_files import MODEL_NAME
from air_tf.deployment.session import ServedModel
from air_tf.deployment.versions import find_version

_MAX_MESSAGE_BYTES = 2**26
_MAX_TENSOR_BYTES = 2**26
_CODES = {code.value[0]: code for code in grpc.StatusCode}
Arrays = Mapping[str, np.ndarray]


class Emulator:
    """A context manager that serves the largest version in BASE on loopback.

    Args:
      base: the folder that export.py wrote.
      batching: whether to merge requests, as batching_parameters.pbtxt says.
      port: 0 for a free one.

    Attributes:
      port: the port it listens on, in the context.
    """

    def __init__(
        self, base: str | os.PathLike, *, batching: bool = False, port: int = 0
    ):
        version = find_version(base)
        self._model = ServedModel(version)
        self._batchers: dict[str, _Batcher] = {}
        run: Callable[[str, Arrays], Arrays] = self._model
        if batching:
            settings = serving_config.read_batching(
                version.parent / "batching_parameters.pbtxt"
            )
            self._batchers = {
                name: _Batcher(self._model, name, settings)
                for name in self._model.signatures
            }
            run = self._run_batched
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(max_workers=64),
            options=[("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(self._model.signatures, run, int(version.name)),
            self._server,
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _ModelService(int(version.name)), self._server
        )
        self.port = port

    def _run_batched(self, signature: str, inputs: Arrays) -> Arrays:
        return self._batchers[signature](inputs)

    def __enter__(self) -> "Emulator":
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(grace=1).wait()
        for batcher in self._batchers.values():
            batcher.close()
        self._model.close()


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(
        self,
        signatures: Mapping[str, Any],
        run: Callable[[str, Arrays], Arrays],
        version: int,
    ):
        self._signatures, self._run, self._version = signatures, run, version

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        _require_model(request.model_spec, self._version, context)
        name = request.model_spec.signature_name or "serving_default"
        if name not in self._signatures:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        signature = self._signatures[name]
        try:
            inputs = _read_inputs(request.inputs, signature)
            outputs = self._run(name, inputs)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except queue.Full:
            context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        except tf.errors.OpError as error:
            context.abort(_CODES[error.error_code], error.message)
        wanted = request.output_filter or outputs
        unknown = set(wanted) - set(outputs)
        if unknown:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"output tensor alias not found in signature: {', '.join(unknown)}",
            )
        response = predict_pb2.PredictResponse()
        response.model_spec.name = MODEL_NAME
        response.model_spec.version.value = self._version
        response.model_spec.signature_name = name
        for key in wanted:
            response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        _require_model(request.model_spec, self._version, context)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self._signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = MODEL_NAME
        response.model_spec.version.value = self._version
        response.metadata["signature_def"].Pack(signatures)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, version: int):
        self._version = version

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        _require_model(request.model_spec, self._version, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(
            version=self._version,
            state=get_model_status_pb2.ModelVersionStatus.AVAILABLE,
        )
        return response


def _require_model(spec: Any, version: int, context: grpc.ServicerContext) -> None:
    if spec.name != MODEL_NAME:
        context.abort(
            grpc.StatusCode.NOT_FOUND,
            f"Servable not found for request: Latest({spec.name})",
        )
    if spec.HasField("version") and spec.version.value != version:
        context.abort(
            grpc.StatusCode.NOT_FOUND,
            f"Servable not found for request: Specific({spec.name}, "
            f"{spec.version.value})",
        )


def _read_inputs(protos: Mapping[str, Any], signature: Any) -> dict[str, np.ndarray]:
    """The arrays of a request; ValueError for inputs that TF Serving refuses."""
    if sorted(protos) != sorted(signature.inputs):
        raise ValueError(
            f"input keys are {sorted(protos)}; expected {sorted(signature.inputs)}"
        )
    arrays = {}
    for key, proto in protos.items():
        wanted = tf.as_dtype(signature.inputs[key].dtype)
        if proto.dtype != wanted.as_datatype_enum:
            raise ValueError(
                f"Expects {key} to be {wanted.name} but "
                f"{tf.as_dtype(proto.dtype).name if proto.dtype else 'nothing'} is "
                "provided"
            )
        sizes = [dim.size for dim in proto.tensor_shape.dim]
        # A tensor of equal values is sent as one value: small messages can be large
        # tensors.
        if min(sizes, default=0) < 0 or np.prod(sizes, dtype=float) > (
            _MAX_TENSOR_BYTES / max(wanted.size, 1)
        ):
            raise ValueError(f"{key} has shape {sizes}, which is too large")
        try:
            arrays[key] = tf.make_ndarray(proto)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key} can't be read ({error})") from None
    return arrays


class _Task(NamedTuple):
    inputs: Arrays
    answer: concurrent.futures.Future

    @property
    def size(self) -> int:
        """Number of images."""
        return max((len(a) for a in self.inputs.values() if a.ndim), default=0)

    @property
    def kind(self) -> tuple[list, bool]:
        """Shapes, and whether all inputs have one batch size.

        Requests can be merged if their kinds are equal and sizes agree.
        """
        shapes = {key: array.shape[1:] for key, array in self.inputs.items()}
        alike = {array.shape[:1] for array in self.inputs.values()} == {(self.size,)}
        return (sorted(shapes.items()), alike and self.size > 0)


class _Batcher:
    """Merges requests that wait at the same time into one run of the session."""

    def __init__(
        self, model: ServedModel, signature: str, settings: BatchingParameters
    ):
        self._run = lambda inputs: model(signature, inputs)
        self._most = settings.max_batch_size.value
        self._timeout = settings.batch_timeout_micros.value * 1e-6
        self._sizes = sorted(settings.allowed_batch_sizes) or [self._most]
        # None ends a thread.
        self._tasks: queue.Queue[_Task | None] = queue.Queue(
            settings.max_enqueued_batches.value * self._most
        )
        self._threads = [
            threading.Thread(target=self._work, daemon=True)
            for _ in range(settings.num_batch_threads.value)
        ]
        for thread in self._threads:
            thread.start()

    def __call__(self, inputs: Arrays) -> Arrays:
        task = _Task(inputs, concurrent.futures.Future())
        if task.size > self._most:
            raise ValueError(
                f"Task size {task.size} is larger than maximum input batch size "
                f"{self._most}"
            )
        self._tasks.put_nowait(task)
        return task.answer.result()

    def close(self) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        held: _Task | None = None
        while True:
            task = held or self._tasks.get()
            if task is None:
                return
            batch, held = self._collect(task)
            self._answer(batch)

    def _collect(self, first: _Task) -> tuple[list[_Task], _Task | None]:
        """Tasks for one run, and the next task if it did not fit."""
        batch, size = [first], first.size
        end = time.monotonic() + self._timeout
        while size < self._most:
            try:
                task = self._tasks.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if task is None:
                self._tasks.put(None)
                break
            fits = size + task.size <= self._most and task.kind == first.kind
            if not fits or not first.kind[1]:
                return batch, task
            batch.append(task)
            size += task.size
        return batch, None

    def _answer(self, batch: list[_Task]) -> None:
        try:
            outputs = self._run(self._together(batch))
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for task in batch:
                self._answer([task])
            return
        start = 0
        for task in batch:
            end = start + task.size
            task.answer.set_result({key: a[start:end] for key, a in outputs.items()})
            start = end

    def _together(self, batch: list[_Task]) -> Arrays:
        if not batch[0].kind[1]:
            return batch[0].inputs
        size = sum(task.size for task in batch)
        padding = next((s for s in self._sizes if s >= size), size) - size
        merged = {}
        for key in batch[0].inputs:
            arrays = [task.inputs[key] for task in batch]
            merged[key] = np.concatenate(arrays + [arrays[0][:1]] * padding)
        return merged
