"""Pipelines of Beam give what the exported model gives, for every picture once."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from air_tf import InputError
from air_tf.config import PictureConfig
from air_tf.data.user_images import fit_picture, read_picture
from air_tf.deployment.exported import ExportedModel
from air_tf.deployment.signatures import ServingModule
from air_tf.inference.predict_pictures import predict_pictures
from air_tf.model.air import AIR

pytest.importorskip("apache_beam")
import pyarrow as pa
import pyarrow.parquet
import tifffile

from air_tf.deployment.beam import rows
from air_tf.deployment.beam.inputs import kind_of, require_matches, with_folder
from air_tf.deployment.beam.options import pipeline_options
from air_tf.deployment.beam.predict import predict
from benchmarks import beam_speed, session_speed

_PICTURES = PictureConfig(
    object_size=(4, 8), min_contrast=0.0, levels=(0.0, 1.0), polarity="bright"
)


@pytest.fixture(scope="module")
def air(plain_config):
    """Untrained; the count depends on the image."""
    tf.keras.utils.set_random_seed(0)
    air = AIR(plain_config)
    layer = air.attend.search._cells._mlp._output
    weights, biases = layer.get_weights()
    weights[:, 0], biases[0] = np.linspace(-90, 90, len(weights)), 0.1
    layer.set_weights([weights, biases])
    return air


def _export(air, folder, pictures=None):
    module = ServingModule(air, 3, pictures)
    tf.saved_model.save(module, str(folder / "1"), signatures=module.signatures())
    return str(folder)


@pytest.fixture(scope="module")
def of_images(air, tmp_path_factory):
    return _export(air, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def of_pictures(air, tmp_path_factory):
    return _export(air, tmp_path_factory.mktemp("pictures"), _PICTURES)


def _picture(seed, shape=(40, 52)):
    """Spots of 6 x 6 pixels."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(8, 12, shape).astype(np.uint8)
    for _ in range(8):
        y, x = rng.integers(2, 30, 2)
        picture[y : y + 6, x : x + 6] = rng.integers(150, 250, (6, 6))
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """70 pictures of two sizes, a broken one and one that is not there any more."""
    folder = tmp_path_factory.mktemp("plate")
    for i in range(70):
        cut = _picture(i)[: 20 + i % 2, :30]
        Image.fromarray(cut).save(folder / f"{i:02d}.png")
    (folder / "broken.png").write_text("no picture")
    return folder


def _run(export, patterns, output, *arguments, form="parquet"):
    options = pipeline_options("DirectRunner", arguments, field="runner")
    return predict(
        str(export),
        [str(one) for one in patterns],
        str(output),
        options=options,
        format=form,
    )


def _read(output, name):
    """Rows of a table, sorted."""
    found = []
    for file in sorted(output.glob(f"{name}-*")):
        if file.suffix == ".parquet":
            found += pa.parquet.read_table(file).to_pylist()
        else:
            found += map(json.loads, file.read_text().splitlines())
    number = "label" if name == "objects" else "image"
    return sorted(found, key=lambda row: (row["image"], row[number]))


@pytest.fixture(scope="module")
def of_files(of_images, folder, tmp_path_factory):
    """The results of the folder, by one worker, and what was counted."""
    out = tmp_path_factory.mktemp("results") / "out"
    # A picture that two patterns match is there once.
    return out, _run(of_images, [folder / "*.png", folder / "0*.png"], out)


