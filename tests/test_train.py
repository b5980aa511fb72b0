"""Runs of the main job with a small model, through to their files."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
from PIL import Image

from air_tf.config import (
    DataConfig,
    NVILConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.errors import InputError, TrainingDiverged
from air_tf.evaluation.evaluate_run import evaluate_run
from air_tf.runs import RunDir
from air_tf.training import callbacks
from air_tf.training.train import train

_TRAINING = TrainingConfig(
    steps=14, batch_size=8, steps_per_evaluation=4, jit_compile=False
)


@pytest.fixture(scope="module")
def config(plain_config, data_file):
    return RunConfig(
        # Each attend step takes XLA its time.
        model=dataclasses.replace(plain_config, max_objects=2),
        data=DataConfig(dataset="file", data_file=str(data_file)),
        training=_TRAINING,
    )


@pytest.fixture(scope="module")
def compiled(config, small_config):
    """The config as the default is: with XLA, and with proposals."""
    model = dataclasses.replace(config.model, inference=small_config.inference)
    config = dataclasses.replace(config, model=model)
    return config.with_training(jit_compile=True)


@pytest.fixture(scope="module")
def finished(compiled, tmp_path_factory):
    """The folder of a run that has trained to its end, and what `train` returned."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, train(compiled, folder)


def _weights(run):
    return RunDir(run).load_model().get_weights()


def test_a_run_leaves_what_it_promises(compiled, finished):
    folder, result = finished
    run = RunDir(folder)
    written = json.loads(run.config_file.read_text())
    assert run.read_config().to_dict() == compiled.to_dict()
    assert written["training"]["seed"] == 0
    assert {"python", "tensorflow", "keras"} <= set(written["versions"])
    assert run.read_metrics_json() == result.to_dict()
    assert result.num_images == 4 and result.split == "test"
    for picture in (
        run.reconstructions,
        run.training_curve,
        run.samples,
        run.film_strip,
    ):
        with Image.open(picture) as image:
            assert min(image.size) > 100
    # Before training, and at every evaluation.
    with Image.open(run.film) as film:
        assert film.n_frames == 5
    assert not run.frames.exists()
    assert run.best.exists() and run.latest.exists()
    assert list(run.logs.glob("events.*"))
    with open(run.metrics_csv) as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [4, 8, 12, 14]
    assert all(float(row["steps_per_second"]) > 0 for row in rows)
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds) and seconds[-1] == result.training_seconds
    # The model is the best by held-out ELBO.
    again = evaluate_run(run, {}, split="test")
    assert again.elbo == result.elbo


# As the default is: what XLA compiles again must compute the same. And with a baseline,
# which has weights, moments and an optimizer of its own.
@pytest.mark.parametrize("objective", ["enumeration", "nvil"])
def test_an_interrupted_run_ends_with_the_same_weights(
    objective, config, compiled, finished, tmp_path, monkeypatch
):
    if objective == "enumeration":
        config, whole = compiled, finished[0]
    else:
        config, whole = config.with_training(objective=NVILConfig()), tmp_path / "whole"
        train(config, whole)

    class Interrupt(callbacks.StopOnNaN):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations.numpy()) == 10:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "StopOnNaN", Interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "parts")
    assert not (tmp_path / "parts" / "metrics.json").exists()
    keras.utils.set_random_seed(99)  # another process starts elsewhere
    train(config, tmp_path / "parts")
    folders = whole, tmp_path / "parts"
    films = [folder / "learning.gif" for folder in folders]
    assert films[0].read_bytes() == films[1].read_bytes()

    for one, other in zip(*map(_weights, folders), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = [RunDir(folder).read_metrics_csv() for folder in folders]
    for one, other in zip(*rows, strict=True):
        assert one["step"] == other["step"] and one["val_elbo"] == other["val_elbo"]


def test_a_folder_of_colour_pictures(plain_config, eagerly, tmp_path):
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    config = RunConfig(
        model=dataclasses.replace(plain_config, image_shape=(12, 18, 3)),
        data=DataConfig(dataset="folder", image_dir=str(tmp_path / "pictures")),
        training=dataclasses.replace(_TRAINING, steps=4),
    )
    result = train(config, tmp_path / "run")
    assert result.num_images == 1
    assert result.count_accuracy is None
    assert RunDir(tmp_path / "run").load_model().config.image_shape == (12, 18, 3)


def test_more_objects_than_steps_are_warned_of(config, eagerly, tmp_path, caplog):
    model = dataclasses.replace(config.model, max_objects=1)
    training = dataclasses.replace(config.training, steps=1)
    config = dataclasses.replace(config, model=model, training=training)
    train(config, tmp_path / "run")
    assert "hold up to 2 objects, but `max_objects` is 1" in caplog.text


def test_a_finished_run_is_left_alone(compiled, finished, caplog):
    folder, result = finished
    before = (folder / "model.keras").stat().st_mtime_ns
    with caplog.at_level("INFO", logger="absl"):
        assert train(compiled, folder) == result
    assert "trained to its end" in caplog.text
    assert (folder / "model.keras").stat().st_mtime_ns == before


def test_a_run_of_another_config_is_refused(config, tmp_path, data_file):
    RunDir(tmp_path / "run").open(config, "abc", 1000)
    other = dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, learning_rate=0.5, steps=3),
    )
    with pytest.raises(InputError) as error:
        RunDir(tmp_path / "run").open(other, "abc", 1000)
    for text in ("learning_rate (there 0.0015, here 0.5)", "steps (there 14, here 3)"):
        assert text in str(error.value)
    with pytest.raises(InputError, match="differs in the images themselves"):
        RunDir(tmp_path / "run").open(config, "def", 1000)
    # Where the images lie is no difference.
    moved = dataclasses.replace(
        config, data=DataConfig(dataset="file", data_file="elsewhere.npz")
    )
    RunDir(tmp_path / "run").open(moved, "abc", 1000)


