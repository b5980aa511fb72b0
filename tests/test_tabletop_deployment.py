"""Exported and converted models of objects on a table: numbers, files and programs."""

import contextlib
import csv
import dataclasses
import http.server
import json
import pathlib
import threading
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from air_tf.config import AIRConfig
from air_tf.config.renderers import BlackBoxConfig
from air_tf.deployment import convert as convert_module
from air_tf.deployment.agreement import compare
from air_tf.deployment.answers import ANSWERS
from air_tf.deployment.check_export import (
    _check_parity,
    _check_warm_up,
    check_export,
    format_table,
)
from air_tf.deployment.client import GrpcClient, RestClient
from air_tf.deployment.convert import FORMATS, convert, to_tflite
from air_tf.deployment.edge import METADATA_NAME, Conversion, EdgeModel
from air_tf.deployment.export import export
from air_tf.deployment.exportable import exportable
from air_tf.deployment.session import ServedModel
from air_tf.deployment.signatures import EdgeModule, decode_picture
from air_tf.deployment.tflite_file import add_metadata, operations
from air_tf.errors import InputError
from air_tf.files import write_json
from air_tf.inference.predict import of_pictures, predict_files
from air_tf.inference.tabletop import TABLE, kinds_of
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.runs import RunDir
from air_tf.structs import Kinds, Scenes3D
from air_tf.visualization.drawing import to_picture_bytes
from benchmarks.emulator import Emulator

_SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts"
_KINDS = Kinds(("cube", "sphere", "cylinder"), (4, 0, 2))
_SCENES = {
    "num_objects",
    "num_objects_probs",
    "boxes",
    "presence",
    "presence_probs",
    "kind",
    "kind_probs",
    "position",
    "position_scale",
    "yaw",
    "yaw_scale",
    "num_trips",
}


@pytest.fixture(scope="module")
def air(tabletop_run):
    return tabletop_run.load_model()


@pytest.fixture(scope="module")
def images(tabletop_run, air):
    """40 images, those with most inferred objects last."""
    with np.load(tabletop_run.path.parent / "scenes.npz") as arrays:
        images = arrays["image"]
    return images[np.argsort(air.infer(images).num_objects, kind="stable")][-40:]


@pytest.fixture(scope="module")
def exported3d(tabletop_run, tmp_path_factory):
    base = tmp_path_factory.mktemp("exports") / "air"
    export(tabletop_run, base)
    return base


@pytest.fixture(scope="module")
def served(exported3d):
    with contextlib.closing(ServedModel(exported3d / "1")) as model:
        yield model


@pytest.fixture(scope="module")
def converted(air, images, traced_once, tmp_path_factory):
    """For every format, the file."""
    folder = tmp_path_factory.mktemp("edge")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert_module, "EdgeModule", traced_once)
        for format in FORMATS:
            found[format] = folder / f"{format}.tflite"
            conversion = Conversion(format, (16, 16, 3), 3, kinds=_KINDS)
            calibration = images[-16:] if format == "int8" else None
            found[format].write_bytes(to_tflite(air, conversion, calibration))
    return found


@pytest.fixture(scope="module")
def edge(converted):
    return EdgeModel(converted["float32"])


def _assert_same(found, wanted):
    """Counts and kinds are equal, all else to within rounding."""
    for name in found:
        ours, theirs = found[name], getattr(wanted, name)
        assert ours.shape == theirs.shape
        if theirs.dtype == np.int32:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
        else:
            np.testing.assert_allclose(ours, theirs, atol=1e-5, err_msg=name)


# The SavedModel.


def test_the_four_signatures(served):
    found = {name: set(one.outputs) for name, one in served.signatures.items()}
    assert found == {
        "serving_default": _SCENES,
        "serve_image_bytes": _SCENES | {"kind_names", "kind_symmetries"},
        "reconstruct": _SCENES | {"mask", "canvas"},
        "decode": {"canvas"},
    }
    inputs = served.signatures["decode"].inputs
    assert set(inputs) == {"kind", "position", "yaw", "presence"}


