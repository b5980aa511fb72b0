import json

import numpy as np
import pytest

from air_tf.evaluation.evaluate import evaluate
from air_tf.evaluation.table import format_table
from air_tf.model.air import AIR
from air_tf.objectives.enumeration import enumeration
from air_tf.structs import ImageSet


@pytest.fixture
def air(small_config):
    return AIR(small_config)


@pytest.fixture
def image_set(images):
    boxes = np.zeros((5, 2, 4), np.float32)
    boxes[:, 0] = [0.1, 0.1, 0.6, 0.6]
    return ImageSet(images, np.array([0, 1, 2, 1, 1]), boxes)


def test_figures_agree_with_each_other(air, image_set):
    result = evaluate(air, image_set, batch_size=2)
    inferred = air.infer(image_set.images).num_objects
    assert result["num_images"] == 5
    assert result["count_accuracy"] == (inferred == image_set.counts).mean()
    confusion = np.array(result["count_confusion"])
    assert confusion.shape == (3, 4)
    np.testing.assert_array_equal(confusion.sum(1), [1, 3, 1])
    assert np.trace(confusion[:, :3]) / 5 == result["count_accuracy"]
    np.testing.assert_array_equal(
        result["num_objects_histogram"], np.bincount(inferred, minlength=4)
    )
    total = result["log_likelihood"] - sum(
        result[name] for name in ("kl_num_objects", "kl_where", "kl_what")
    )
    np.testing.assert_allclose(result["elbo"], total, rtol=1e-5)
    assert result["likelihood_scale"] == 0.3
    json.dumps(result, allow_nan=False)
    assert "count accuracy" in format_table(result)


def test_bound_is_that_of_the_objective(air, image_set):
    result = evaluate(air, image_set, seed=4)
    output = air(image_set.images, sample=True, seed=[4, 0])
    expected = enumeration(output, image_set.images, air.densities())
    np.testing.assert_allclose(result["elbo"], expected.elbo.numpy().mean(), rtol=1e-4)


def test_another_number_of_steps(air, image_set):
    result = evaluate(air, image_set, max_objects=5)
    assert len(result["num_objects_histogram"]) == 6
    assert result["max_objects"] == 5


def test_what_is_not_known_is_none(air, images):
    result = evaluate(air, ImageSet(images))
    for name in (
        "count_accuracy",
        "count_accuracy_sampled",
        "count_confusion",
        "mean_abs_count_error",
        "mean_iou",
        "ap_50",
        "ap_50_95",
        "expected_calibration_error",
    ):
        assert result[name] is None
    assert "unknown" in format_table(result)


def test_an_empty_canvas_is_the_yardstick(air, image_set):
    result = evaluate(air, image_set)
    expected = np.square(image_set.images).mean()
    np.testing.assert_allclose(result["empty_canvas_error"], expected, rtol=1e-5)
    canvas = air.reconstruct(image_set.images)
    expected = np.square(image_set.images - canvas).mean()
    np.testing.assert_allclose(result["reconstruction_error"], expected, rtol=1e-5)