def test_images_as_by_the_model_alone(of_images, of_files, folder):
    """In the same batches, sorted by path: to the bit, and each picture once."""
    out, totals = of_files
    files = sorted(folder.glob("[0-9]*.png"))
    pictures = [read_picture(file) for file in files]
    images = np.stack([fit_picture(one, (16, 16, 1)) for one in pictures])
    scenes = ExportedModel(of_images).infer(images)
    assert len(set(scenes.num_objects.tolist())) > 1

    counts = _read(out, "counts")
    assert [row["image"] for row in counts] == list(map(str, files))
    assert [row["count"] for row in counts] == scenes.num_objects.tolist()
    probability = scenes.num_objects_probs[np.arange(70), scenes.num_objects]
    assert [row["probability"] for row in counts] == probability.tolist()

    objects = _read(out, "objects")
    assert len(objects) == scenes.num_objects.sum()
    for row in objects:
        i, step = int(row["image"][-6:-4]), row["label"] - 1
        assert row["probability"] == scenes.presence_probs[i, step]
        codes = [row[f"z_what-{k}"] for k in range(4)]
        assert codes == scenes.z_what[i, step].tolist()
        height, width = 20 + i % 2, 30
        box = scenes.boxes[i, step] * np.array([height, width, height, width])
        assert [row[f"bbox-{k}"] for k in range(4)] == box.tolist()

    (bad,) = _read(out, "bad_pictures")
    assert bad["image"] == str(folder / "broken.png")
    assert bad["reason"].endswith("broken.png: not a PNG or JPEG picture")
    assert totals[:4] == (70, len(objects), 1, 70) and totals.images_per_second > 0


def test_two_workers_records_and_jsonl_give_the_same(
    of_images, of_files, folder, tmp_path
):
    """Records have the name of their file, and a number."""
    contents = [file.read_bytes() for file in sorted(folder.glob("*.png"))]  # 71
    table = pa.table({"image": pa.array([*contents, None], pa.binary())})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    pa.parquet.write_table(pa.table({"other": [1]}), tmp_path / "b.parquet")
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrecord-00000-of-00001")) as file:
        for content in contents:
            values = tf.train.BytesList(value=[content])
            feature = {"image": tf.train.Feature(bytes_list=values)}
            features = tf.train.Features(feature=feature)
            file.write(tf.train.Example(features=features).SerializeToString())
        file.write(b"no example")
    broken = (tmp_path / "a.tfrecord-00000-of-00001").read_bytes()[:-30]
    (tmp_path / "cut.tfrecord").write_bytes(broken)

    out, plate = tmp_path / "out", str(folder)
    _run(
        of_images,
        [folder / "*.png", tmp_path / "*.parquet", tmp_path / "*.tfrecord*"],
        out,
        "--direct_num_workers=2",
        "--direct_running_mode=multi_threading",
        form="jsonl",
    )
    one = {name: _read(of_files[0], name) for name in ("counts", "objects")}
    for name, of_one in one.items():
        of_two = [row for row in _read(out, name) if row["image"].startswith(plate)]
        assert of_two == of_one
    wanted = [row["count"] for row in one["counts"]]
    found = {row["image"]: row["count"] for row in _read(out, "counts")}
    for name in ("a.parquet", "a.tfrecord-00000-of-00001", "cut.tfrecord"):
        of_file = [found[f"{tmp_path / name}#{i}"] for i in range(70)]
        assert of_file == wanted, name
    assert len(found) == 4 * 70
    bad = {row["image"]: row["reason"] for row in _read(out, "bad_pictures")}
    start = f"{tmp_path}/a"
    assert bad.keys() == {
        *(f"{start}.parquet#{i}" for i in (70, 71)),
        *(f"{start}.tfrecord-00000-of-00001#{i}" for i in (70, 71)),
        f"{folder}/broken.png",
        f"{tmp_path}/cut.tfrecord",
        f"{tmp_path}/b.parquet",
    }
    assert "has no bytes in `image`" in bad[f"{start}.parquet#71"]
    assert "has no column `image`" in bad[f"{tmp_path}/b.parquet"]


def test_whole_pictures_as_predict_does(of_pictures, tmp_path):
    folder = tmp_path / "plate"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(_picture(i)).save(folder / f"{i}.png")
    tifffile.imwrite(folder / "3.tif", _picture(3).astype(np.uint16) * 257)
    Image.fromarray(_picture(4)[:6]).save(folder / "small.png")
    out = tmp_path / "out"
    totals = _run(of_pictures, [folder / "*.png", folder / "*.tif"], out)

    model = ExportedModel(of_pictures)
    answers = predict_pictures(
        lambda windows: model.infer(windows, with_masks=True),
        model.pictures,
        (16, 16),
        [folder],
        tmp_path / "wanted",
        model={},
    )
    assert sum(one.error is not None for one in answers) == 1
    wanted = tmp_path / "wanted"
    with open(wanted / "counts.csv", newline="") as file:
        rows_wanted = list(csv.DictReader(file))
    counts = _read(out, "counts")
    assert [{k: str(v) for k, v in row.items()} for row in counts] == rows_wanted
    with open(wanted / "objects.csv", newline="") as file:
        rows_wanted = list(csv.DictReader(file))
    objects = _read(out, "objects")
    assert len(objects) == len(rows_wanted) > 4
    assert list(objects[0]) == list(rows_wanted[0])
    for row, in_csv in zip(objects, rows_wanted, strict=True):
        for name, text in in_csv.items():
            found = row[name] if isinstance(row[name], str) else f"{row[name]:.7g}"
            assert found == text or float(found) == float(text), name
    (bad,) = _read(out, "bad_pictures")
    assert "expected sides of at least 8" in bad["reason"]
    assert totals.pictures == 4 and totals.images > 4 * 9


