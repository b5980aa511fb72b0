import numpy as np
import pytest

from air_tf.evaluation import metrics

_UNIT = np.array([[0.0, 0.0, 1.0, 1.0]])


def test_box_iou():
    boxes = np.array([[0, 0, 1, 1], [0, 0.5, 1, 1.5], [0, 0, 0.5, 0.5], [2, 2, 3, 3]])
    # Half of each shared: 0.5 / 1.5; a quarter inside: 0.25 / 1.
    np.testing.assert_allclose(metrics.box_iou(_UNIT, boxes), [[1, 1 / 3, 0.25, 0]])
    np.testing.assert_allclose(
        metrics.box_iou(np.zeros((1, 4)), np.zeros((1, 4))), [[0]]
    )


def test_calibration():
    # Two answers at 0.9, one of them correct; two at 0.6, both correct.
    error, bins = metrics.calibration(
        np.array([0.9, 0.6, 0.9, 0.6]), np.array([True, True, False, True]), num_bins=10
    )
    # Half of them overconfident by 0.4, half of them underconfident by 0.4.
    np.testing.assert_allclose(error, 0.5 * 0.4 + 0.5 * 0.4)
    assert [b.share for b in bins] == [0.5, 0.5]
    np.testing.assert_allclose([b.accuracy for b in bins], [1.0, 0.5])
    error, _ = metrics.calibration(np.ones(3), np.ones(3, bool))
    assert error == 0


