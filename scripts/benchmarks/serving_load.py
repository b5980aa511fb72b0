"""Load-tests a served model: many clients, and malformed requests among good ones."""

import concurrent.futures
import io
import itertools
import multiprocessing
import os
import pathlib
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import grpc
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from air_tf.deployment.export import exported_run
from air_tf.deployment.serving_files import MODEL_NAME
from air_tf.deployment.session import read_meta_graph, served_max_objects
from air_tf.deployment.signatures import in_float32
from air_tf.deployment.versions import find_version
from air_tf.structs import Scenes
from air_tf.visualization.drawing import to_picture_bytes
from benchmarks.emulator import Emulator
from benchmarks.exported_images import sampled_images
from benchmarks.tables import markdown_table

_CLIENTS = (1, 8, 32)
_SECONDS, _WARM_UP_SECONDS = 10.0, 2.0
_NUM_MIXED, _MIXED_CLIENTS = 6000, 16
_TIMEOUT = 60.0
# Codes that a malformed request may be refused with.
_REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class _Request(NamedTuple):
    kind: str
    message: Any  # PredictRequest
    wanted: dict[str, np.ndarray] | None  # outputs; None if it must be refused


def benchmark_serving(base: str | os.PathLike) -> dict[str, Any]:
    """Load-tests an exported model on the emulator of TF Serving.

    The server is a process of its own. Clients are threads of this process and share
    the machine with the server, so their work is part of the times.

    Args:
      base: the folder that export.py wrote.

    Returns:
      "speed", the speed for each number of clients, without batching and with it; and
      "mixed", likewise, the results of thousands of good and malformed requests.

    Raises:
      InputError: if there is no exported model.
    """
    version = find_version(base)
    air = in_float32(exported_run(version).load_air())
    steps = served_max_objects(read_meta_graph(version).signature_def)
    images = sampled_images(version, 8 * (steps + 1))
    scenes = air.infer(images, max_objects=steps, batch_size=1)
    good, bad = _good_requests(images, scenes), _bad_requests(images)
    speed, mixed = [], []
    for batching in (False, True):
        with _Server(base, batching) as server:
            arrays = [one for one in good if one.kind == "image"]
            for clients in _CLIENTS:
                row = _measure_speed(server, arrays, clients)
                speed.append({"batching": batching, "clients": clients, **row})
            found = _measure_mixed(server, good, bad)
            mixed.append({"batching": batching, **found})
    return {"speed": speed, "mixed": mixed}


class _Server:
    """The emulator in a process of its own."""

    def __init__(self, base: str | os.PathLike, batching: bool):
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(str(base), batching, theirs), daemon=True
        )

    def __enter__(self) -> "_Server":
        self._process.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self._ours.recv()}")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        return self

    def __exit__(self, *error: Any) -> None:
        self._channel.close()
        self._ours.send("end")
        self._process.join(timeout=30)

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def resident_mb(self) -> float:
        """Memory of the server, read from /proc, as Linux has it."""
        pages = pathlib.Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _serve(base: str, batching: bool, pipe: Connection) -> None:
    with Emulator(base, batching=batching) as server:
        pipe.send(server.port)
        pipe.recv()


def _good_requests(images: np.ndarray, scenes: Scenes) -> list[_Request]:
    """Arrays, arrays with invalid pixels, and pictures, with their outputs."""
    requests = []
    for i, image in enumerate(images):
        wanted = {
            "num_objects": scenes.num_objects[i : i + 1],
            "z_where": scenes.z_where[i : i + 1],
        }
        array = image[np.newaxis].astype(np.float32) / 255
        # The model reads NaN as 0 and clips to [0, 1].
        invalid = np.where(array == 0, np.float32(np.nan), array)
        invalid = np.where(array == 1, np.float32(7.0), invalid)
        picture = np.array([to_picture_bytes(image)], object)
        for kind, signature, inputs in (
            ("image", "serving_default", {"image": array}),
            ("NaN and out of range", "serving_default", {"image": invalid}),
            ("image_bytes", "serve_image_bytes", {"image_bytes": picture}),
        ):
            requests.append(_Request(kind, _message(signature, **inputs), wanted))
    return requests