def test_rows_of_objects_on_a_table(table_config, table_scenes, table_inference):
    from air_tf.inference.predict import describe_scenes
    from air_tf.inference.tabletop import kinds_of
    from air_tf.model.air3d import AIR3D
    from air_tf.structs import TabletopScenes

    images = table_scenes(table_config, 5).images
    scenes, kinds = AIR3D.of_table(table_config).infer(images), kinds_of(table_config)
    number = np.array([0, 1, 2, 3, 1], np.int32)
    scenes = scenes._replace(num_objects=number)
    names, sizes = [f"{i}.png" for i in range(5)], np.full((5, 2), 16)
    found = list(rows.tabletop_rows(names, scenes, sizes, kinds))
    owners = [row["image"] for row in found]
    assert owners == ["1.png", "2.png", "2.png", "3.png", "3.png", "3.png", "4.png"]
    assert list(found[0]) == rows.objects_on_table().names
    third = type(scenes)(*(field[3:4] for field in scenes))
    answer = describe_scenes("3.png", 16, 16, TabletopScenes(third, kinds))
    for row, kind, place in zip(
        found[3:6], answer["kinds"], answer["positions"], strict=True
    ):
        assert (row["kind"], row["x"], row["y"]) == (kind, *place)


def test_any_number_of_images_without_a_server(of_images, air):
    """A signature takes 64, and says so."""
    images = np.random.default_rng(0).random((65, 16, 16, 1), np.float32)
    model = ExportedModel(of_images)
    found = model.infer(images, with_masks=True)
    wanted = air.infer(images, max_objects=3, batch_size=64)
    np.testing.assert_array_equal(found.num_objects, wanted.num_objects)
    np.testing.assert_allclose(found.z_what, wanted.z_what, atol=1e-5)
    np.testing.assert_allclose(found.mask, wanted.mask, atol=1e-5)
    assert model.infer(images[:2]).mask is None
    signature = tf.saved_model.load(f"{of_images}/1").signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 1 to 64 images"):
        signature(image=tf.constant(images))


def test_a_pattern_without_a_folder_is_of_the_current_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    require_matches([with_folder("*.png")])
    assert with_folder("gs://bucket/*.png") == "gs://bucket/*.png"