def test_calibration_is_that_of_tfp_and_scikit_learn():
    import tensorflow_probability as tfp
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    logits = 2.0 * rng.normal(size=(2000, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 2000)
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = probs.argmax(axis=1)
    error, bins = metrics.calibration(probs.max(axis=1), answers == labels)
    expected = tfp.stats.expected_calibration_error(
        15, logits=logits, labels_true=labels, labels_predicted=answers
    )
    assert error > 0.1  # random labels
    np.testing.assert_allclose(error, expected, rtol=1e-5)
    accuracy, probability = calibration_curve(
        answers == labels, probs.max(axis=1), n_bins=15
    )
    np.testing.assert_allclose([b.accuracy for b in bins], accuracy, rtol=1e-6)
    np.testing.assert_allclose([b.probability for b in bins], probability, rtol=1e-6)
    np.testing.assert_allclose(sum(b.share for b in bins), 1.0)


def test_count_confusion():
    confusion = metrics.count_confusion(
        np.array([0, 2, 2, 1]), np.array([0, 2, 1, 3]), 3
    )
    np.testing.assert_array_equal(confusion, [[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]])
    # True counts above the largest that can be inferred.
    confusion = metrics.count_confusion(np.array([0, 4]), np.array([0, 1]), 1)
    np.testing.assert_array_equal(confusion, [[1, 0], [0, 0], [0, 0], [0, 0], [0, 1]])


def test_mean_iou_matches_one_to_one():
    # The first found box overlaps both; greedy in order would take it for the
    # first true one (0.8) and leave 0 for the second: 1 and 0.6 is the best.
    true = [np.array([[0, 0, 1, 1.0], [0, 0, 1, 0.6]])]
    found = [np.array([[0, 0, 1, 0.8], [0, 0, 1, 1.0]])]
    np.testing.assert_allclose(metrics.mean_iou(true, found), (1 + 0.75) / 2)
    # A missed box counts as 0; a superfluous one does not matter.
    np.testing.assert_allclose(metrics.mean_iou([true[0]], [np.zeros((0, 4))]), 0.0)
    np.testing.assert_allclose(
        metrics.mean_iou([_UNIT, np.zeros((0, 4))], [_UNIT, _UNIT]), 1.0
    )
    assert metrics.mean_iou([np.zeros((0, 4))], [_UNIT]) is None


@pytest.mark.parametrize(
    "correct, expected",
    [
        ([1, 1], 1.0),
        ([0, 0], 0.0),
        ([1, 0], 0.5),
        ([0, 1], 0.25),  # precision 1/2 at the first of two true boxes
        ([1, 0, 1], (1 + 2 / 3) / 2),
        ([0, 1, 1], 2 / 3),  # 1/2, then 2/3: the later one lifts the dip before
    ],
)
def test_average_precision(correct, expected):
    """Two true boxes, each found once or not at all, in order of confidence."""
    elsewhere = _UNIT + 5.0
    found = [_UNIT if hit else elsewhere for hit in correct]
    true = [_UNIT if hit else np.zeros((0, 4)) for hit in correct]
    missed = 2 - sum(correct)
    true += [_UNIT] * missed
    found += [np.zeros((0, 4))] * missed
    confidence = [np.full(len(boxes), 1 - 0.1 * i) for i, boxes in enumerate(found)]
    np.testing.assert_allclose(
        metrics.average_precisions(true, found, confidence, [0.5]), [expected]
    )


def test_a_second_detection_of_the_same_box_is_wrong():
    found, confidence = [np.repeat(_UNIT, 2, 0)], [np.array([0.9, 0.8])]
    two_true = [np.concatenate([_UNIT, _UNIT + 5.0])]
    np.testing.assert_allclose(
        metrics.average_precisions(two_true, found, confidence, [0.5]), [0.5]
    )


def test_average_precision_at_several_ious():
    """Boxes of half the size are correct at IoU 0.5 and not above."""
    half = _UNIT * [1.0, 1.0, 0.5, 1.0]
    np.testing.assert_allclose(
        metrics.average_precisions(
            [_UNIT, _UNIT],
            [_UNIT, half],
            [np.array([0.5]), np.array([0.9])],
            [0.4, 0.6],
        ),
        [1.0, 0.25],  # the wrong one has the higher confidence
    )


def test_average_precision_without_boxes():
    nothing = [np.zeros((0, 4))]
    assert metrics.average_precisions(nothing, [_UNIT], [np.ones(1)], [0.5]) is None
    assert metrics.average_precisions([_UNIT], nothing, [np.ones(0)], [0.5]) == 0.0


def test_foreground_ari_is_of_two_groupings_of_the_same_pixels():
    true = np.zeros((4, 4), int)
    true[0], true[2] = 1, 2
    swapped = np.where(true == 1, 2, np.where(true == 2, 1, 0))
    assert metrics.foreground_ari(true, swapped) == 1.0
    # The background does not matter.
    assert metrics.foreground_ari(true, np.where(true == 0, 3, true)) == 1.0
    assert metrics.foreground_ari(true, np.ones((4, 4), int)) == 0.0
    # One pixel of eight in the wrong group: by the formula of Hubert and Arabie,
    # pairs together in both 3 + 6, in truth 6 + 6, as found 3 + 10, of 28.
    wrong = true.copy()
    wrong[0, 0] = 2
    expected = (9 - 12 * 13 / 28) / ((12 + 13) / 2 - 12 * 13 / 28)
    np.testing.assert_allclose(metrics.foreground_ari(true, wrong), expected)


def test_foreground_ari_needs_two_objects():
    assert metrics.foreground_ari(np.zeros((4, 4), int), np.ones((4, 4), int)) is None
    assert metrics.foreground_ari(np.eye(4, dtype=int), np.ones((4, 4), int)) is None


def test_the_share_of_objects_that_the_ground_draws():
    """A pixel of 0.9 on a ground of 0.1: the ground behind it is 0.1, 0.5 or 0.9."""
    image = np.full((1, 1, 4, 1), 0.1)
    image[0, 0, 1] = 0.9
    covered = np.array([[[False, True, False, False]]])
    for behind, expected in ((0.1, 0.0), (0.5, 0.5), (0.9, 1.0)):
        ground = np.full_like(image, 0.1)
        ground[0, 0, 1] = behind
        drawn, contrast = metrics.ground_share(image, ground, covered)
        assert drawn / contrast == pytest.approx(expected)
    # Without objects, there is nothing to draw.
    assert metrics.ground_share(image, image, np.zeros_like(covered)) == (0.0, 0.0)
