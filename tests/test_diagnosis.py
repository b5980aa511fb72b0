import dataclasses

import pytest

from air_tf.evaluation.diagnosis import diagnose
from air_tf.evaluation.evaluation import Evaluation

_HEALTHY = Evaluation(
    num_images=9,
    max_objects=3,
    num_objects_histogram=[3, 3, 3, 0],
    mean_num_objects=1.0,
    elbo=-1.0,
    log_likelihood=-1.0,
    kl_num_objects=0.0,
    kl_where=0.0,
    kl_what=0.0,
    likelihood_scale=0.3,
    reconstruction_error=0.01,
    empty_canvas_error=0.1,
)


def _diagnose(**changes):
    return diagnose(dataclasses.replace(_HEALTHY, **changes))


def test_a_healthy_model_gives_no_warning():
    assert _diagnose() == []
    assert _diagnose(reconstruction_error=0.1) == []  # nothing drawn


@pytest.mark.parametrize(
    "change, words, settings",
    [
        (
            {"num_objects_histogram": [9, 0, 0, 0]},
            "Every image is counted 0",
            ["`count_decay`", "`likelihood_scale`", "`seed`"],
        ),
        (
            {"num_objects_histogram": [0, 0, 0, 9]},
            "Every image is counted 3, the maximum",
            ["`max_objects`", "`count_decay`", "`learning_rate`"],
        ),
        (
            {"reconstruction_error": 0.3},
            "worse than an empty canvas",
            ["`learning_rate`", "`steps`"],
        ),
        (
            {"num_objects_histogram": [9, 0, 0, 0], "background": "learned"},
            "If the ground alone explains the pictures",
            ["`ground_waves`", "`background`"],
        ),
        (
            {"background": "learned", "ground_share": 0.7},
            "The ground draws 70% of the objects' contrast",
            ["`ground_tolerance`", "`ground_waves`", "`background`"],
        ),
        (
            {"background": "constant", "object_coverage": 0.9},
            "Objects cover 90% of the pictures",
            ["`count_decay`", "`background`", "`seed`"],
        ),
    ],
)
def test_collapses(change, words, settings):
    (warning,) = _diagnose(**change)
    assert words in warning
    assert "try" in warning.lower()
    for setting in settings:
        assert setting in warning


def test_a_true_count_that_is_counted_as_another():
    confusion = [[30, 0, 0, 0], [0, 29, 1, 0], [0, 0, 0, 0], [0, 4, 26, 9]]
    (warning,) = _diagnose(count_confusion=confusion)
    assert (
        "Of the images with 3 objects, 23% are counted correctly; most are counted 2"
    ) in warning
    few = [[9, 0, 0, 0], [0, 0, 9, 0], [0, 0, 9, 0], [0, 0, 9, 0]]
    assert _diagnose(count_confusion=few) == []


def test_three_objects_in_every_image_are_no_collapse():
    known = [[0, 0, 0, 0]] * 3 + [[0, 0, 0, 9]]
    assert _diagnose(num_objects_histogram=[0, 0, 0, 9], count_confusion=known) == []
