"""Converted models: numbers, early stop, sizes, and a device without TensorFlow."""

import dataclasses
import errno
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import types
import venv
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from programs import crash

from air_tf.config import DataConfig, RecurrentConfig, RunConfig
from air_tf.deployment import convert as convert_module
from air_tf.deployment.convert import (
    FORMATS,
    MIN_COUNT_AGREEMENT,
    check_content,
    compare,
    convert,
    to_tflite,
)
from air_tf.deployment.edge import METADATA_NAME, Conversion, EdgeModel, _find_metadata
from air_tf.deployment.tflite_file import add_metadata, operations
from air_tf.errors import InputError, OutputError, ProcessKilled
from air_tf.files import write_json
from air_tf.model.air import AIR
from air_tf.runs import RunDir

_ROOT = Path(__file__).parents[1]


def _float32(air, **settings):
    return Conversion("float32", air.config.image_shape, 3, **settings)


@pytest.fixture(scope="module")
def converted(converted_float32, learnt_run, traced_once, tmp_path_factory):
    """For every format, the file and its agreement with Keras."""
    folder = tmp_path_factory.mktemp("edge")
    found = {"float32": converted_float32}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert_module, "_NUM_COMPARED", 100)
        patch.setattr(convert_module, "EdgeModule", traced_once)
        for format in FORMATS:
            if format not in found:
                file = folder / f"{format}.tflite"
                found[format] = file, convert(learnt_run, file, format=format)
    return found


@pytest.fixture(scope="module")
def keras_model(learnt_run, held_out_scenes):
    """The Keras model by K, which infers held-out scenes once for all formats."""

    @functools.cache
    def model(proposals):
        air = learnt_run.load_model(proposals)

        known = {}

        def infer(images, **settings):
            key = (hash(np.asarray(images).tobytes()), *sorted(settings.items()))
            if key not in known:
                known[key] = air.infer(images, **settings)
            return known[key]

        return types.SimpleNamespace(infer=infer)

    return model


@pytest.mark.parametrize("format", FORMATS)
def test_counts_agree_with_keras(converted, format, keras_model, held_out_scenes):
    file, agreement = converted[format]
    assert agreement.num_images == 100
    assert agreement.count_agreement >= MIN_COUNT_AGREEMENT
    # Its converter does not support what explains images again.
    proposals = 0 if format == "int8" else None
    images = held_out_scenes[0][:500]
    on_new = compare(keras_model(proposals), EdgeModel(file), images)
    exact = format in ("float32", "float16")
    # Half precision may change the count where two are equally likely: 1 in 500.
    least = {"float32": 1.0, "float16": 0.998}.get(format, 0.99)
    assert on_new.count_agreement >= least
    assert on_new.mean_iou >= (0.995 if exact else 0.95)
    assert on_new.code_error <= on_new.code_scale * (0.005 if exact else 0.1)


def test_the_recurrent_form_converts(small_config, images, tmp_path):
    air = AIR(
        dataclasses.replace(small_config, inference=RecurrentConfig(recurrent_units=8))
    )
    # Shift the bias so that half of the images have an object.
    layer = air.attend.search._where_head._mlp._output
    kernel, bias = layer.get_weights()
    kernel[:, 0] *= 300.0
    layer.set_weights([kernel, bias])
    bias[0] = 0.5 - np.median(air(images).inference.presence_logits[:, 0])
    layer.set_weights([kernel, bias])
    file = tmp_path / "air.tflite"
    file.write_bytes(to_tflite(air, _float32(air)))
    edge, keras_scenes = EdgeModel(file).infer(images), air.infer(images)
    assert 0 < keras_scenes.num_objects.astype(bool).sum() < 5
    np.testing.assert_array_equal(edge.num_objects, keras_scenes.num_objects)
    for name in ("z_where", "z_what", "canvas", "boxes"):
        np.testing.assert_allclose(
            getattr(edge, name), getattr(keras_scenes, name), atol=1e-4
        )


def test_sizes(converted):
    size = {format: file.stat().st_size for format, (file, _) in converted.items()}
    # Half of the weights, and the operations, which are the same.
    assert size["float16"] < 0.56 * size["float32"]
    assert size["dynamic"] < size["float32"] / 2.5
    assert size["int8"] < size["float32"] / 2.5


def test_the_loop_is_kept_and_stops_early(converted, held_out_scenes):
    images, counts = held_out_scenes
    for format, (file, _) in converted.items():
        model = EdgeModel(file)
        trips = model.infer(images[counts == 0][:3]).num_trips
        if format == "int8":
            assert model.conversion.loop == "unrolled"
            assert "WHILE" not in operations(file.read_bytes())
            np.testing.assert_array_equal(trips, 3)
        else:
            assert model.conversion.loop == "early_stop"
            assert "WHILE" in operations(file.read_bytes())
            np.testing.assert_array_equal(trips, 1)