def test_a_session_and_keras_agree(served, air, images):
    wanted = air.infer(images)
    # Images differ in their counts, and objects in their kinds.
    assert len(set(wanted.num_objects)) >= 3
    assert set(wanted.kind[wanted.presence > 0]) == {0, 1, 2}
    assert wanted.position.std() > 0.1 and wanted.yaw.std() > 0.1
    found = served("reconstruct", {"image": images.astype(np.float32) / 255})
    canvas = found.pop("canvas")
    _assert_same(found, wanted)
    # Edges of objects are steep in their positions.
    np.testing.assert_allclose(canvas, air.draw(wanted), atol=1e-4)
    # Drawing the answer again is the reconstruction.
    latents = {name: found[name] for name in ("kind", "position", "yaw", "presence")}
    again = served("decode", latents)["canvas"]
    np.testing.assert_allclose(again, canvas, atol=1e-6)


@pytest.mark.parametrize(
    "name, value, as_if",
    [
        ("kind", 99, 2),
        ("kind", -5, 0),
        ("position", np.nan, 0.0),
        ("position", np.inf, 0.55 * (1 + 2 * 0.27)),
        ("yaw", np.nan, 0.0),
        ("presence", 7.0, 1.0),
    ],
)
def test_latents_are_cleaned(served, name, value, as_if):
    def draw(value):
        latents = {
            "kind": np.zeros((1, 3), np.int32),
            "position": np.zeros((1, 3, 2), np.float32),
            "yaw": np.zeros((1, 3), np.float32),
            "presence": np.array([[1.0, 0.0, 0.0]], np.float32),
        }
        latents[name][0, 0] = value
        return served("decode", latents)["canvas"]

    canvas = draw(value)
    assert np.isfinite(canvas).all()
    np.testing.assert_array_equal(canvas, draw(as_if))


@pytest.mark.parametrize("value, as_if", [(np.nan, 0), (np.inf, 1), (-3.0, 0)])
def test_bad_pixels_are_cleaned(served, edge, images, value, as_if):
    bad = images[-1:].astype(np.float32) / 255
    clean = bad.copy()
    bad[0, 3:6, 3:6], clean[0, 3:6, 3:6] = value, as_if
    for run in (lambda image: served("reconstruct", {"image": image}), edge._run):
        found, wanted = run(image=bad), run(image=clean)
        for name in found:
            np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_inference_needs_no_renderer(tabletop_run):
    """It is started when it is first used, and no sooner."""
    air = tabletop_run.load_model()
    EdgeModule(air, max_objects=3, batch_size=1, loop="unrolled", decodes=False)
    assert "renderer" not in vars(air)
    air.draw(air.infer(np.zeros((1, 16, 16, 3))))
    assert "renderer" in vars(air)


def test_a_good_export_passes_every_check(exported3d):
    checks = list(check_export(exported3d))
    assert all(check.passed for check in checks), format_table(checks)
    names = {check.name for check in checks}
    for what in (
        "serving_default: position",
        "serve_image_bytes: kind_names",
        "reconstruct: canvas",
        "decode: canvas",
        "LiteRT: mask",
    ):
        assert f"Keras and {what}" in names


def test_another_model_fails(served, air, images):
    other = AIR3D(air.config)
    rng = np.random.default_rng(0)
    other.set_weights([w + rng.normal(0, 0.05, w.shape) for w in air.get_weights()])
    checks = _check_parity(exportable(other, 3), served, images)
    failed = {check.name for check in checks if not check.passed}
    assert "Keras and serving_default: kind_probs" in failed
    assert "Keras and serve_image_bytes: position" in failed
    assert "Keras and serve_image_bytes: kind_names" not in failed


