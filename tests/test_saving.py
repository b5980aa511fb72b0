"""Models and runs of earlier versions give the answers that they gave then."""

import io
import json
import pathlib
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

import air_tf
from air_tf.config import DataConfig, NVILConfig, RunConfig, TrainingConfig, upgrade
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.model.saving import read_model
from air_tf.runs import RunDir, load_images, load_model
from air_tf.training.train import train
from studies.seeds import train_seeds

_FIXTURES = pathlib.Path(__file__).parent / "fixtures"


@pytest.fixture(params=["difference", "recurrent"])
def saved(request):
    """A run that version 0.1 trained on scikit-learn's digits, and its answers."""
    folder = _FIXTURES / f"format_1_{request.param}"
    with np.load(folder / "expected.npz") as arrays:
        return folder, dict(arrays)


def test_a_run_of_format_1_answers_as_it_did(saved):
    folder, expected = saved
    scenes = load_model(folder).infer(expected["image"])
    np.testing.assert_array_equal(scenes.num_objects, expected["num_objects"])
    assert set(expected["num_objects"]) == {0, 1, 2}
    for name in ("num_objects_probs", "boxes", "z_where", "z_what"):
        np.testing.assert_allclose(getattr(scenes, name), expected[name], atol=1e-4)


@pytest.mark.parametrize("read", [read_model, keras.saving.load_model])
def test_a_model_of_format_2_answers_as_it_did(read):
    """The difference form of these models, as version 0.2 saved it."""
    with np.load(_FIXTURES / "format_1_difference" / "expected.npz") as arrays:
        expected = dict(arrays)
    air = read(_FIXTURES / "format_2_difference" / "model.keras")
    scenes = air.infer(expected["image"])
    np.testing.assert_array_equal(scenes.num_objects, expected["num_objects"])
    for name in ("num_objects_probs", "boxes", "z_where", "z_what"):
        np.testing.assert_allclose(getattr(scenes, name), expected[name], atol=1e-4)


def test_its_fitted_priors_are_kept(saved):
    folder, expected = saved
    generated = read_model(folder / "model.keras").generate(4, seed=1).canvas
    np.testing.assert_allclose(generated, expected["generated"], atol=2e-3)  # float16


def test_it_can_be_saved_again(saved, tmp_path):
    folder, expected = saved
    read_model(folder / "model.keras").save(tmp_path / "again.keras")
    for read in (air_tf.load_model, keras.saving.load_model):
        scenes = read(tmp_path / "again.keras").infer(expected["image"])
        np.testing.assert_array_equal(scenes.num_objects, expected["num_objects"])
        np.testing.assert_allclose(scenes.z_what, expected["z_what"], atol=1e-4)


def test_keras_alone_names_what_reads_it(saved):
    with pytest.raises(InputError, match=r"air_tf\.load_model\(FILE\)"):
        keras.saving.load_model(saved[0] / "model.keras")


def test_settings_of_format_1_are_written_out(saved):
    """What its code did, whatever today's defaults are."""
    config = RunDir(saved[0]).read_config()
    stored = json.loads((saved[0] / "config.json").read_text())
    assert config.model.max_objects == stored["model"]["max_steps_per_image"]
    assert config.training.steps == stored["training"]["steps"]
    written = config.to_dict()
    assert written["model"]["box_threshold"] == 0.1
    form = written["model"]["inference"]
    objective = written["training"]["objective"]
    if form["name"] == "difference":
        assert form["num_refinements"] == 2 and form["cell_patch"] == 14
        assert objective["count_update"] == "cross_entropy"
        assert objective["count_loss_weight"] == 10.0
        assert not objective["move_blank_steps"]
    else:
        assert form == {"name": "recurrent", "recurrent_units": 32}
        assert objective["count_update"] == "gradient"
        assert objective["move_blank_steps"]
    assert RunConfig.from_dict(json.loads(json.dumps(written))) == config


