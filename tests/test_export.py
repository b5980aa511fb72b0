"""What export.py leaves, what it refuses, and what check_export.py finds."""

import os
import re
import shutil
import time
import types

import numpy as np
import pytest
import tensorflow as tf

from air_tf.deployment import export as export_module
from air_tf.deployment import serving_config
from air_tf.deployment.check_export import _compare, check_export, format_table
from air_tf.deployment.export import WARM_UP, export, exported_run, find_version
from air_tf.errors import InputError
from air_tf.runs import RunDir


@pytest.fixture
def copied(exported, tmp_path):
    """A copy to spoil."""
    shutil.copytree(exported, tmp_path / "air")
    return tmp_path / "air"


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


def test_the_card_has_the_held_out_figures(exported, learnt_run):
    metrics = learnt_run.read_metrics_json()
    card = (exported / "README.md").read_text()
    assert f"count accuracy {metrics['count_accuracy']:.2%}" in card
    assert f"On {metrics['num_images']:,} held-out images" in card


def test_versions_are_added_and_never_replaced(learnt_run, copied):
    (copied / "batching_parameters.pbtxt").write_text("max_batch_size { value: 8 }\n")
    assert export(learnt_run, copied).name == "2"
    assert export(learnt_run, copied, version=7, max_objects=5).name == "7"
    assert find_version(copied).name == "7"
    assert find_version(copied / "2").name == "2"
    with pytest.raises(InputError, match=r"version 7 is in .*such as 8"):
        export(learnt_run, copied, version=7)
    card = (copied / "README.md").read_text()
    assert re.findall("^## Version (.*)$", card, re.M) == ["1", "2", "7"]
    assert "at most 5 objects" in card
    # What its user has changed is kept.
    text = (copied / "batching_parameters.pbtxt").read_text()
    assert text == "max_batch_size { value: 8 }\n"
    assert not list(copied.glob(".new-*"))


def test_what_is_not_ours_is_refused_and_left_alone(learnt_run, tmp_path):
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


def test_a_good_export_passes_every_check(exported):
    checks = list(check_export(exported))
    assert all(check.passed for check in checks), format_table(checks)
    names = [check.name for check in checks]
    for runtime in ("serving_default", "serve_image_bytes", "decode", "LiteRT"):
        assert any(name.startswith(f"Keras and {runtime}:") for name in names)


def test_a_spoilt_export_fails(copied):
    """Weights of another model, no warm-up, and settings that do not parse."""
    run = exported_run(copied / "1")
    air = run.load_model()
    rng = np.random.default_rng(0)
    air.set_weights([w + rng.normal(0, 0.05, w.shape) for w in air.get_weights()])
    air.save(run.model_file)
    (copied / "1" / WARM_UP).write_bytes(b"")
    (copied / "models.config").write_text("model_config { }")
    failed = {check.name for check in check_export(copied) if not check.passed}
    assert "Keras and serving_default: z_what" in failed
    assert "warm-up requests" in failed
    assert "models.config" in failed
    # The exported model itself and LiteRT's copy of Keras are as good as before.
    assert "Keras and LiteRT: z_what" not in failed
    assert "operations" not in failed


def test_half_a_version_is_not_passed_over(copied):
    (copied / "9").mkdir()
    with pytest.raises(InputError, match=r"9 holds no assets\.extra/run"):
        list(check_export(copied))


def test_another_export_was_faster(learnt_run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_versions_in", lambda base: [])
    export(learnt_run, tmp_path / "air")
    with pytest.raises(InputError, match="version 1 has come into export_dir"):
        export(learnt_run, tmp_path / "air")
    assert not list((tmp_path / "air").glob(".new-*"))


def test_what_a_killed_export_left_is_removed_later(learnt_run, copied):
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


@pytest.mark.parametrize(
    ("largest", "error", "passed"),
    [(0.5, 9e-4, True), (0.5, 2e-3, False), (10.0, 9e-3, True), (10.0, 2e-2, False)],
)
def test_rounding_is_held_against_the_largest_number(largest, error, passed):
    codes = np.array([[[largest]]], np.float32)
    wanted = types.SimpleNamespace(canvas=np.zeros((1, 16, 16, 1)), z_what=codes)
    (check,) = _compare("x", wanted, {"z_what": codes + error})
    assert check.passed == passed