def test_all_formats_but_int8_draw(converted, held_out_scenes):
    images, counts = held_out_scenes
    for format, (file, _) in converted.items():
        interpreter = Interpreter(str(file))
        if format == "int8":
            assert list(interpreter.get_signature_list()) == ["serving_default"]
            continue
        scenes = EdgeModel(file).infer(images[counts == 2][:1])
        drawn = interpreter.get_signature_runner("decode")(
            z_where=scenes.z_where, z_what=scenes.z_what, presence=scenes.presence
        )
        assert set(drawn) == {"boxes", "canvas", "mask"}
        for name, array in drawn.items():
            # Computing in 8 bits depends on what is drawn together.
            atol = 0.05 if format == "dynamic" else 1e-5
            np.testing.assert_allclose(array, getattr(scenes, name), atol=atol)


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
    (tmp_path / "x").write_bytes(to_tflite(air, _float32(air, batch_size=batch_size)))
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
    """By the graph itself, so that programs without EdgeModel are safe, too."""
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
    (tmp_path / "x").write_bytes(to_tflite(air, _float32(air)))
    found, wanted = EdgeModel(tmp_path / "x").infer(images), air.infer(images)
    assert set(wanted.num_objects_probs.round(6).ravel()) >= {0.0, 1.0}
    for name in ("num_objects", "num_objects_probs", "z_where"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), atol=1e-5, err_msg=name
        )


def test_a_model_that_disagrees_is_not_written(learnt_run, tmp_path, monkeypatch):
    @functools.cache
    def spoil(air, conversion):
        rng = np.random.default_rng(0)
        other = air.with_proposals(0)  # a copy, which takes half the time to convert
        weights = other.get_weights()
        other.set_weights([w + rng.normal(0, 0.3, w.shape) for w in weights])
        return to_tflite(other, conversion)

    monkeypatch.setattr(convert_module, "to_tflite", spoil)
    monkeypatch.setattr(convert_module, "_NUM_COMPARED", 100)
    output = tmp_path / "x.tflite"
    with pytest.raises(InputError, match=r"agree with Keras on .*`allow_disagreement`"):
        convert(learnt_run, output, format="float32")
    assert not list(tmp_path.iterdir())
    agreement = convert(learnt_run, output, format="float32", allow_disagreement=True)
    assert agreement.count_agreement < MIN_COUNT_AGREEMENT and output.exists()


def test_a_crash_of_the_converter_is_reported(learnt_run, tmp_path, monkeypatch):
    """A process that aborts, as LiteRT's quantiser does on a loop."""
    monkeypatch.setattr(convert_module, "_convert_child", crash)
    with pytest.raises(ProcessKilled, match="converter crashed on the int8 model"):
        convert(learnt_run, tmp_path / "x.tflite", format="int8")
    assert not list(tmp_path.iterdir())


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
    with pytest.raises(InputError, match=r"x\.tflite can't be read \(No such file"):
        EdgeModel(file)
    with pytest.raises(InputError, match=r"x can't be read \(File name too long\)$"):
        EdgeModel("x" * 300)
    for broken in (b"", b"x" * 100, content[:1000], content[: len(content) // 2]):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=r"x\.tflite"):
            EdgeModel(file)
    file.write_bytes(_another_model())
    with pytest.raises(InputError, match="not a model of air_tf"):
        EdgeModel(file)
    with pytest.raises(InputError, match="format is 'int4'; expected float32, "):
        convert(RunDir(tmp_path), file, format="int4")


def test_files_of_earlier_versions_are_read(converted, held_out_scenes, tmp_path):
    new = EdgeModel(converted["float32"][0])
    assert new.conversion == Conversion("float32", (50, 50, 1), 3, batch_size=1)
    assert json.loads(new.conversion.to_json())["loop"] == "early_stop"
    earlier = {
        "format": "float32",
        "batch_size": 1,
        "max_steps": 3,
        "loop": "while",
        "image_shape": [50, 50, 1],
    }
    old = EdgeModel(_with_metadata(converted, json.dumps(earlier), tmp_path))
    assert (old.conversion, old.max_objects) == (new.conversion, 3)
    images = held_out_scenes[0][:5]
    for found, wanted in zip(old.infer(images), new.infer(images), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_version_0_1_reads_the_metadata(converted):
    content = converted["float32"][0].read_bytes()
    metadata = json.loads(_find_metadata(content))
    assert {"image_shape", "max_steps", "batch_size"} <= set(metadata)
    assert metadata["max_steps"] == metadata["max_objects"] == 3
    # A later version may add keys, and drop the old one.
    del metadata["max_steps"]
    later = Conversion.from_json(json.dumps({**metadata, "colour": 1}))
    assert later == EdgeModel(converted["float32"][0]).conversion


def test_calibration_images(converted, plain_config, data_file, tmp_path, monkeypatch):
    """Their number changes an int8 file, and is stored in it."""
    for format, (file, _) in converted.items():
        wanted = 500 if format == "int8" else None
        assert EdgeModel(file).conversion.num_calibration_images == wanted
    # An untrained run with a small graph.
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    config = RunConfig(
        model=dataclasses.replace(plain_config, max_objects=1),
        data=DataConfig(dataset="file", data_file=str(data_file)),
    )
    write_json(run.config_file, config.to_dict())
    AIR(config.model).save(run.model_file)

    def in_this_process(run, conversion, calibration):
        return to_tflite(run.load_model(0), conversion, calibration)

    monkeypatch.setattr(convert_module, "_in_child", in_this_process)
    file = tmp_path / "x.tflite"
    convert(
        run,
        file,
        format="int8",
        batch_size=4,
        num_calibration_images=11,
        allow_disagreement=True,
    )
    # Those that fill a batch.
    assert EdgeModel(file).conversion.num_calibration_images == 8


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"format": "dynamic", "num_calibration_images": 9}, "is 9; .* `format` is in"),
        ({"num_calibration_images": 0}, "is 0; expected a whole number of at least 1"),
        ({"num_calibration_images": 3, "batch_size": 4}, "is 3; .* at least 4, one ba"),
        ({"batch_size": 501}, "is 500; .* at least 501"),
    ],
)
def test_numbers_of_calibration_images_that_are_refused(settings, words, tmp_path):
    with pytest.raises(InputError, match=rf"^num_calibration_images {words}"):
        convert(RunDir(tmp_path), tmp_path / "x", **{"format": "int8", **settings})


