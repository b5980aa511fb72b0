"""Runs on pictures of any size, with a small model, through to all runtimes."""

import dataclasses
import functools
import json
import logging

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tifffile
from PIL import Image
from sklearn.base import clone

from air_tf import ObjectCounter, counter
from air_tf.config import DataConfig, PictureConfig, RunConfig, TrainingConfig
from air_tf.data.picture_files import read_pixels
from air_tf.data.picture_windows import PictureSet, WindowSampler
from air_tf.deployment.answers import PICTURES, pictures_from_json, pictures_to_json
from air_tf.deployment.check_export import check_export, format_table
from air_tf.deployment.client import Client
from air_tf.deployment.convert import to_tflite
from air_tf.deployment.demo import make_demo
from air_tf.deployment.edge import Conversion, EdgeModel
from air_tf.deployment.export import export
from air_tf.deployment.session import ServedModel
from air_tf.deployment.signatures import ServingModule
from air_tf.errors import InputError, ServerError
from air_tf.evaluation.evaluate_run import evaluate_run
from air_tf.inference.predict_pictures import predict_pictures
from air_tf.inference.whole import TOGETHER
from air_tf.runs import RunDir
from air_tf.training.batches import window_batches
from air_tf.training.train import train

_TRAINING = TrainingConfig(
    steps=30, batch_size=8, steps_per_evaluation=10, jit_compile=False
)
_PICTURES = PictureConfig(object_size=(4, 8), min_contrast=0.0)


