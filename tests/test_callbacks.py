import types

import numpy as np
import pytest
import tensorflow as tf

from air_tf.errors import TrainingDiverged
from air_tf.model.air import AIR
from air_tf.structs import ImageSet
from air_tf.training import callbacks


def _model(step):
    return types.SimpleNamespace(
        optimizer=types.SimpleNamespace(iterations=tf.constant(step))
    )


def test_progress_bar_shows_what_fits_a_line(capsys, monkeypatch):
    """Steps 10 to 40 of 100 took 15 seconds: 30 are left."""
    clock = iter([100.0, 115.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    bar = callbacks.ProgressBar(100)
    bar.set_params({"verbose": 2, "epochs": 1, "steps": 1})
    bar.set_model(_model(10))
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    bar.set_model(_model(40))
    logs = {"elbo": 1.5, "kl_what": 3.0, "mean_count": 1.0, "val_count_accuracy": 0.75}
    bar.on_train_batch_end(0, logs)
    bar.on_epoch_end(0, logs)
    shown = capsys.readouterr().out
    for text in ("elbo: 1.5", "mean_count: 1.0", "val_count_accuracy: 0.75"):
        assert text in shown
    assert "seconds_left: 30.0" in shown
    assert "kl_what" not in shown


def test_images_that_are_shown_are_not_empty():
    """Of 64 images, 40 are empty; the 8 shown are spread over the 32 that vary most."""
    images = np.zeros((100, 4, 4, 1), np.uint8)
    images[40:64, 0] = np.arange(1, 25)[:, np.newaxis, np.newaxis]
    images[64:] = 255
    shown = callbacks.HeldOut(ImageSet(images)).images[:, 0, 0, 0]
    np.testing.assert_array_equal(shown, [0, 0, 2, 6, 11, 15, 20, 24])


def test_looks_at_held_out_images_trace_inference_once(small_config):
    air = AIR(small_config)
    count = type(air)._compiled_scenes.experimental_get_tracing_count
    held_out = callbacks.HeldOut(ImageSet(np.zeros((9, *small_config.image_shape))))
    held_out.set_model(
        types.SimpleNamespace(
            air=air, optimizer=types.SimpleNamespace(iterations=tf.constant(10))
        )
    )
    held_out.on_train_begin()
    before, logs = count(), {}
    held_out.on_epoch_end(0, logs)
    assert count() == before
    assert np.isfinite(logs["val_elbo"])


def test_speed_counts_steps(monkeypatch):
    clock = iter([100.0, 102.0])
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    speed, logs = callbacks.Speed(), {}
    speed.set_model(_model(10))
    speed.on_epoch_begin(0)
    speed.set_model(_model(60))
    speed.on_epoch_end(0, logs)
    assert logs == {"steps_per_second": 25.0}


@pytest.mark.parametrize("name", ["elbo", "gradient_norm"])
def test_nan_stops(name):
    stop = callbacks.StopOnNaN()
    stop.set_model(_model(7))
    good = {"elbo": 1.0, "gradient_norm": 1.0}
    stop.on_train_batch_end(0, good)
    with pytest.raises(TrainingDiverged, match="step 7"):
        stop.on_train_batch_end(0, good | {name: float("nan")})