def test_the_card_tells_of_kinds(exported3d):
    card = (exported3d / "README.md").read_text()
    assert "3 kinds (K): cube, sphere, cylinder; positions from -0.55 to 0.55" in card
    assert "kind accuracy 25.00%" in card and "mean IoU unavailable" in card
    for output in (*ANSWERS["AIR3D"].small, *ANSWERS["AIR3D"].constants):
        assert f"| `{output.name}` | {output.shape}" in card
    assert "z_what" not in card


def test_a_renderer_outside_of_tensorflow(tabletop_run, air, images, tmp_path):
    """The export says where objects are, and does not draw them."""
    renderer = BlackBoxConfig()
    other = AIR3D(dataclasses.replace(air.config, renderer=renderer))
    other.set_weights(air.get_weights())
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    config = tabletop_run.read_config()
    training = dataclasses.replace(config.training, jit_compile=False)
    config = dataclasses.replace(config, model=other.config, training=training)
    write_json(run.config_file, config.to_dict())
    write_json(run.metrics_json, {})
    other.save(run.model_file)
    export(run, tmp_path / "air")
    with contextlib.closing(ServedModel(tmp_path / "air" / "1")) as served:
        found = served("reconstruct", {"image": images.astype(np.float32) / 255})
        assert set(found) == _SCENES | {"mask"}
        assert "decode" not in served.signatures
        checks = list(_check_parity(exportable(other, 3), served, images))
        checks.append(_check_warm_up(served, tmp_path / "air" / "1"))
    _assert_same(found, air.infer(images))
    assert all(check.passed for check in checks), format_table(checks)
    card = (tmp_path / "air" / "README.md").read_text()
    assert "| scenes and `mask` float32 [B, T, H, W] |" in card
    assert "decode" not in card


def test_versions_of_another_class_are_refused(exported3d, small_config, tmp_path):
    run = RunDir(tmp_path)
    write_json(run.config_file, _config_of_pictures(small_config))
    write_json(run.metrics_json, {})
    AIR(small_config).save(run.model_file)
    with pytest.raises(InputError, match=r"versions of AIR3D; expected a new .* AIR$"):
        export(run, exported3d)
    assert not (exported3d / "2").exists()


def _config_of_pictures(model: AIRConfig):
    from air_tf.config import RunConfig

    return RunConfig(model=model).to_dict()


@pytest.mark.parametrize("size", [(16, 16), (99, 100), (102, 100), (103, 100), (9, 16)])
def test_the_graph_refuses_the_pictures_that_the_programs_refuse(size):
    shape = (16, 16, 3)
    contents = tf.constant(to_picture_bytes(np.zeros((*size, 3), np.uint8)))
    picture = Image.new("RGB", size[::-1])
    infer = of_pictures(lambda images: None, shape, _KINDS)
    try:
        infer("a", picture)
    except InputError:
        with pytest.raises(tf.errors.InvalidArgumentError, match="another aspect"):
            decode_picture(contents, shape, fixed_camera=True)
        assert size in ((103, 100), (9, 16))
    else:
        assert decode_picture(contents, shape, fixed_camera=True).shape == shape
    assert decode_picture(contents, shape).shape == shape


# The client.


