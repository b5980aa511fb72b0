import dataclasses
import json

import numpy as np
import pytest

from air_tf.errors import InputError
from air_tf.evaluation.evaluate import evaluate
from air_tf.evaluation.evaluation import Evaluation
from air_tf.evaluation.table import format_table, table_rows
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
    assert result.num_images == 5
    assert result.count_accuracy == (inferred == image_set.counts).mean()
    confusion = np.array(result.count_confusion)
    assert confusion.shape == (3, 4)
    np.testing.assert_array_equal(confusion.sum(1), [1, 3, 1])
    assert np.trace(confusion[:, :3]) / 5 == result.count_accuracy
    np.testing.assert_array_equal(
        result.num_objects_histogram, np.bincount(inferred, minlength=4)
    )
    total = result.log_likelihood - sum(
        getattr(result, name) for name in ("kl_num_objects", "kl_where", "kl_what")
    )
    np.testing.assert_allclose(result.elbo, total, rtol=1e-5)
    assert result.likelihood_scale == 0.3
    json.dumps(result.to_dict(), allow_nan=False)
    assert "count accuracy" in format_table(result)


def test_bound_is_that_of_the_objective(air, image_set):
    result = evaluate(air, image_set, seed=4)
    output = air(image_set.images, sample=True, seed=[4, 0])
    expected = enumeration(output, image_set.images, air.generative.densities())
    np.testing.assert_allclose(result.elbo, expected.elbo.numpy().mean(), rtol=1e-4)


def test_another_number_of_attend_steps(air, image_set):
    result = evaluate(air, image_set, max_objects=5)
    assert len(result.num_objects_histogram) == 6
    assert result.max_objects == 5


def test_unavailable_figures_are_none(air, images):
    result = evaluate(air, ImageSet(images))
    for name in (
        "count_accuracy",
        "count_accuracy_sampled",
        "count_confusion",
        "mean_abs_count_error",
        "count_confusion_sampled",
        "generated_count_distance",
        "mean_iou",
        "ap_50",
        "ap_50_95",
        "foreground_ari",
        "reliability",
        "expected_calibration_error",
    ):
        assert getattr(result, name) is None
    assert "unavailable" in format_table(result)


def test_errors_are_those_of_reconstruction_and_empty_canvas(air, image_set):
    result = evaluate(air, image_set)
    expected = np.square(image_set.images).mean()
    np.testing.assert_allclose(result.empty_canvas_error, expected, rtol=1e-5)
    canvas = air.reconstruct(image_set.images)
    expected = np.square(image_set.images - canvas).mean()
    np.testing.assert_allclose(result.reconstruction_error, expected, rtol=1e-5)


def test_figures_survive_json(air, image_set):
    result = evaluate(air, image_set, by_step=True)
    assert result.reliability
    assert Evaluation.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_figures_of_earlier_versions_are_read(air, image_set):
    found = evaluate(air, image_set).to_dict()
    found["max_steps_per_image"] = found.pop("max_objects")
    found["a_figure_that_is_no_more"] = 1.0
    for name in ("iwae", "warnings", "count_prior", "foreground_ari", "reliability"):
        del found[name]
    result = Evaluation.from_dict(found)
    assert result.max_objects == 3 and result.elbo == found["elbo"]
    assert result.count_prior == "training" and result.warnings == []
    assert result.foreground_ari is None and result.reliability is None
    del found["elbo"]
    with pytest.raises(InputError, match="the figures lack elbo"):
        Evaluation.from_dict(found)


def test_table_lists_what_is_available(air, image_set):
    result = dataclasses.replace(
        evaluate(air, image_set),
        elbo=-1.5,
        iwae=-1.25,
        num_samples=7,
        probe_accuracy=0.5,
        probe_accuracy_pixels=0.25,
        count_confusion=[[1, 0, 0, 0], [0, 2, 1, 0]],
        count_confusion_sampled=None,
    )
    lines = [" ".join(line.split()) for line in format_table(result).splitlines()]
    assert "IWAE bound, 7 samples (nats per image) -1.25" in lines
    assert "label accuracy of a linear probe 50.00%" in lines
    at = lines.index("true count | most probable 0 1 2 3")
    assert lines[at + 1 :] == ["0 1 0 0 0", "1 0 2 1 0"]
    names = [row.name for row in table_rows(evaluate(air, image_set))]
    assert not any("IWAE" in name or "probe" in name for name in names)