def test_folders_that_can_not_hold_a_run(config, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty and holds no config"):
        RunDir(tmp_path / "other").open(config, None, 1000)
    (tmp_path / "a_file").write_text("")
    with pytest.raises(InputError, match="a_file"):
        RunDir(tmp_path / "a_file").open(config, None, 1000)
    with pytest.raises(InputError, match="can't be written to"):
        RunDir("/proc/run").open(config, None, 1000)
    with pytest.raises(InputError, match="MiB free; a run needs"):
        RunDir(tmp_path / "huge").open(config, None, 2**50)
    assert not (tmp_path / "huge" / "config.json").exists()
    # Once there is room, the folder that was refused will do.
    RunDir(tmp_path / "huge").open(config, None, 1000)


def test_batches_larger_than_the_data_are_refused(config, tmp_path):
    training = dataclasses.replace(config.training, batch_size=33)
    with pytest.raises(InputError, match="batch_size is 33; expected at most 32"):
        train(dataclasses.replace(config, training=training), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nan_stops_and_keeps_the_last_good_checkpoint(config, tmp_path, monkeypatch):
    class PoisonAfterSaving(callbacks.Checkpoints):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            if epoch == 1:
                decoder = self.model.air.generative.decoder.trainable_variables[0]
                decoder.assign(decoder * np.nan)

    monkeypatch.setattr(callbacks, "Checkpoints", PoisonAfterSaving)
    with pytest.raises(TrainingDiverged, match=r"by step 10: .*last good checkpoint"):
        train(config, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    assert [row["step"] for row in run.read_metrics_csv()] == [4, 8]
    with pytest.raises(InputError, match="training has not ended"):
        run.load_model()
    monkeypatch.undo()
    train(config, tmp_path / "run")  # from the good checkpoint on
    assert np.isfinite(np.concatenate([w.ravel() for w in _weights(run.path)])).all()


def test_other_images_are_held_out_as_a_whole(finished, tmp_path, data_file):
    run = RunDir(finished[0])
    copy = tmp_path / "copy.npz"
    copy.write_bytes(data_file.read_bytes())
    own = evaluate_run(run, {"dataset": "file", "data_file": str(copy)}, split="test")
    assert (own.num_images, own.split) == (4, "test")
    np.savez(tmp_path / "y.npz", image=np.zeros((7, 16, 16)))
    other = {"dataset": "file", "data_file": str(tmp_path / "y.npz")}
    result = evaluate_run(run, other, split="test")
    assert (result.num_images, result.split) == (7, "all")
    with pytest.raises(InputError, match="split is 'train', but the run was not"):
        evaluate_run(run, other, split="train")
    np.savez(tmp_path / "z.npz", image=np.zeros((7, 16, 18)))
    other["data_file"] = str(tmp_path / "z.npz")
    with pytest.raises(InputError, match=r"are 16x18x1; .* expects 16x16x1"):
        evaluate_run(run, other, split="test")


def test_broken_runs_are_refused(config, tmp_path):
    with pytest.raises(InputError, match=r"holds no config\.json"):
        RunDir(tmp_path / "none").load_model()
    RunDir(tmp_path / "run").open(config, None, 1000)
    with pytest.raises(InputError, match=r"holds no model\.keras"):
        RunDir(tmp_path / "run").load_model()
    (tmp_path / "run" / "model.keras").write_bytes(b"half a mod")
    with pytest.raises(InputError, match=r"model\.keras can't be read"):
        RunDir(tmp_path / "run").load_model()
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json can't be read"):
        RunDir(tmp_path / "run").load_model()
