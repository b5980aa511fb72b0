"""Converted models: numbers, early stop, sizes, and where TensorFlow is not."""

import dataclasses
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from air_tf.deployment import convert as convert_module
from air_tf.deployment.convert import (
    FORMATS,
    MIN_COUNT_AGREEMENT,
    check_content,
    compare,
    convert,
    operations,
    to_tflite,
)
from air_tf.deployment.edge import EdgeModel
from air_tf.errors import InputError
from air_tf.model.air import AIR

_ROOT = Path(__file__).parents[1]
_LOOP = {"format": "float32", "batch_size": 1, "max_objects": 3, "loop": "while"}


@pytest.fixture(scope="module")
def converted(learnt_run, tmp_path_factory):
    """The files of all formats, and how convert.py found them to agree."""
    folder = tmp_path_factory.mktemp("edge")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert_module, "_NUM_COMPARED", 300)
        for format in FORMATS:
            file = folder / f"{format}.tflite"
            found[format] = file, convert(learnt_run, file, format=format)
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_counts_agree_with_keras(converted, format, learnt_run, held_out_scenes):
    file, agreement = converted[format]
    assert agreement.num_images == 300
    assert agreement.count_agreement >= MIN_COUNT_AGREEMENT
    on_new = compare(learnt_run.load_model(), EdgeModel(file), held_out_scenes[0], 3)
    exact = format in ("float32", "float16")
    # Half precision may tip a count that is as likely as another: 1 of 1,000 here.
    least = {"float32": 1.0, "float16": 0.998}.get(format, 0.99)
    assert on_new.count_agreement >= least
    assert on_new.mean_iou >= (0.995 if exact else 0.95)
    assert on_new.code_error <= on_new.code_scale * (0.005 if exact else 0.1)


def test_the_recurrent_form_converts(small_config, images, tmp_path):
    air = AIR(dataclasses.replace(small_config, inference="recurrent"))
    # Some of the images have an object, in whatever they differ.
    layer = air.attend._where_head._mlp._output
    kernel, bias = layer.get_weights()
    kernel[:, 0] *= 300.0
    layer.set_weights([kernel, bias])
    bias[0] = 0.5 - np.median(air(images).inference.presence_logits[:, 0])
    layer.set_weights([kernel, bias])
    file = tmp_path / "air.tflite"
    file.write_bytes(to_tflite(air, _LOOP, images))
    edge, keras_scenes = EdgeModel(file).infer(images), air.infer(images)
    assert 0 < keras_scenes.num_objects.astype(bool).sum() < 5
    np.testing.assert_array_equal(edge.num_objects, keras_scenes.num_objects)
    for name in ("z_where", "z_what", "canvas", "boxes"):
        np.testing.assert_allclose(
            getattr(edge, name), getattr(keras_scenes, name), atol=1e-4
        )


def test_sizes(converted):
    size = {format: file.stat().st_size for format, (file, _) in converted.items()}
    assert size["float16"] < 0.55 * size["float32"]
    assert size["dynamic"] < size["float32"] / 3
    assert size["int8"] < size["float32"] / 2.5


def test_the_loop_is_kept_and_stops_early(converted, held_out_scenes):
    images, counts = held_out_scenes
    for format, (file, _) in converted.items():
        model = EdgeModel(file)
        trips = model.infer(images[counts == 0][:3]).num_trips
        if format == "int8":
            assert model.metadata["loop"] == "unrolled"
            np.testing.assert_array_equal(trips, 3)
        else:
            assert model.metadata["loop"] == "while"
            assert "WHILE" in operations(file.read_bytes())
            np.testing.assert_array_equal(trips, 1)


def test_float32_is_keras_to_rounding(converted, learnt_run, held_out_scenes):
    images = held_out_scenes[0][:50]
    wanted = learnt_run.load_model().infer(images, batch_size=1)
    found = EdgeModel(converted["float32"][0]).infer(images)
    for name in wanted._fields:
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), atol=2e-4, err_msg=name
        )


@pytest.mark.parametrize("batch_size", [0, 4])
def test_other_batches(learnt_run, held_out_scenes, batch_size, tmp_path):
    """A last batch that is not full is the same as a full one."""
    images = held_out_scenes[0][:10]
    air = learnt_run.load_model()
    (tmp_path / "x").write_bytes(
        to_tflite(air, {**_LOOP, "batch_size": batch_size}, images)
    )
    model = EdgeModel(tmp_path / "x")
    wanted = air.infer(images, batch_size=1)
    for images_at_once in (images, images[:3]):
        found = model.infer(images_at_once)
        n = len(images_at_once)
        np.testing.assert_array_equal(found.num_objects, wanted.num_objects[:n])
        np.testing.assert_allclose(found.boxes, wanted.boxes[:n], atol=1e-5)


