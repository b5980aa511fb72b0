"""TensorFlow warns of functions that it often traces anew: none of ours may be."""

import logging
import threading

import numpy as np
import pytest
import tensorflow as tf

from air_tf.evaluation.bounds import iwae_bound
from air_tf.evaluation.evaluate import evaluate
from air_tf.model import tracing
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.tracing import any_number, in_batches, trace_once
from air_tf.structs import ImageSet
from air_tf.training.fit_priors import fit_priors

_RETRACING = "triggered tf.function retracing"


@pytest.fixture(autouse=True)
def _heard(caplog, monkeypatch):
    """What TensorFlow logs, whatever programs that ran in this process have set."""
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="tensorflow")


def test_that_tensorflow_would_warn(caplog):
    """Or else the tests below prove nothing."""
    double = tf.function(lambda x: 2 * x)
    for size in range(1, 8):
        double(tf.zeros([size, 2]))
    assert _RETRACING in caplog.text
    caplog.clear()
    again = tf.function(lambda x: 2 * x)
    trace_once(again, any_number(np.zeros([1, 2])))
    for size in range(1, 8):
        assert again(tf.ones([size, 2])).shape == (size, 2)
    assert again.experimental_get_tracing_count() == 1
    assert not caplog.records


def test_many_models_in_one_process(small_config, caplog):
    """As `ObjectCounter.fit` makes them, one after the other; batches differ in size.

    Numbers are those of the batch itself: images of one batch and of several have the
    same mean bound.
    """
    images = np.random.default_rng(0).random((7, 16, 16, 1), np.float32)
    for _ in range(5):
        air = AIR(small_config)
        fit_priors(air, images[:1], min_scale=1e-3)
    for size in (1, 2, 3, 4, 7):
        air.infer(images, batch_size=size)
    assert air._compiled_scenes.experimental_get_tracing_count() == 1
    of_one, of_several = (
        evaluate(air, ImageSet(images), batch_size=size).reconstruction_error
        for size in (7, 3)
    )
    assert of_one == pytest.approx(of_several, rel=1e-5)
    bounds = [iwae_bound(air, images, num_samples=2, batch_size=n) for n in (7, 5)]
    assert np.isfinite(bounds).all()
    assert _RETRACING not in caplog.text


def test_drawings_of_any_number_of_tables(table_config, table_scenes, caplog):
    air = AIR3D.of_table(table_config)
    found = air.infer(table_scenes(table_config, 7).images)
    canvas = air.draw(found)
    for size in (1, 2, 3, 4, 5, 6):
        np.testing.assert_allclose(air.draw(found, size), canvas, atol=1e-5)
    assert air._compiled_render.experimental_get_tracing_count() == 1
    assert _RETRACING not in caplog.text


@pytest.mark.parametrize(
    "intra, inter, number", [(1, 2, 2), (1, 8, 2), (1, 1, 1), (0, 2, 1), (2, 2, 1)]
)
def test_batches_go_side_by_side_where_an_operation_has_one_core(
    monkeypatch, intra, inter, number
):
    """Two at once, if there are threads for them; in their order."""
    options = tf.config.threading
    monkeypatch.setattr(options, "get_intra_op_parallelism_threads", lambda: intra)
    monkeypatch.setattr(options, "get_inter_op_parallelism_threads", lambda: inter)
    together, threads = threading.Barrier(number), set()

    def double(part):
        threads.add(threading.get_ident())
        together.wait(timeout=20.0)  # raises unless `number` calls run at once
        return 2 * part

    assert tracing._side_by_side(double, range(6)) == [0, 2, 4, 6, 8, 10]
    assert len(threads) == number
    assert (threading.get_ident() in threads) == (number == 1)


def test_images_keep_their_order_where_batches_go_side_by_side(monkeypatch):
    options = tf.config.threading
    monkeypatch.setattr(options, "get_intra_op_parallelism_threads", lambda: 1)
    monkeypatch.setattr(options, "get_inter_op_parallelism_threads", lambda: 2)
    double = tf.function(lambda images: 2.0 * images, reduce_retracing=True)
    images = np.linspace(0.0, 1.0, 23, dtype=np.float32)[:, np.newaxis]
    np.testing.assert_array_equal(in_batches(double, images, 4), 2.0 * images)