def test_fewer_training_images_than_a_batch():
    images = np.zeros((7, 2, 2, 1))
    assert len(convert_module._full_batches(images, 3)) == 6
    with pytest.raises(InputError, match="batch_size is 8; expected at most 7"):
        convert_module._full_batches(images, 8)


def test_a_full_temporary_folder(plain_config, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    air = AIR(plain_config)
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(OutputError, match=r"temporary files: .* \(No space left on"):
        to_tflite(air, _float32(air))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"image_shape": [50, 50]}, r"image_shape \[50, 50\]"),
        ({"image_shape": [50, 50, 0]}, "not a positive number"),
        ({"max_objects": "3"}, "not a positive number"),
        ({"batch_size": -1}, "batch_size -1"),
        ({"batch_size": True}, "batch_size True"),
        ({"num_calibration_images": 0}, "num_calibration_images 0"),
    ],
)
def test_metadata_that_are_refused(converted, tmp_path, change, words):
    good = json.loads(Conversion("float32", (50, 50, 1), 3).to_json())
    file = _with_metadata(converted, json.dumps(good | change), tmp_path)
    with pytest.raises(InputError, match=rf"metadata are not those of .*{words}"):
        EdgeModel(file)
    for text, words in (
        ("no JSON", ""),
        ("[]", "no JSON object"),
        ('{"image_shape": [2, 2, 1]}', "batch_size, format, max_objects missing"),
    ):
        file = _with_metadata(converted, text, tmp_path)
        with pytest.raises(InputError, match=rf"metadata are not those of .*{words}"):
            EdgeModel(file)


def _with_metadata(converted, text, tmp_path):
    """The float32 model with other metadata of ours."""
    content = converted["float32"][0].read_bytes()
    # The entry that is there gets another name, of the same length.
    assert content.count(METADATA_NAME.encode() + b"\0") == 1
    content = content.replace(METADATA_NAME.encode() + b"\0", b"x" * 6 + b"\0")
    file = tmp_path / "other.tflite"
    file.write_bytes(add_metadata(content, METADATA_NAME, text))
    return file


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
    # Putting a pip of its own there would take as long as installing.
    venv.create(folder)
    # A copy, since pip leaves its traces where it builds.
    source = folder / "source"
    shutil.copytree(_ROOT / "air_tf", source / "air_tf")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, source)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    for packages in (["numpy", "Pillow", "ai-edge-litert"], ["--no-deps", source]):
        result = subprocess.run([*pip, *packages], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    return python


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
    result = run("--output_dir=out", "0.png")
    assert result.returncode == 1
    assert "exists; expected another --output_dir, or --overwrite" in result.stderr
    result = run("--model=0.png", "0.png")
    assert result.returncode == 1
    assert result.stderr.strip().endswith("error: 0.png: not a TFLite file")


def test_nothing_but_the_converter_needs_tensorflow():
    code = (
        "import sys; from air_tf import EdgeModel; import air_tf.inference.printing; "
        "import air_tf.deployment.answers, air_tf.files, air_tf.visualization.drawing; "
        "heavy = {'tensorflow', 'keras', 'absl', 'h5py', 'scipy', 'matplotlib'}; "
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