def _picture(seed, shape=(50, 60)):
    """Spots of 6 x 6 pixels, each pixel of them different."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(8, 12, shape).astype(np.uint8)
    for _ in range(10):
        y, x = rng.integers(2, 40, 2)
        picture[y : y + 6, x : x + 6] = rng.integers(150, 250, (6, 6))
    return picture


@pytest.fixture(scope="module")
def config(small_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plate")
    for i in range(5):
        Image.fromarray(_picture(i, (50 + i, 60))).save(folder / f"{i}.png")
    tifffile.imwrite(folder / "5.tif", _picture(5).astype(np.uint16) * 257)
    (folder / "broken.png").write_text("no picture")
    return RunConfig(
        model=small_config,
        data=DataConfig(dataset="folder", image_dir=str(folder)),
        training=_TRAINING,
        pictures=_PICTURES,
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("pictures") / "run"
    train(config, folder)
    return RunDir(folder)


def test_a_run_stores_what_was_measured(config, run):
    pictures = run.read_config().pictures
    assert pictures.polarity == "bright" and pictures.levels[0] < 0.05
    assert pictures == dataclasses.replace(
        _PICTURES, polarity="bright", levels=pictures.levels
    )
    # The same command finds the run trained to its end.
    before = run.model_file.stat().st_mtime_ns
    train(config, run.path)
    assert run.model_file.stat().st_mtime_ns == before


def test_a_run_of_other_pictures_is_refused(config, run, tmp_path):
    Image.fromarray(_picture(0)).save(tmp_path / "a.png")
    Image.fromarray(_picture(1)).save(tmp_path / "b.png")
    data = DataConfig(dataset="folder", image_dir=str(tmp_path))
    levels = run.read_config().pictures.levels
    pictures = dataclasses.replace(_PICTURES, levels=levels)
    with pytest.raises(InputError, match="the images themselves"):
        train(dataclasses.replace(config, data=data, pictures=pictures), run.path)
    pictures = dataclasses.replace(_PICTURES, knee=1.0)
    with pytest.raises(InputError, match=r"knee \(there 0.15, here 1.0\)"):
        train(dataclasses.replace(config, pictures=pictures), run.path)


def test_an_interrupted_run_sees_the_same_windows(run):
    settings = run.read_config().pictures
    raw = {f"{i}": _picture(i) for i in range(3)}
    pictures = PictureSet.of(list(raw), raw.__getitem__, settings)

    def batches(first_step):
        sampler = WindowSampler(pictures, (16, 16))
        return window_batches(sampler, batch_size=4, seed=5, first_step=first_step)

    whole = list(batches(0).take(5).as_numpy_iterator())
    resumed = list(batches(3).take(2).as_numpy_iterator())
    np.testing.assert_array_equal(resumed, whole[3:])
    assert not np.array_equal(whole[0], whole[1])


def test_evaluation_of_splits_and_of_other_pictures(run, tmp_path, caplog):
    """6 pictures: one is for validation and one for testing."""
    with caplog.at_level(logging.INFO, logger="absl"):
        test = evaluate_run(run, {}, split="test")
    loading, evaluating = caplog.messages[:1], caplog.messages[-1:]
    assert loading == ["Loading the images of folder."]
    assert evaluating == [f"Evaluating {test.num_images} images of folder, test."]
    assert test.split == "test" and test.num_images == pytest.approx(12, abs=2)
    assert evaluate_run(run, {}, split="train").num_images > 3 * test.num_images
    Image.fromarray(_picture(9)).save(tmp_path / "a.png")
    other = evaluate_run(run, {"image_dir": str(tmp_path)})
    assert other.split == "all"
    with pytest.raises(InputError, match="was not trained on these images"):
        evaluate_run(run, {"image_dir": str(tmp_path)}, split="train")
    # Images of the canvas' size have nothing to be cut.
    np.savez(tmp_path / "x.npz", image=np.zeros((20, 16, 16), np.uint8))
    data = {"dataset": "file", "data_file": str(tmp_path / "x.npz")}
    assert evaluate_run(run, data).num_images == 20


class _Server(Client):
    """A server, without a network."""

    _server = "here"

    def __init__(self, served):
        self._served = served

    def predict(self, signature, inputs):
        found = self._served(signature, inputs)
        return {
            name: np.char.decode(array.astype(np.bytes_))
            if array.dtype == object
            else array
            for name, array in found.items()
        }

    def close(self):
        self._served.close()


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    """What export.py writes of the run, and its graph answers."""
    air, config = run.load_model(), run.read_config()
    module = ServingModule(air, config.prediction_steps(), config.pictures)
    folder = tmp_path_factory.mktemp("served") / "1"
    tf.saved_model.save(module, str(folder), signatures=module.signatures())
    one = _Server(ServedModel(folder))
    yield one
    one.close()


@pytest.fixture(scope="module")
def device(run, tmp_path_factory):
    """What convert.py writes of it."""
    air, config = run.load_model(), run.read_config()
    conversion = Conversion(
        "float32",
        air.config.image_shape,
        config.prediction_steps(),
        pictures=config.pictures,
    )
    file = tmp_path_factory.mktemp("device") / "a.tflite"
    file.write_bytes(to_tflite(air, conversion))
    return EdgeModel(file)


def test_servers_and_devices_see_the_same_in_windows(run, server, device):
    """What is made of the windows is the same code everywhere."""
    air, config = run.load_model(), run.read_config()
    settings, shape = config.pictures, air.config.image_shape[:2]
    raw = {"a": _picture(3, (70, 90))}
    pictures = PictureSet.of(["a"], raw.__getitem__, settings)
    windows = WindowSampler(pictures, shape).windows([0], 20)
    wanted = air.infer(windows, max_objects=config.prediction_steps())
    assert server.read_pictures() == (settings, shape)
    _assert_same(server.infer_windows(windows), wanted)  # in requests of 16
    assert device.conversion.pictures == settings
    _assert_same(device.infer(windows), wanted)


def test_all_runtimes_write_the_same_tables_and_label_images(
    run, server, device, tmp_path
):
    """As predict.py, serving_client.py and edge_predict.py call them.

    Sums are rounded differently, by 1e-6. So a pixel at the border of a mask may fall
    to another side; but of 9,700 pixels no more than five do. (Where two windows show
    an object almost equally well, such a pixel may decide which of them is kept; it
    does not in these pictures.)
    """
    config = run.read_config()
    plate = tmp_path / "plate"
    plate.mkdir()
    Image.fromarray(_picture(7, (50, 90))).save(plate / "a.png")
    tifffile.imwrite(plate / "b.tif", _picture(8, (52, 100)).astype(np.uint16) * 257)
    air = functools.partial(
        run.load_model().infer,
        max_objects=config.prediction_steps(),
        batch_size=TOGETHER,
    )
    runtimes = {"air": air, "server": server.infer_windows, "device": device.infer}
    found = {}
    for name, infer in runtimes.items():
        shape = config.model.image_shape[:2]
        folder = tmp_path / name
        answers = list(
            predict_pictures(infer, config.pictures, shape, [plate], folder, model={})
        )
        assert [answer.error for answer in answers] == [None, None]
        labels = [tifffile.imread(folder / "labels" / f"{one}.tif") for one in "ab"]
        tables = [pd.read_csv(folder / f"{one}.csv") for one in ("counts", "objects")]
        found[name] = labels, tables
    wanted_labels, (wanted_counts, wanted_objects) = found["air"]
    assert wanted_counts["count"].min() >= 3
    for name in ("server", "device"):
        labels, (counts, objects) = found[name]
        differing = sum(
            np.count_nonzero(one != other)
            for one, other in zip(labels, wanted_labels, strict=True)
        )
        assert differing <= 5, (name, differing)
        exact = ["image", "count", "count_low", "count_high"]
        pd.testing.assert_frame_equal(counts[exact], wanted_counts[exact])
        box = [f"bbox-{i}" for i in range(4)]
        assert objects["image"].tolist() == wanted_objects["image"].tolist()
        assert np.abs(objects[box] - wanted_objects[box]).to_numpy().max() <= 1
        codes = [column for column in objects if column.startswith("z_what")]
        for column in ("probability", *codes):
            np.testing.assert_allclose(
                objects[column], wanted_objects[column], atol=2e-3, err_msg=column
            )


def test_a_server_with_a_model_of_another_version_says_so(server):
    old = json.loads(
        pictures_to_json(server.read_pictures()[0], server.read_pictures()[1])
    )
    del old["knee"]

    class Older(_Server):
        def predict(self, signature, inputs):
            found = super().predict(signature, inputs)
            return {**found, PICTURES.name: np.array([[json.dumps(old)]])}

    words = "exported by another version of air_tf: PictureConfig lacks the field knee"
    with pytest.raises(ServerError, match=words):
        Older(server._served).read_pictures()


def test_an_export_passes_its_checks(run, tmp_path):
    export(run, tmp_path / "exports")
    checks = list(check_export(tmp_path / "exports"))
    assert all(check.passed for check in checks), format_table(checks)
    assert any("serve_image_bytes" in check.name for check in checks)


def _assert_same(found, wanted):
    np.testing.assert_array_equal(found.num_objects, wanted.num_objects)
    for name in ("presence_probs", "z_what", "mask", "canvas", "ground"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(wanted, name), atol=2e-3, err_msg=name
        )


@pytest.mark.parametrize("text", ["[]", "{}", '{"canvas": 3}', '{"canvas": [1, 2]}'])
def test_settings_that_can_not_be_read(text):
    with pytest.raises(ValueError):
        pictures_from_json(text)
    assert json.loads(text) is not None


@pytest.fixture
def small_counter(config, monkeypatch):
    """An `ObjectCounter` with the small model."""
    monkeypatch.setattr(
        counter,
        "_new_config",
        lambda pictures, image_dir: dataclasses.replace(config, pictures=pictures),
    )
    return ObjectCounter(object_size=(4, 8), steps=10)


def test_an_estimator_of_scikit_learn(small_counter, tmp_path):
    copy = clone(small_counter)
    assert copy.get_params() == {
        "object_size": (4, 8),
        "polarity": None,
        "channel": None,
        "steps": 10,
        "seed": 0,
    }
    with pytest.raises(Exception, match="not fitted"):
        copy.predict([_picture(0)])
    # Of different sizes and types.
    images = [_picture(i, (50, 60 + i)) for i in range(3)]
    images[1] = images[1].astype(np.uint16) * 257
    assert copy.fit(images) is copy
    counts = copy.predict(images)
    assert counts.shape == (3,) and counts.dtype == np.int64
    for image, count in zip(images, counts, strict=True):
        labels, table = copy.segment(image), copy.locate(image)
        assert labels.shape == image.shape and labels.dtype == np.int32
        assert labels.max() == len(table) == count
        assert {"label", "bbox-0", "centroid-1", "area"} <= set(table.columns)

    copy.save(tmp_path / "saved")
    again = ObjectCounter.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict(images), counts)
    # What was guessed is given.
    assert again.get_params() == {**copy.get_params(), "polarity": "bright"}
    with pytest.raises(InputError, match="exists; expected a new folder"):
        copy.save(tmp_path / "saved")


def test_an_estimator_without_pictures(small_counter):
    with pytest.raises(InputError, match="images is empty; expected pictures"):
        small_counter.fit([])
    with pytest.raises(InputError, match="picture 0: holds NaN"):
        small_counter.fit([np.full((50, 50), np.nan)])
    with pytest.raises(InputError, match=r"is one array of .* a list of pictures"):
        small_counter.fit(_picture(0))


def test_an_estimator_with_one_size():
    with pytest.raises(InputError, match="object_size is 12; expected two numbers"):
        ObjectCounter(object_size=12).fit([_picture(0)])


def test_no_page_of_single_windows(run):
    with pytest.raises(InputError, match="is a run on pictures of any size"):
        make_demo(run, format="dynamic")


def test_a_run_reads_its_page_and_channel(tmp_path):
    stack = np.stack([_picture(0), _picture(1)])
    tifffile.imwrite(tmp_path / "a.tif", stack)
    found = read_pixels(tmp_path / "a.tif", PictureConfig(page=1))
    np.testing.assert_array_equal(found, _picture(1))