def _bad_requests(images: np.ndarray) -> list[_Request]:
    """Malformed requests of every kind."""
    image = images[:1].astype(np.float32) / 255
    png = to_picture_bytes(images[-1])
    jpeg = io.BytesIO()
    Image.new("L", (90, 90), 80).save(jpeg, "JPEG")
    huge = to_picture_bytes(np.zeros((10_000, 10_000, 1), np.uint8))

    def pictures(data: bytes) -> predict_pb2.PredictRequest:
        return _message("serve_image_bytes", image_bytes=np.array([data], object))

    messages = {
        "wrong shape": _message("serving_default", image=image[:, :-1]),
        "wrong rank": _message("serving_default", image=image[0]),
        "wrong dtype": _message("serving_default", image=image.astype(np.float64)),
        "empty list": _message("serving_default", image=image[:0]),
        "no input": _message("serving_default"),
        "unknown input": _message("serving_default", picture=image),
        "unknown signature": _message("classify", image=image),
        "truncated PNG": pictures(png[: len(png) // 2]),
        "truncated JPEG": pictures(jpeg.getvalue()[:-40]),
        "not a picture": pictures(b"text"),
        "no bytes": pictures(b""),
        "PNG of 100 megapixels": pictures(huge),
    }
    return [_Request(kind, message, None) for kind, message in messages.items()]


def _message(signature: str, **inputs: np.ndarray) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL_NAME
    request.model_spec.signature_name = signature
    for key, array in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
    return request


def _measure_speed(
    server: _Server, requests: Sequence[_Request], clients: int
) -> dict[str, float]:
    """Every client sends its next request as soon as it has an answer."""

    def ask(client: int, end: float) -> list[float]:
        latencies: list[float] = []
        for i in itertools.count(client):
            start = time.perf_counter()
            if start > end:
                break
            server.stub.Predict(requests[i % len(requests)].message, timeout=_TIMEOUT)
            latencies.append(time.perf_counter() - start)
        return latencies

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for seconds in (_WARM_UP_SECONDS, _SECONDS):
            start = time.perf_counter()
            end = start + seconds
            parts = list(pool.map(ask, range(clients), [end] * clients))
    latencies = np.concatenate(parts)
    return {
        "requests_per_second": len(latencies) / _SECONDS,
        "p50_ms": 1e3 * float(np.percentile(latencies, 50)),
        "p99_ms": 1e3 * float(np.percentile(latencies, 99)),
    }


def _measure_mixed(
    server: _Server, good: Sequence[_Request], bad: Sequence[_Request]
) -> dict[str, Any]:
    """Three good requests, then a malformed one, again and again, by many clients."""
    goods, bads = itertools.cycle(good), itertools.cycle(bad)
    requests = [next(bads if i % 4 == 3 else goods) for i in range(_NUM_MIXED)]
    wrong: Counter[str] = Counter()
    memory = []
    with concurrent.futures.ThreadPoolExecutor(_MIXED_CLIENTS) as pool:
        # Memory may grow in the first half, and should not in the second.
        for half in (requests[: _NUM_MIXED // 2], requests[_NUM_MIXED // 2 :]):
            for kind in pool.map(lambda one: _wrong(server, one), half):
                if kind:
                    wrong[kind] += 1
            memory.append(server.resident_mb())
    return {
        "good": sum(one.wanted is not None for one in requests),
        "bad": sum(one.wanted is None for one in requests),
        "wrong": dict(wrong),
        "alive": server.is_alive(),
        "memory_mb_after_half": memory[0],
        "memory_mb_at_end": memory[1],
    }


def _wrong(server: _Server, request: _Request) -> str | None:
    """The error of an answer, or None if it is right."""
    try:
        response = server.stub.Predict(request.message, timeout=_TIMEOUT)
    except grpc.RpcError as error:
        if request.wanted is not None:
            return f"{request.kind}: refused with {error.code().name}"
        if error.code() not in _REFUSALS or not error.details():
            return f"{request.kind}: {error.code().name}, {error.details()!r}"
        return None
    if request.wanted is None:
        return f"{request.kind}: answered"
    for key, wanted in request.wanted.items():
        if not np.allclose(tf.make_ndarray(response.outputs[key]), wanted, atol=1e-4):
            return f"{request.kind}: wrong {key}"
    return None


def format_serving(results: dict[str, Any]) -> str:
    """A Markdown table of what `benchmark_serving` returned, and a summary."""
    headers = ["batching", "clients", "requests per second", "p50 ms", "p99 ms"]
    rows = [
        [
            _switch(row["batching"]),
            str(row["clients"]),
            f"{row['requests_per_second']:.0f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
        ]
        for row in results["speed"]
    ]
    return "\n".join([markdown_table(headers, rows), *map(_summary, results["mixed"])])


def _summary(row: dict[str, Any]) -> str:
    errors = ", ".join(f"{n} x {kind}" for kind, n in row["wrong"].items())
    return (
        f"\nBatching {_switch(row['batching'])}: {row['good']} good and {row['bad']} "
        f"malformed requests; errors: {errors or 'none'}. The server "
        f"{'still runs' if row['alive'] else 'has ended'}; its memory was "
        f"{row['memory_mb_after_half']:.0f} MB after half of the requests and "
        f"{row['memory_mb_at_end']:.0f} MB at the end."
    )


def _switch(batching: bool) -> str:
    return "on" if batching else "off"