@contextlib.contextmanager
def _rest(served):
    """A server of TF Serving's REST interface."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            import base64

            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            texts = [one["image_bytes"]["b64"] for one in body["instances"]]
            inputs = np.array([base64.b64decode(text) for text in texts], object)
            outputs = served(body["signature_name"], {"image_bytes": inputs})
            row = {key: _as_json(array[0]) for key, array in outputs.items()}
            answer = json.dumps({"predictions": [row]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _as_json(value):
    if value.dtype == object:
        return [text.decode() for text in value]
    return value.tolist()


@contextlib.contextmanager
def _grpc(exported3d):
    with Emulator(exported3d, batching=True) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_served_answers_are_those_of_keras(
    protocol, exported3d, served, air, images, tmp_path
):
    server = _grpc(exported3d) if protocol == "grpc" else _rest(served)
    kind = GrpcClient if protocol == "grpc" else RestClient
    with server as address:
        client = kind(address, "air", timeout=30)
        for image in images[-3:]:
            found = client.infer_bytes(to_picture_bytes(image))
            assert found.kinds == _KINDS and found.scenes.mask is None
            fields = found.scenes._asdict()
            del fields["mask"]
            _assert_same(fields, air.infer(image[None]))
        if protocol == "grpc":
            wide = to_picture_bytes(np.zeros((16, 20, 3), np.uint8))
            with pytest.raises(InputError, match=r"refused .* another aspect"):
                client.infer_bytes(wide)
        # Answers for people are those of the model in this process.
        path = tmp_path / "a.png"
        Image.fromarray(images[-1]).save(path)
        (theirs,) = predict_files(
            lambda path, picture: client.infer_bytes(pathlib.Path(path).read_bytes()),
            [str(path)],
        )
        client.close()
    infer = of_pictures(air.infer, (16, 16, 3), kinds_of(air.config))
    (ours,) = predict_files(infer, [str(path)])
    assert theirs.answer["kinds"] == ours.answer["kinds"]
    assert theirs.answer["count"] == ours.answer["count"] > 0
    for name in ("positions", "boxes", "presence_probs"):
        np.testing.assert_allclose(theirs.answer[name], ours.answer[name], atol=1e-5)


# LiteRT.


def test_float32_is_keras_to_rounding(edge, air, images):
    found = edge.infer(images)
    assert isinstance(found, Scenes3D) and edge.kinds == _KINDS
    _assert_same(found._asdict(), air.infer(images, batch_size=1))
    assert found.num_trips.min() < 3  # The loop stops early.


@pytest.mark.parametrize("format", FORMATS)
def test_formats_agree_with_keras(converted, air, images, format):
    found = compare(air, EdgeModel(converted[format]), images)
    assert found.num_images == len(images)
    least = {"float32": 1.0, "float16": 0.97}.get(format, 0.8)
    assert found.count_agreement >= least and found.kind_agreement >= least
    exact = {"float32": 1e-5, "float16": 0.01}.get(format, 0.1)
    assert found.position_error <= exact
    content = converted[format].read_bytes()
    assert not [name for name in operations(content) if "custom" in name]
    assert ("WHILE" in operations(content)) == (format != "int8")


def test_conversion_and_its_figures(tabletop_run, tmp_path, monkeypatch):
    monkeypatch.setattr(convert_module, "_NUM_COMPARED", 12)
    file = tmp_path / "x.tflite"
    agreement = convert(tabletop_run, file, format="float32", max_objects=2)
    assert agreement.count_agreement == agreement.kind_agreement == 1.0
    assert "kinds agree on 100.00%" in agreement.of_objects()
    model = EdgeModel(file)
    assert model.max_objects == 2 and model.conversion.kinds == _KINDS
    with pytest.raises(InputError, match="max_objects is 7; expected 1 to 6"):
        convert(tabletop_run, file, format="float32", max_objects=7)


def test_agreement_is_counted_where_counts_agree(air):
    """Three images: the counts of the last differ, so its objects are left out."""
    scenes = air.generate(3, num_objects=2, max_objects=2)
    scenes = scenes._replace(
        boxes=np.tile([0.0, 0.0, 0.5, 0.5], (3, 2, 1)), kind=np.zeros((3, 2), np.int32)
    )
    reach = air.config.tabletop.reach
    position = scenes.position.copy()
    position[0, 0] += (0.3 * reach, 0.4 * reach)  # a distance of half the reach
    position[2] += 9.0
    kind = scenes.kind.copy()
    kind[1, 1] = kind[2, 0] = 1
    other = scenes._replace(
        position=position,
        kind=kind,
        num_objects=np.array([2, 2, 1], np.int32),
        presence=np.array([[1, 1], [1, 1], [1, 0]], np.float32),
    )
    ours = types.SimpleNamespace(infer=lambda *_, **__: scenes, config=air.config)
    theirs = types.SimpleNamespace(
        infer=lambda images: other, max_objects=2, max_batch_size=1
    )
    found = compare(ours, theirs, np.zeros((3, 16, 16, 3)))
    assert found.num_images == 3
    assert found.count_agreement == pytest.approx(2 / 3)
    assert found.mean_iou == 1.0
    # Four objects: one has another kind, one is half the reach away.
    assert found.kind_agreement == pytest.approx(3 / 4)
    assert found.position_error == pytest.approx(0.5 / 4)


_GOOD = json.loads(Conversion("float32", (16, 16, 3), 3, kinds=_KINDS).to_json())


def test_metadata_come_back_and_have_what_prediction_needs():
    assert _GOOD["model"] == "AIR3D"
    assert _GOOD["kind_names"] == ["cube", "sphere", "cylinder"]
    assert _GOOD["kind_symmetries"] == [4, 0, 2]
    conversion = Conversion.from_json(json.dumps(_GOOD))
    assert conversion == Conversion("float32", (16, 16, 3), 3, kinds=_KINDS)
    assert conversion.answers.scenes is Scenes3D


def test_metadata_without_a_model_are_of_two_dimensions():
    conversion = Conversion("dynamic", (50, 50, 1), 3)
    text = conversion.to_json()
    assert {"model", "kinds", "kind_names"}.isdisjoint(json.loads(text))
    found = Conversion.from_json(text)
    assert found == conversion and found.kinds is None
    assert found.answers is ANSWERS["AIR"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model": "AIR4D"}, "model AIR4D"),
        ({"model": ["AIR3D"]}, "model"),
        ({"kind_names": None}, "kind_names None"),
        ({"kind_names": ["cube"]}, r"kind_names \['cube'\], kind_symmetries \[4, 0, 2"),
        ({"kind_names": [1, 2, 3]}, "kind_names"),
        ({"kind_symmetries": [4, 0, -1]}, "kind_symmetries"),
        ({"kind_names": [], "kind_symmetries": []}, "kind_names"),
    ],
)
def test_metadata_that_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Conversion.from_json(json.dumps(_GOOD | change))


def test_a_file_that_names_other_kinds_is_refused(converted, tmp_path):
    content = converted["float32"].read_bytes()
    # The entry that is there gets another name, of the same length.
    content = content.replace(METADATA_NAME.encode() + b"\0", b"x" * 6 + b"\0")
    kinds = {"kind_names": ["cube", "sphere"], "kind_symmetries": [4, 0]}
    text = json.dumps(_GOOD | kinds)
    (tmp_path / "x").write_bytes(add_metadata(content, METADATA_NAME, text))
    with pytest.raises(InputError, match="x names 2 kinds of 3"):
        EdgeModel(tmp_path / "x")


# The programs.


def test_programs_give_the_same_answers(
    programs, tabletop_run, converted, images, tmp_path
):
    """predict.py with the run, and edge_predict.py with the converted model."""
    for i, image in enumerate(images[-2:]):
        Image.fromarray(image).resize((64, 64)).save(tmp_path / f"{i}.png")
    Image.fromarray(images[-1]).resize((64, 48)).save(tmp_path / "wide.png")
    tables = []
    for program, model in (
        ("predict", f"--model_dir={tabletop_run.path}"),
        ("edge_predict", f"--model={converted['float32']}"),
    ):
        flags = (model, f"--output_dir={program}", "0.png", "wide.png", "1.png")
        result = programs.run(program, *flags, cwd=tmp_path)
        assert result.returncode == 1 and "Traceback" not in result.stderr
        assert "error: wide.png: 64x48 pixels; expected" in result.stderr
        folder = tmp_path / program
        names = {path.name for path in folder.iterdir()}
        assert names == {"0.json", "0.png", "1.json", "1.png", TABLE}
        with open(folder / TABLE, newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    ours, theirs = tables
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        for name in one:
            if name in ("image", "object", "kind") or not one[name]:
                assert one[name] == other[name]
            else:
                assert float(one[name]) == pytest.approx(float(other[name]), abs=1e-3)
