"""Exports: the files, the folders that are refused, and the checks of an export."""

import errno
import os
import pathlib
import re
import shutil
import tempfile
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from air_tf.deployment import check_export as check_export_module
from air_tf.deployment import export as export_module
from air_tf.deployment import serving_config
from air_tf.deployment.check_export import (
    Check,
    _check_litert,
    _compare,
    check_export,
    format_table,
)
from air_tf.deployment.export import WARM_UP, export, exported_run
from air_tf.deployment.session import read_meta_graph
from air_tf.deployment.versions import find_version
from air_tf.errors import InputError, OutputError
from air_tf.model.air import AIR
from air_tf.runs import RunDir


@pytest.fixture
def copied(exported, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(exported, tmp_path / "air")
    return tmp_path / "air"


@pytest.fixture
def quickly(exported, monkeypatch):
    """Exports the graph of `exported` again, without the wait until it is traced.

    For tests of where the files go and what becomes of those that are there.
    """

    class Module:
        def __init__(self, air, max_objects, pictures):
            pass

        def signatures(self):
            return ["serving_default", "reconstruct", "decode", "serve_image_bytes"]

    def save(module, folder, *, signatures):
        graph = shutil.ignore_patterns("assets.extra")
        shutil.copytree(exported / "1", folder, ignore=graph, dirs_exist_ok=True)

    monkeypatch.setattr(export_module, "ServingModule", Module)
    monkeypatch.setattr(tf.saved_model, "save", save)


def test_files(exported, learnt_run):
    names = {path.name for path in exported.iterdir()}
    assert names == {
        "1",
        "README.md",
        "models.config",
        "batching_parameters.pbtxt",
        "monitoring.config",
        "compose.yaml",
    }
    assert (exported / "1" / WARM_UP).is_file()
    # The weights are there once: no second copy of Keras' own.
    weights = 4 * learnt_run.load_model().count_params()
    data = exported / "1" / "variables" / "variables.data-00000-of-00001"
    assert weights <= data.stat().st_size < 1.1 * weights


def test_settings_are_those_of_tf_serving(exported):
    models = serving_config.read_models(exported / "models.config")
    (model,) = models.model_config_list.config
    assert (model.name, model.base_path) == ("air", "/models/air")
    batching = serving_config.read_batching(exported / "batching_parameters.pbtxt")
    assert batching.allowed_batch_sizes[-1] == batching.max_batch_size.value == 64
    monitoring = serving_config.read_monitoring(exported / "monitoring.config")
    assert monitoring.prometheus_config.enable
    for name in ("models.config", "batching_parameters.pbtxt", "monitoring.config"):
        for file in ("README.md", "compose.yaml"):
            assert f"=/models/air/{name}" in (exported / file).read_text()


def test_all_batching_parameters_of_tf_serving_are_known(tmp_path):
    file = tmp_path / "batching_parameters.pbtxt"
    file.write_text('thread_pool_name { value: "x" }\npad_variable_length_inputs: true')
    batching = serving_config.read_batching(file)
    assert batching.thread_pool_name.value == "x"
    for wrong in (b"max_batch_size: 1", b"threads { value: 1 }", b"\xff"):
        file.write_bytes(wrong)
        with pytest.raises(InputError, match=r"batching_parameters\.pbtxt can't be"):
            serving_config.read_batching(file)


def test_the_card_has_the_held_out_figures(exported, learnt_run):
    metrics = learnt_run.read_metrics_json()
    card = (exported / "README.md").read_text()
    assert f"count accuracy {metrics['count_accuracy']:.2%}" in card
    assert f"On {metrics['num_images']:,} held-out images" in card
    assert f"{learnt_run.read_config().training.steps} training steps of" in card


def test_versions_are_added_and_never_replaced(learnt_run, copied, quickly):
    (copied / "batching_parameters.pbtxt").write_text("max_batch_size { value: 8 }\n")
    assert export(learnt_run, copied).name == "2"
    assert export(learnt_run, copied, version=7, max_objects=5).name == "7"
    assert find_version(copied).name == "7"
    assert find_version(copied / "2").name == "2"
    with pytest.raises(InputError, match=r"version 7 exists in .*such as 8"):
        export(learnt_run, copied, version=7)
    card = (copied / "README.md").read_text()
    assert re.findall("^## Version (.*)$", card, re.M) == ["1", "2", "7"]
    assert "at most 5 objects" in card
    # The user's own changes are kept.
    text = (copied / "batching_parameters.pbtxt").read_text()
    assert text == "max_batch_size { value: 8 }\n"
    assert not list(copied.glob(".new-*"))


def test_other_folders_are_refused_and_left_alone(learnt_run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt, which export\.py did not"):
        export(learnt_run, tmp_path)
    with pytest.raises(InputError, match="is a file"):
        export(learnt_run, tmp_path / "notes.txt")
    with pytest.raises(InputError, match="version is 0"):
        export(learnt_run, tmp_path / "new", version=0)
    other = tmp_path / "other" / "1"
    tf.saved_model.save(tf.Module(), str(other))
    with pytest.raises(InputError, match="holds 1, which"):
        export(learnt_run, tmp_path / "other")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "other"}


def test_a_folder_that_cannot_be_written(learnt_run, quickly, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"air: can't be written to \(Not a dir"):
        export(learnt_run, tmp_path / "file" / "air")

    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "No space\nleft")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OutputError, match=r"air: can't be .* \(No space left\)$"):
        export(learnt_run, tmp_path / "air")
    assert not list((tmp_path / "air").iterdir())