@pytest.mark.parametrize(
    "objective, particles, expected",
    [
        ("vimco", None, {"num_particles": 5}),
        ("iwae", 3, {"num_particles": 3}),
        ("concrete", None, {"initial_temperature": 1.0, "final_temperature": 0.1}),
        ("reinforce", None, {}),
    ],
)
def test_objectives_of_format_1(objective, particles, expected):
    old = {
        "model": {"inference": "recurrent"},
        "data": {},
        "training": {"objective": objective, "num_particles": particles},
    }
    written = RunConfig.from_dict(old).to_dict()["training"]["objective"]
    assert written == {"name": objective, **expected}
    old["training"] = {"objective": "nvil"}
    assert RunConfig.from_dict(old).training.objective == NVILConfig()


def test_an_unfinished_run_of_format_1_is_refused(saved, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(saved[0] / "config.json", run)
    config = RunDir(saved[0]).read_config()
    with pytest.raises(InputError, match="unfinished run of an earlier version"):
        RunDir(run).open(config, None, 1000)


def test_later_formats_are_refused(saved, tmp_path):
    later = RunDir(saved[0]).read_config().to_dict() | {"version": upgrade.VERSION + 1}
    (tmp_path / "config.json").write_text(json.dumps(later))
    with pytest.raises(InputError, match="of a later version of air_tf"):
        RunDir(tmp_path).read_config()


def test_settings_of_a_development_version_name_their_file(
    small_config, data_file, tmp_path
):
    """It had the same format, and other fields."""
    config = RunConfig(
        model=small_config,
        data=DataConfig(dataset="file", data_file=str(data_file)),
        training=TrainingConfig(batch_size=8),
    )
    stored = json.loads(json.dumps(config.to_dict()))
    del stored["model"]["inference"]["revisions"]
    words = (
        r"{} was written by another version of air_tf, or changed since: "
        "DifferenceConfig lacks the field revisions"
    )
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=words.format(r"config\.json")):
        RunDir(tmp_path).read_config()
    # Its model.
    model = AIR(small_config)
    model.get_config = lambda: {"name": "air", "config": stored["model"]}
    model.save(tmp_path / "model.keras")
    with pytest.raises(InputError, match=words.format(r"model\.keras")):
        read_model(tmp_path / "model.keras")
    # Figures of several seeds.
    results = {"machine": {}, "config": stored, "seeds": {}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=words.format(r"results\.json")):
        train_seeds(config, [0], tmp_path)
    # A run that has ended is not trained again; its figures are read.
    run = RunDir(tmp_path / "run")
    run.open(config, sources.fingerprint(load_images(config, ["train"])["train"]), 99)
    run.metrics_json.write_text('{"num_images": 3}')
    with pytest.raises(InputError, match=r"metrics\.json was .*: the figures lack "):
        train(config, run.path)


def test_other_files_are_refused(small_config, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_model(tmp_path / "x.keras")
    (tmp_path / "x.keras").write_bytes(b"PK, but not for long")
    with pytest.raises(InputError, match=r"x\.keras can't be read: not a Keras model"):
        read_model(tmp_path / "x.keras")
    keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]).save(
        tmp_path / "dense.keras"
    )
    with pytest.raises(InputError, match=r"dense\.keras is not an AIR model"):
        read_model(tmp_path / "dense.keras")


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_damaged_files_are_refused(saved, tmp_path, member):
    content = bytearray((saved[0] / "model.keras").read_bytes())
    with zipfile.ZipFile(saved[0] / "model.keras") as archive:
        info = archive.getinfo(member)
    middle = info.header_offset + 100 + info.compress_size // 2
    content[middle] ^= 255
    (tmp_path / "x.keras").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.keras can't be read"):
        read_model(tmp_path / "x.keras")


def test_weights_that_lead_elsewhere_are_refused(saved, tmp_path):
    """Links in HDF5 could name other files."""
    with zipfile.ZipFile(saved[0] / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        del file["decoder"]
        file["decoder"] = h5py.ExternalLink("/etc/passwd", "/")
    members["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"x\.keras can't be read"):
        read_model(tmp_path / "x.keras")


def test_weights_survive(small_config, recurrent_config, images, tmp_path):
    for config in (small_config, recurrent_config):
        air = AIR(config)
        air.save(tmp_path / "x.keras")
        again = read_model(tmp_path / "x.keras")
        assert again.config == config
        np.testing.assert_array_equal(
            again.infer(images).z_what, air.infer(images).z_what
        )