@pytest.mark.parametrize("value, as_if", [(np.nan, 0), (np.inf, 1), (-3.0, 0)])
@pytest.mark.parametrize("format", FORMATS)
def test_bad_pixels_are_cleaned(converted, format, value, as_if):
    """In the graph: whoever runs it without EdgeModel is safe as well."""
    interpreter = Interpreter(str(converted[format][0]))
    run = interpreter.get_signature_runner("serving_default")
    image = np.zeros((1, 50, 50, 1), np.float32)
    image[0, 10:20, 10:14] = 0.8
    bad, clean = image.copy(), image.copy()
    bad[0, 30:40, 30:34], clean[0, 30:40, 30:34] = value, as_if
    found, wanted = run(image=bad), run(image=clean)
    for name in found:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_extreme_logits_stay_finite(tmp_path, small_config, images):
    """Weights so large that softplus and log-sigmoid see 100 and more."""
    air = AIR(small_config)
    rng = np.random.default_rng(0)
    air.set_weights([rng.normal(0, 30, w.shape) for w in air.get_weights()])
    (tmp_path / "x").write_bytes(to_tflite(air, _LOOP, images))
    found, wanted = EdgeModel(tmp_path / "x").infer(images), air.infer(images)
    assert set(wanted.num_objects_probs.round(6).ravel()) >= {0.0, 1.0}
    for name in ("num_objects", "num_objects_probs", "z_where"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), atol=1e-5, err_msg=name
        )


def test_a_model_that_disagrees_is_not_written(learnt_run, tmp_path, monkeypatch):
    def spoil(air, settings, calibration):
        weights = air.get_weights()
        rng = np.random.default_rng(0)
        other = AIR(air.config)
        other.set_weights([w + rng.normal(0, 0.3, w.shape) for w in weights])
        return to_tflite(other, settings, calibration)

    monkeypatch.setattr(convert_module, "to_tflite", spoil)
    monkeypatch.setattr(convert_module, "_NUM_COMPARED", 100)
    output = tmp_path / "x.tflite"
    with pytest.raises(InputError, match=r"agree with Keras on .*allow_disagreement"):
        convert(learnt_run, output, format="float32")
    assert not list(tmp_path.iterdir())
    agreement = convert(learnt_run, output, format="float32", allow_disagreement=True)
    assert agreement.count_agreement < MIN_COUNT_AGREEMENT and output.exists()


def test_a_crash_of_the_converter_is_reported(learnt_run, tmp_path, monkeypatch):
    """A process that ends itself, as the quantiser's does on a loop."""
    monkeypatch.setattr(convert_module, "_convert_child", _crash)
    with pytest.raises(InputError, match="converter crashed on the int8 model"):
        convert(learnt_run, tmp_path / "x.tflite", format="int8")
    assert not list(tmp_path.iterdir())


def _crash(*_):
    import os

    os.abort()


def test_content_is_checked(converted):
    content = converted["float32"][0].read_bytes()
    weights = AIR().count_params()
    check_content(content, "float32", weights)
    with pytest.raises(InputError, match="expected at least"):
        check_content(converted["dynamic"][0].read_bytes(), "float32", weights)
    assert not [name for name in operations(content) if "custom" in name]


def test_files_that_are_refused(converted, tmp_path):
    content = converted["dynamic"][0].read_bytes()
    file = tmp_path / "x.tflite"
    with pytest.raises(InputError, match="No such file"):
        EdgeModel(file)
    for broken in (b"", b"x" * 100, content[:1000], content[: len(content) // 2]):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=r"x\.tflite"):
            EdgeModel(file)
    file.write_bytes(_another_model())
    with pytest.raises(InputError, match="not a model of air_tf"):
        EdgeModel(file)


def _another_model():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1], tf.float32)])
    def double(x):
        return 2.0 * x

    module = tf.Module()
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [double.get_concrete_function()], module
    ).convert()


def test_images_that_are_refused(converted):
    model = EdgeModel(converted["float32"][0])
    with pytest.raises(InputError, match=r"images have shape \(1, 50, 49, 1\)"):
        model.infer(np.zeros((1, 50, 49, 1)))
    with pytest.raises(InputError, match=r"from 0\.0 to 2\.0"):
        model.infer(np.full((1, 50, 50, 1), 2.0) * np.eye(50)[..., None])


@pytest.fixture(scope="module")
def small_python(tmp_path_factory):
    """An environment with the three packages of a device, and no TensorFlow."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, with_pip=True)
    # A copy, since pip leaves its traces where it builds.
    source = folder / "source"
    shutil.copytree(_ROOT / "air_tf", source / "air_tf")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, source)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    for packages in (["numpy", "Pillow", "ai-edge-litert"], ["--no-deps", source]):
        result = subprocess.run([*pip, *packages], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    return folder / "bin" / "python"


def test_edge_predict_without_tensorflow(
    small_python, converted, held_out_scenes, tmp_path
):
    without = [small_python, "-c", "import tensorflow"]
    assert b"No module named" in subprocess.run(without, capture_output=True).stderr
    images, counts = held_out_scenes
    for i in range(3):
        Image.fromarray(images[i, ..., 0]).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    command = [
        small_python,
        _ROOT / "scripts" / "edge_predict.py",
        f"--model={converted['dynamic'][0]}",
    ]

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments], cwd=tmp_path, capture_output=True, text=True
        )

    result = run("0.png", "bad.png", "1.png", "2.png")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "error: bad.png: not a PNG or JPEG picture" in result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["count"] for answer in answers] == counts[:3].tolist()
    result = run("--output_dir=out", "0.png")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "out" / "0.json").read_text()) == answers[0]
    result = run("--model=0.png", "0.png")
    assert result.returncode == 1
    assert result.stderr.strip().endswith("error: 0.png: not a TFLite file")


def test_nothing_but_the_converter_needs_tensorflow():
    code = (
        "import sys; from air_tf import EdgeModel; import air_tf.inference.predict; "
        "assert not {'tensorflow', 'absl', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