def test_what_is_refused(of_images, folder, tmp_path):
    with pytest.raises(InputError, match=r"input is '.*\.gif'; expected a pattern"):
        kind_of(f"{folder}/*.gif")
    with pytest.raises(InputError, match=r"input is '.*none/\*.png'; no file matches"):
        require_matches([f"{folder}/none/*.png"])
    with pytest.raises(InputError, match=r"output .* is not empty"):
        _run(of_images, [folder / "*.png"], folder)
    with pytest.raises(InputError, match="holds no version"):
        _run(tmp_path, [folder / "*.png"], tmp_path / "out")
    double = tf.Module()
    double.f = tf.function(lambda x: {"y": 2 * x}).get_concrete_function(tf.constant(1))
    tf.saved_model.save(double, str(tmp_path / "1"), signatures=double.f)
    with pytest.raises(InputError, match="other signatures"):
        _run(tmp_path, [folder / "*.png"], tmp_path / "out")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(InputError, match="can't be loaded"):
        _run(tmp_path, [folder / "*.png"], tmp_path / "out")
    with pytest.raises(InputError, match="runner is 'Direct'; expected a runner"):
        pipeline_options("Direct", [], field="runner")
    with pytest.raises(InputError, match="--ouput is a flag of neither"):
        pipeline_options("DirectRunner", ["--ouput=x"], field="runner")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a/*.PNG", "picture"),
        ("gs://b/*.tiff", "picture"),
        ("*.tfrecord", "tfrecord"),
        ("a.tfrecord-00000-of-00002", "tfrecord"),
        ("*.tfrecord*", "tfrecord"),
        ("*.parquet", "parquet"),
    ],
)
def test_what_patterns_name(name, kind):
    assert kind_of(name) == kind


def test_bytes_are_read_as_files_are(tmp_path):
    from air_tf.data.picture_files import decode_pixels, read_pixels

    pixels = _picture(0).astype(np.uint16) * 200
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    Image.fromarray(_picture(1)).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        file = tmp_path / name
        found = decode_pixels(file.read_bytes(), _PICTURES, what="a")
        np.testing.assert_array_equal(found, read_pixels(file, _PICTURES))
    with pytest.raises(InputError, match="a: can't be read"):
        decode_pixels(b"II*\0no", _PICTURES, what="a")
    # Not the address of the bytes in memory, which differs from run to run.
    with pytest.raises(InputError, match=r"^a: not a PNG, JPEG or TIFF picture$"):
        decode_pixels(b"no picture", _PICTURES, what="a")


def test_the_parts_of_a_picture_are_timed(of_pictures, monkeypatch):
    """40 pixels: windows of 16 that overlap by 8, so 4 a side."""
    monkeypatch.setattr(beam_speed, "_SIDE", 40)
    results = beam_speed.benchmark_beam(of_pictures, 1)
    assert results["windows"] == 16 and results["parts"]["model"] > 0
    table = beam_speed.format_beam(results)
    assert "40 x 40 pixels: 16 windows" in table
    ms = 1e3 * results["parts"]["model"] / 16
    assert f"{ms:.2f} ms of the model" in table


def test_the_ratio_is_that_of_the_mean_of_both_runs_alone():
    def run(whole, without):
        times = (whole, without)
        return {"seconds": times, "cpu_seconds": times, "memory_mb": [1, 2, 3, 4]}

    results = {
        "images": 100,
        "alone": [run(10.0, 4.0), run(12.0, 6.0)],
        "beam": run(20.0, 6.25),
    }
    table = beam_speed.format_beam(results)
    (ratio,) = (line for line in table.splitlines() if "ratio" in line)
    cells = [cell.strip() for cell in ratio.split("|")[2:6]]
    assert cells == ["0.55", "0.80", "0.55", "0.80"]
    assert "each quarter: 1, 2, 3, 4 MB" in table


def test_the_session_alone_by_size(of_images, monkeypatch):
    black = np.zeros((64, 16, 16, 1), np.uint8)
    monkeypatch.setattr(session_speed, "sampled_images", lambda *given: black)
    monkeypatch.setattr(session_speed, "_ROUNDS", 1)
    assert list(session_speed.benchmark_session(of_images)) == [1, 2, 4, 8, 16, 32, 64]
    table = session_speed.format_session({64: 32.0})
    cells = [cell.strip() for cell in table.splitlines()[-1].split("|")[1:5]]
    assert cells == ["64", "32.00", "0.50", "2000"]


def test_the_program(programs, of_images, folder, tmp_path):
    """Flags that it does not know go to Beam, if Beam knows them."""
    given = (f"--model={of_images}", f"--input={folder}/0*.png", "--output=out")
    for flags, text in (
        (given[1:], "--model is missing"),
        ([*given, "--format=csv"], "flag --format=csv"),
    ):
        result = programs.run("predict_beam", *flags, cwd=tmp_path)
        assert result.returncode == 1, result.stdout
        errors = [line for line in result.stderr.splitlines() if "error: " in line]
        assert "Traceback" not in result.stderr and text in errors[-1]
    flags = (*given, "--direct_num_workers=1", "--format=jsonl")
    result = programs.run("predict_beam", *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("10 pictures, ")
    assert len(_read(tmp_path / "out", "counts")) == 10
    result = programs.run(
        "prepare_data", "--dataset=sprites", "--ouput=x", cwd=tmp_path
    )
    assert "argument '--ouput=x' is not a flag" in result.stderr