def test_a_run_that_has_not_ended_is_refused(learnt_run, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(learnt_run.config_file, tmp_path / "run")
    for run, words in (
        (tmp_path / "none", "holds no config.json"),
        (tmp_path / "run", "holds no model.keras; its training has not ended"),
    ):
        with pytest.raises(InputError, match=words):
            export(RunDir(run), tmp_path / "out")
    (tmp_path / "run" / "model.keras").write_bytes(b"half")
    with pytest.raises(InputError, match=r"model\.keras can't be read"):
        export(RunDir(tmp_path / "run"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_good_export_passes_every_check(exported, converted_float32, monkeypatch):
    # The same model is converted once; the next test converts one for itself.
    content = converted_float32[0].read_bytes()
    monkeypatch.setattr(check_export_module, "to_tflite", lambda *_: content)
    checks = list(check_export(exported))
    assert all(check.passed for check in checks), format_table(checks)
    names = [check.name for check in checks]
    for runtime in ("serving_default", "serve_image_bytes", "decode", "LiteRT"):
        assert any(name.startswith(f"Keras and {runtime}:") for name in names)


def test_a_damaged_export_fails(copied, monkeypatch):
    """Weights of another model, no warm-up, and settings that do not parse."""
    monkeypatch.setattr(check_export_module, "_NUM_IMAGES", 70)
    run = exported_run(copied / "1")
    air = run.load_model(proposals=0)  # takes half the time to convert
    rng = np.random.default_rng(0)
    air.set_weights([w + rng.normal(0, 0.05, w.shape) for w in air.get_weights()])
    air.save(run.model_file)
    (copied / "1" / WARM_UP).write_bytes(b"")
    (copied / "models.config").write_text("model_config { }")
    failed = {check.name for check in check_export(copied) if not check.passed}
    assert "Keras and serving_default: z_what" in failed
    assert "warm-up requests" in failed
    assert "models.config" in failed
    # The Keras model and its LiteRT copy still agree, and the graph is unchanged.
    assert "Keras and LiteRT: z_what" not in failed
    assert "operations" not in failed


def test_an_incomplete_version_is_refused(copied):
    (copied / "9").mkdir()
    with pytest.raises(InputError, match=r"9 holds no assets\.extra/run"):
        list(check_export(copied))


def test_a_version_that_another_export_writes_meanwhile(
    learnt_run, quickly, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_module, "_versions_in", lambda base: [])
    monkeypatch.setattr(
        export_module, "require_new_version", lambda base, version: None
    )
    export(learnt_run, tmp_path / "air")
    with pytest.raises(InputError, match=r"version 1 has just been written"):
        export(learnt_run, tmp_path / "air")
    assert not list((tmp_path / "air").glob(".new-*"))


def test_leftovers_of_a_killed_export_are_removed(learnt_run, copied, quickly):
    for name, age in ((".new-old", 7200), (".new-recent", 60)):
        (copied / name).mkdir()
        os.utime(copied / name, (time.time() - age,) * 2)
    export(learnt_run, copied)
    assert [path.name for path in copied.glob(".new-*")] == [".new-recent"]


def test_nothing_to_check(tmp_path):
    with pytest.raises(InputError, match="holds no version"):
        find_version(tmp_path)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"holds no assets\.extra/run"):
        list(check_export(tmp_path))


_READERS = [
    find_version,
    exported_run,
    read_meta_graph,
    serving_config.read_models,
    serving_config.read_batching,
    serving_config.read_monitoring,
]


@pytest.mark.parametrize("read", _READERS, ids=lambda read: read.__name__)
def test_paths_that_cannot_be_read(read, tmp_path, monkeypatch):
    path = tmp_path / ("x" * 300)
    with pytest.raises(InputError, match=r"xxx.* can't be read \(File name too long"):
        read(path)

    # The tests may run as root, who may read everything.
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("stat", "open", "iterdir"):
        monkeypatch.setattr(pathlib.Path, name, forbidden)
    with pytest.raises(
        InputError, match=r"/a\b.* can't be read \(Permission denied\)$"
    ):
        read(tmp_path / "a")


def test_a_folder_of_versions_that_cannot_be_listed(tmp_path, monkeypatch):
    def forbidden(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "iterdir", forbidden)
    with pytest.raises(InputError, match=r"can't be read \(Permission denied\)$"):
        find_version(tmp_path)
    with pytest.raises(InputError, match=r"^export_dir .* can't be read \(Permission"):
        export(None, tmp_path)


def test_a_full_temporary_folder(plain_config, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    air, images = AIR(plain_config), np.zeros((1, 16, 16, 1), np.uint8)
    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"temporary files: can't be .* \(No space"):
        list(_check_litert(air, images, 3, None))
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(OutputError, match=r"temporary files: can't be .* \(No space"):
        list(_check_litert(air, images, 3, None))


@pytest.mark.parametrize(
    ("largest", "error", "passed"),
    [(0.5, 9e-4, True), (0.5, 2e-3, False), (10.0, 9e-3, True), (10.0, 2e-2, False)],
)
def test_tolerance_is_relative_to_the_largest_number(largest, error, passed):
    codes = np.array([[[largest]]], np.float32)
    wanted = types.SimpleNamespace(canvas=np.zeros((1, 16, 16, 1)), z_what=codes)
    (check,) = _compare("x", wanted, {"z_what": codes + error})
    assert check.passed == passed


def test_the_table_has_a_line_for_each_check():
    checks = [Check("a", "1e-3", True), Check("operations", "forbidden: Xla", False)]
    assert format_table(checks).splitlines() == [
        "ok    a           1e-3",
        "FAIL  operations  forbidden: Xla",
    ]
