"""The trained models that come with the package: that they are there, and as good as
their cards say."""

import functools
import importlib
import os
import pathlib
import zipfile

import numpy as np
import pytest

import air_tf
from air_tf import pretrained
from air_tf.config import PRESETS, differing_settings
from air_tf.errors import InputError
from air_tf.files import as_read_from_json
from air_tf.model.saving import read_model
from air_tf.runs import RunDir
from air_tf.training.train import train
from studies import pretrain

_ROOT = pathlib.Path(__file__).parents[1]
_PICTURE = _ROOT / "examples" / "digits.png"
# Three batches, so that one trace is enough.
_NUM_SCENES = 192
# Of the figures, standard deviations of a share of so many scenes.
_DEVIATIONS = 4


@pytest.fixture(scope="module")
def load():
    """Loads a model once: what it infers with is traced once, too."""
    return functools.cache(air_tf.load_model)


def test_every_model_is_complete_and_small():
    folders = {path.name for path in pretrained.FOLDER.iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(pretrained.NAMES)
    for name in pretrained.NAMES:
        files = {file.name: file for file in (pretrained.FOLDER / name).iterdir()}
        assert set(files) == {"README.md", "config.json", "metrics.json", "model.keras"}
        assert sum(file.stat().st_size for file in files.values()) < 10**6


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_its_settings_are_those_of_its_preset(name):
    """Whoever changes a preset trains its model again: scripts/pretrain.py."""
    run = RunDir(f"pretrained:{name}")
    found = run.read_config()
    wanted = PRESETS[name].config.with_image_shape(found.model.image_shape)
    settings = (as_read_from_json(one.to_dict()) for one in (wanted, found))
    assert differing_settings(*settings) == []
    assert run.load_air().config == found.model


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_its_figures_hold(name, load, tmp_path):
    """On test scenes, composed here."""
    run = RunDir(f"pretrained:{name}")
    dataset, _, config = run.read_config().data.dataset.partition("/")
    builder = importlib.import_module(f"air_tf.data.{dataset}").Builder(
        data_dir=tmp_path, config=config or None
    )
    scenes = list(builder.composers()["test"](range(_NUM_SCENES)))
    air = load(f"pretrained:{name}")
    inferred = air.infer(np.stack([scene.image for scene in scenes]))
    accuracy = np.mean(inferred.num_objects == [len(scene.boxes) for scene in scenes])
    said = run.read_metrics_json()["count_accuracy"]
    deviation = np.sqrt(max(said * (1 - said), 1e-3) / _NUM_SCENES)
    assert abs(accuracy - said) < _DEVIATIONS * deviation


def test_large_and_small_digits_are_counted(pools, load):
    """A digit that fills most of the canvas is one, and so is one of 8 pixels."""
    from air_tf.data.pool_scenes import compose_scene
    from air_tf.data.scene_config import SceneConfig

    air = load("pretrained:digits_any_size")
    for size in (0.5, 2.0):
        config = SceneConfig(counts=(1,), enlarge=(size, size))
        images = [
            compose_scene(pools["test"], config, i, split=2).image for i in range(64)
        ]
        assert np.mean(air.infer(np.stack(images)).num_objects == 1) >= 0.95


def test_cards_and_the_page_of_models_say_the_figures():
    page = (_ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for name in pretrained.NAMES:
        run = RunDir(f"pretrained:{name}")
        accuracy = f"{run.read_metrics_json()['count_accuracy']:.2%}"
        assert accuracy in (run.path / "README.md").read_text(encoding="utf-8")
        (row,) = (one for one in page.splitlines() if f"| `pretrained:{name}`" in one)
        assert accuracy.replace("%", " %") in row


def test_a_name_is_never_taken_for_a_folder(tmp_path, monkeypatch):
    """Nor the other way round, whatever there is."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("default").mkdir()
    pathlib.Path("pretrained:default").mkdir()
    assert RunDir("pretrained:default").path == pretrained.FOLDER / "default"
    assert RunDir("default").path == pathlib.Path("default")
    folder = os.path.join(".", "pretrained:default")
    assert RunDir(folder).path == pathlib.Path(folder)
    with pytest.raises(InputError, match=r"default holds no config.*pretrained:"):
        air_tf.load_model("default")
    with pytest.raises(InputError, match=r"none holds no config.*pretrained:"):
        air_tf.load_model("none")


def test_models_are_listed():
    names = air_tf.list_pretrained()
    assert list(names) == [f"pretrained:{name}" for name in pretrained.NAMES]
    for wrong in ("pretrained:", "pretrained:digits", "pretrained:../pretrained"):
        with pytest.raises(InputError) as error:
            air_tf.load_model(wrong)
        assert error.value.field == "model_dir"
        assert all(name in str(error.value) for name in names)


def test_it_is_not_trained_further():
    files = sorted(pretrained.FOLDER.rglob("*"))
    with pytest.raises(InputError, match="trained already") as error:
        train(PRESETS["default"].config, "pretrained:default")
    assert error.value.field == "model_dir"
    with pytest.raises(InputError, match="is pretrained:new; expected"):
        train(PRESETS["default"].config, "pretrained:new")
    assert sorted(pretrained.FOLDER.rglob("*")) == files


def test_the_first_answer(programs, tmp_path):
    """Of the picture beside the examples, without a training and without a dataset."""
    result = programs.run(
        "predict", "--model_dir=pretrained:digits_any_size", _PICTURE, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert '"count": 2' in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "flags", "expected"),
    [
        (
            "predict",
            ["--model_dir=pretrained:digits", "a.png"],
            "--model_dir is pretrained:digits; expected pretrained:digits_any_size",
        ),
        (
            "train",
            ["--model_dir=pretrained:default"],
            "--model_dir is pretrained:default, which is trained already",
        ),
        ("pretrain", [], "--output_dir is missing"),
        ("pretrain", ["--output_dir=x", "--presets=mnist"], "--presets is 'mnist'"),
    ],
)
def test_what_can_not_be_done_is_said(programs, tmp_path, program, flags, expected):
    result = programs.run(program, *flags, cwd=tmp_path)
    assert result.returncode == 1
    assert expected in result.stderr and "Traceback" not in result.stderr


def test_weights_are_rounded():
    """To 3 bits with a sign: of the columns below, to quarters and to ones."""
    values = np.array([[0.9, 3.4], [0.3, -0.4], [-0.62, 1.6]], np.float32)
    wanted = [[1.0, 3.0], [0.25, 0.0], [-0.5, 2.0]]
    np.testing.assert_array_equal(pretrain.rounded(values, 3), wanted)
    np.testing.assert_array_equal(pretrain.rounded(values[:, 0], 3), values[:, 0])
    assert not pretrain.rounded(np.zeros([2, 2]), 3).any()


def test_a_stored_model_has_the_rounded_weights(small_config, tmp_path):
    air = air_tf.AIR(small_config)
    plain = [variable.numpy() for variable in air.variables]
    air.save(tmp_path / "plain.keras")
    pretrain.store(air, tmp_path / "small.keras", 8)
    found = read_model(tmp_path / "small.keras")
    for variable, before in zip(found.variables, plain, strict=True):
        after = variable.numpy()
        np.testing.assert_array_equal(after, pretrain.rounded(before, 8))
        largest = np.abs(before).max(initial=0.0)
        np.testing.assert_allclose(after, before, rtol=0, atol=largest / 2**7)
    sizes = [(tmp_path / f"{name}.keras").stat().st_size for name in ("small", "plain")]
    assert sizes[0] < 0.6 * sizes[1]
    with zipfile.ZipFile(tmp_path / "small.keras") as archive:
        assert archive.testzip() is None
