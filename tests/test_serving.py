"""The exported model behind servers of both protocols, and the client.

Servers load it in a session, as TF Serving does: KServe over REST, an emulator of TF
Serving over gRPC, and TF Serving itself if the environment variable
AIR_TF_TEST_SERVING_IMAGE names a container image.
"""

import concurrent.futures
import contextlib
import http.server
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import venv

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from air_tf.data.user_images import read_picture
from air_tf.deployment.client import GrpcClient, RestClient, to_bytes
from air_tf.errors import InputError, ServerError
from air_tf.visualization.drawing import to_picture_bytes
from benchmarks.emulator import Emulator

_HERE = pathlib.Path(__file__).parent
_SECONDS_TO_START = 120


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def _process(command, address, log):
    """A server, from its first answer to its end."""
    with open(log, "w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        for _ in range(_SECONDS_TO_START):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(requests.RequestException):
                if requests.get(address, timeout=1).ok:
                    break
            time.sleep(1)
        else:
            raise AssertionError(log.read_text())
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def kserve_python(tmp_path_factory):
    """An environment with KServe that uses this environment's TensorFlow."""
    folder = tmp_path_factory.mktemp("kserve")
    venv.create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    own = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "borrow.pth").write_text(f"import site; site.addsitedir({own!r})\n")
    python = folder / "bin" / "python"
    # Putting a pip of its own there would take as long as installing.
    command = [
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-compile", "kserve>=0.15,<0.22"),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return python


@pytest.fixture(scope="module")
def kserve(kserve_python, exported, tmp_path_factory):
    """HOST:PORT of KServe."""
    port = _free_port()
    command = [
        kserve_python,
        _HERE / "kserve_server.py",
        f"--version={exported / '1'}",
        f"--http_port={port}",
    ]
    address = f"http://127.0.0.1:{port}/v1/models/air"
    with _process(command, address, tmp_path_factory.mktemp("log") / "kserve"):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def emulator(exported):
    with Emulator(exported) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def batching_emulator(exported):
    with Emulator(exported, batching=True) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def container(exported, tmp_path_factory):
    """HOST:PORT of TF Serving's gRPC and REST."""
    image = os.environ.get("AIR_TF_TEST_SERVING_IMAGE")
    if not image:
        pytest.skip("AIR_TF_TEST_SERVING_IMAGE names no container of TF Serving")
    ports = _free_port(), _free_port()
    command = [
        *("docker", "run", "--rm"),
        *("-p", f"127.0.0.1:{ports[0]}:8500", "-p", f"127.0.0.1:{ports[1]}:8501"),
        *("-v", f"{exported}:/models/air:ro", image),
        "--model_config_file=/models/air/models.config",
        "--enable_batching",
        "--batching_parameters_file=/models/air/batching_parameters.pbtxt",
        "--monitoring_config_file=/models/air/monitoring.config",
    ]
    address = f"http://127.0.0.1:{ports[1]}/v1/models/air"
    with _process(command, address, tmp_path_factory.mktemp("log") / "docker"):
        yield tuple(f"127.0.0.1:{port}" for port in ports)


@pytest.fixture(params=["emulator", "kserve", "container-grpc", "container-rest"])
def client(request):
    name, _, protocol = request.param.partition("-")
    server = request.getfixturevalue(name)
    if name == "container":
        server = server[protocol == "rest"]
    kind = RestClient if "rest" in protocol or name == "kserve" else GrpcClient
    client = kind(server, "air", timeout=30)
    yield client
    client.close()


@pytest.fixture(scope="module")
def pictures(held_out_scenes):
    images, _ = held_out_scenes
    return [to_picture_bytes(image) for image in images[:20]]


def test_served_answers_are_those_of_keras(
    client, pictures, learnt_run, held_out_scenes
):
    wanted = learnt_run.load_model().infer(held_out_scenes[0][:20], batch_size=1)
    for i, picture in enumerate(pictures):
        found = client.infer_bytes(picture)
        assert found.num_objects[0] == wanted.num_objects[i]
        assert found.num_trips[0] == wanted.num_trips[i]
        for name in ("num_objects_probs", "presence_probs", "boxes", "z_where"):
            ours, theirs = getattr(found, name)[0], getattr(wanted, name)[i]
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        np.testing.assert_allclose(found.z_what[0], wanted.z_what[i], atol=1e-3)


def test_served_pictures_that_are_refused(client, pictures):
    huge = to_picture_bytes(np.zeros((10_000, 10_000, 1), np.uint8))
    for bad in (b"", b"no picture", pictures[1][:-12], huge):
        with pytest.raises(InputError, match=r"refused by the server: .*image_bytes"):
            client.infer_bytes(bad)
    assert client.infer_bytes(pictures[0]).num_objects.shape == (1,)


def test_pictures_are_sent_upright(tmp_path):
    """Pictures that EXIF data rotate are rotated before they are sent."""
    rows = np.arange(200, dtype=np.uint8).reshape(20, 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rows).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(rows).save(tmp_path / "upright.png")
    for name, wanted in (("turned", rows[::-1].T), ("upright", rows)):
        path = tmp_path / f"{name}.png"
        sent = Image.open(io.BytesIO(to_bytes(path, read_picture(path))))
        np.testing.assert_array_equal(np.asarray(sent.convert("L")), wanted)
    assert to_bytes(path, read_picture(path)) == path.read_bytes()
    with pytest.raises(InputError, match=r"5000x5000 pixels; a server takes"):
        to_bytes(path, Image.new("1", (5000, 5000)))


@pytest.mark.parametrize("kind", [GrpcClient, RestClient])
def test_no_server(kind):
    client = kind(f"127.0.0.1:{_free_port()}", "air", timeout=5)
    with pytest.raises(ServerError, match="UNAVAILABLE after 4 attempts"):
        client.infer_bytes(b"")
    for address in ("http://localhost:8501", "localhost:99999", "localhost"):
        with pytest.raises(InputError, match="expected HOST:PORT"):
            kind(address, "air", timeout=5)


@contextlib.contextmanager
def _overloaded_grpc(num_refusals):
    """A gRPC server that is unavailable at first; yields its address and requests."""
    requests_seen = []

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            requests_seen.append(request)
            if len(requests_seen) <= num_refusals:
                context.abort(grpc.StatusCode.UNAVAILABLE, "queue\nfull")
            return predict_pb2.PredictResponse()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Service(), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", requests_seen
    server.stop(0).wait()


@contextlib.contextmanager
def _overloaded_rest(num_refusals):
    requests_seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests_seen.append(body)
            refuse = len(requests_seen) <= num_refusals
            answer = (
                b'{"error": "queue\\nfull"}' if refuse else b'{"predictions": [{}]}'
            )
            self.send_response(503 if refuse else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Retry-After", "3600")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", requests_seen
        server.shutdown()


@pytest.mark.parametrize(
    "kind, overloaded",
    [(GrpcClient, _overloaded_grpc), (RestClient, _overloaded_rest)],
)
def test_an_overloaded_server_is_asked_four_times(kind, overloaded):
    with overloaded(9) as (server, requests_seen):
        client = kind(server, "air", timeout=10)
        with pytest.raises(
            ServerError, match=r"UNAVAILABLE after 4 attempts \(queue full\)$"
        ):
            client.infer_bytes(b"picture")
        assert len(requests_seen) == 4
    # The third answer comes through; it is not that of a model.
    with overloaded(2) as (server, requests_seen):
        client = kind(server, "air", timeout=10)
        with pytest.raises(ServerError, match="answer is not that of an AIR model"):
            client.infer_bytes(b"picture")
        assert len(requests_seen) == 3
        assert requests_seen[0] == requests_seen[2]


def test_a_server_that_comes_up_late(exported, pictures):
    """The client asks for about two seconds, in which a busy machine loads no model."""
    port = _free_port()
    late = Emulator(exported, port=port)
    client = GrpcClient(f"127.0.0.1:{port}", "air", timeout=60)
    asked = concurrent.futures.ThreadPoolExecutor().submit(
        client.infer_bytes, pictures[0]
    )
    time.sleep(0.3)
    assert not asked.done()
    with late:
        assert asked.result(timeout=60).num_objects.shape == (1,)


def test_an_unknown_model(emulator, kserve, pictures):
    with pytest.raises(ServerError, match="NOT_FOUND: Servable not found"):
        GrpcClient(emulator, "fire", timeout=5).infer_bytes(pictures[0])
    with pytest.raises(ServerError, match="404"):
        RestClient(kserve, "fire", timeout=5).infer_bytes(pictures[0])


@pytest.mark.parametrize("kind", [GrpcClient, RestClient])
def test_a_server_that_takes_too_long(kind, pictures):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(ServerError, match=r"no answer within 0\.3 s"):
            kind(server, "air", timeout=0.3).infer_bytes(pictures[0])
        assert time.monotonic() - start < 10


# The emulator itself.


def _predict(server, inputs, signature="serving_default", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "air"
    request.model_spec.signature_name = signature
    for key, value in spec.items():
        getattr(request.model_spec, key).value = value
    for key, value in inputs.items():
        if isinstance(value, np.ndarray):
            value = tf.make_tensor_proto(value)
        request.inputs[key].CopyFrom(value)
    with grpc.insecure_channel(server) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=30)


_IMAGE = np.zeros((1, 50, 50, 1), np.float32)
_VAST = tf.make_tensor_proto(0.0, shape=[10_000, 500, 500, 1])


@pytest.mark.parametrize(
    "inputs, how, code, words",
    [
        ({"image": _IMAGE}, {"signature": "x"}, "FAILED_PRECONDITION", "not found"),
        ({"image": _IMAGE}, {"version": 9}, "NOT_FOUND", "Specific(air, 9)"),
        ({"picture": _IMAGE}, {}, "INVALID_ARGUMENT", "expected ['image']"),
        ({}, {}, "INVALID_ARGUMENT", "expected ['image']"),
        (
            {"image": _IMAGE.astype(np.float64)},
            {},
            "INVALID_ARGUMENT",
            "to be float32 but float64",
        ),
        ({"image": _IMAGE[..., 0]}, {}, "INVALID_ARGUMENT", "expected shape"),
        ({"image": _IMAGE[:0]}, {}, "INVALID_ARGUMENT", "expected 1 to 64 images"),
        ({"image": _VAST}, {}, "INVALID_ARGUMENT", "too large"),
    ],
)
@pytest.mark.parametrize("server", ["emulator", "batching_emulator"])
def test_requests_that_are_refused(request, server, inputs, how, code, words):
    address = request.getfixturevalue(server)
    with pytest.raises(grpc.RpcError) as error:
        _predict(address, inputs, **how)
    assert error.value.code() == grpc.StatusCode[code]
    assert words in error.value.details()
    assert _predict(address, {"image": _IMAGE}).outputs["num_objects"]


def test_batches_are_answered_apart(batching_emulator, held_out_scenes, learnt_run):
    """Good and bad requests at the same time: each gets its own answer."""
    images = held_out_scenes[0][:60].astype(np.float32) / 255
    wanted = learnt_run.load_model().infer(images, batch_size=1)

    def ask(i):
        if i % 6 == 5:
            with pytest.raises(grpc.RpcError):
                _predict(batching_emulator, {"image": images[i : i + 1, :40]})
            return
        outputs = _predict(batching_emulator, {"image": images[i : i + 1]}).outputs
        z_where = tf.make_ndarray(outputs["z_where"])
        assert z_where.shape == (1, 3, 3)
        np.testing.assert_allclose(z_where[0], wanted.z_where[i], atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(60)))


def test_metadata_and_status(emulator):
    with grpc.insecure_channel(emulator) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = "air"
        request.metadata_field.append("signature_def")
        answer = predict.GetModelMetadata(request, timeout=10)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        assert "serve_image_bytes" in found.signature_def
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "air"
        model = model_service_pb2_grpc.ModelServiceStub(channel)
        (version,) = model.GetModelStatus(status, timeout=10).model_version_status
        assert (version.version, version.State.Name(version.state)) == (1, "AVAILABLE")


# The program.


@pytest.mark.parametrize("server, protocol", [("emulator", "grpc"), ("kserve", "rest")])
def test_serving_client(
    programs, server, protocol, request, tmp_path, pictures, held_out_scenes
):
    (tmp_path / "a.png").write_bytes(pictures[1])
    (tmp_path / "bad.png").write_bytes(pictures[1][:50])
    address = request.getfixturevalue(server)
    flags = [f"--server={address}", f"--protocol={protocol}", "a.png", "bad.png"]
    to_files = protocol == "rest"
    flags += ["--output_dir=out"] * to_files
    result = programs.run("serving_client", *flags, cwd=tmp_path)
    assert result.returncode == 1
    assert "error: bad.png: " in result.stderr and "Traceback" not in result.stderr
    if to_files:
        answer = (tmp_path / "out" / "a.json").read_text()
        with Image.open(tmp_path / "out" / "a.png") as drawn:
            assert drawn.size == (50, 50)
    else:
        (answer,) = result.stdout.splitlines()
    assert json.loads(answer)["count"] == held_out_scenes[1][1]


def test_serving_client_without_server(programs, tmp_path, pictures):
    (tmp_path / "a.png").write_bytes(pictures[0])
    server = f"--server=127.0.0.1:{_free_port()}"
    result = programs.run("serving_client", server, "a.png", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "UNAVAILABLE" in lines[0]
