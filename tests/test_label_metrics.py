"""Metrics of label images: hand-made pictures and closed forms."""

import numpy as np
import pytest

from air_tf.evaluation.label_metrics import (
    Detections,
    count_errors,
    label_boxes,
    mask_iou,
    match,
    score_labels,
    touching_neighbours,
)


def _rectangles(*boxes, size=(20, 30)):
    """A label image with the numbers 1, 2, ... in boxes (ymin, xmin, ymax, xmax)."""
    labels = np.zeros(size, np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = number
    return labels


def test_boxes_are_half_open_and_numbers_need_not_be_consecutive():
    labels = _rectangles((2, 3, 5, 9), (10, 0, 11, 1))
    np.testing.assert_array_equal(label_boxes(labels), [[2, 3, 5, 9], [10, 0, 11, 1]])
    # 7 and 40 instead of 1 and 2.
    labels = np.array([0, 7, 40], np.uint8)[labels]
    np.testing.assert_array_equal(label_boxes(labels), [[2, 3, 5, 9], [10, 0, 11, 1]])
    assert label_boxes(np.zeros((4, 4), int)).shape == (0, 4)


def test_mask_iou_of_rectangles():
    """4 x 6 and 4 x 4 pixels share 4 x 2; the sum of areas is 40, the union 32."""
    true = _rectangles((0, 0, 4, 6), (10, 10, 12, 12))
    found = _rectangles((0, 4, 4, 8), (10, 10, 12, 12), (15, 0, 16, 1))
    np.testing.assert_allclose(
        mask_iou(true, found), [[8 / 32, 0, 0], [0, 1, 0]], rtol=1e-12
    )
    assert mask_iou(true, np.zeros_like(true)).shape == (2, 0)
    # Two objects that leave no ground.
    full = np.repeat([[1, 2]], 2, axis=0)
    np.testing.assert_array_equal(mask_iou(full, full), np.eye(2))


def test_matches_are_as_many_as_possible():
    """Taking the best pair first (0.9) would leave the other object without one."""
    iou = np.array([[0.9, 0.6], [0.55, 0.2]])
    np.testing.assert_array_equal(match(iou), [1, 0])
    # With one pair either way, the larger IoU is chosen.
    np.testing.assert_array_equal(match(np.array([[0.6, 0.8]])), [1])
    # 0.5 is enough, 0.49 is not.
    np.testing.assert_array_equal(match(np.array([[0.5], [0.49]])), [0, -1])
    np.testing.assert_array_equal(match(np.zeros((2, 0))), [-1, -1])


@pytest.mark.parametrize(
    "gap, dilation, touch",
    [(0, 1, True), (1, 1, True), (2, 1, False), (3, 2, True), (4, 2, False)],
)
def test_objects_touch_if_dilated_masks_meet(gap, dilation, touch):
    """Masks that grow by d from both sides meet if less than 2 d pixels lie between."""
    for labels in (
        _rectangles((5, 0, 9, 4), (5, 4 + gap, 9, 8 + gap)),
        # Diagonal neighbours, on either diagonal.
        _rectangles((5, 0, 9, 4), (9 + gap, 4 + gap, 12 + gap, 8 + gap)),
        _rectangles((5, 10, 9, 14), (9 + gap, 2, 12 + gap, 10 - gap)),
    ):
        found = touching_neighbours(labels, dilation=dilation)
        np.testing.assert_array_equal(found, [touch, touch])


def test_touching_neighbours_are_counted_once():
    """A long object touches three others, of which two touch each other."""
    labels = _rectangles(
        (0, 0, 2, 20), (2, 0, 6, 5), (3, 6, 6, 9), (3, 15, 6, 18), (15, 0, 18, 3)
    )
    np.testing.assert_array_equal(touching_neighbours(labels), [3, 2, 2, 1, 0])
    assert touching_neighbours(np.zeros((3, 3), int)).shape == (0,)


def test_detections():
    score = Detections(true=3, found=3, matched=2) + Detections(true=1, found=2)
    assert score == Detections(4, 5, 2)
    assert (score.precision, score.recall) == (2 / 5, 2 / 4)
    p, r = score.precision, score.recall
    assert score.f1 == pytest.approx(2 * p * r / (p + r))
    nothing = Detections()
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, None, None)
    assert Detections(true=0, found=3).f1 == 0


def test_score_of_two_touching_objects_found_as_one():
    """One box of 4 x 8 covers two of 4 x 4: IoU 1/2 with each, one of them matches.

    A third object is alone. Its box is right, but of its mask only the frame of an
    8 x 8 square is found, 28 of 64 pixels: less than half.
    """
    true = _rectangles((0, 0, 4, 4), (0, 4, 4, 8), (10, 10, 18, 18))
    found = _rectangles((0, 0, 4, 8), (10, 10, 18, 18))
    found[11:17, 11:17] = 0
    score = score_labels(true, found)
    assert score.boxes == Detections(true=3, found=2, matched=2)
    assert score.masks == Detections(true=3, found=2, matched=1)
    np.testing.assert_array_equal(
        score.by_neighbours, [[1, 1, 0], [2, 1, 1], [0, 0, 0], [0, 0, 0]]
    )
    both = score.plus(score_labels(true, true))
    assert both.masks == Detections(true=6, found=5, matched=4)
    np.testing.assert_array_equal(both.by_neighbours[:2], [[2, 2, 1], [4, 3, 3]])


def test_score_of_an_empty_picture():
    ground = np.zeros((5, 5), int)
    assert score_labels(ground, ground).boxes == Detections()
    assert score_labels(ground, np.eye(5, dtype=int)).masks == Detections(found=1)


def test_score_does_not_depend_on_numbers():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 6, (12, 12))
    found = np.where(rng.random((12, 12)) < 0.8, true, 0)
    other = np.array([0, 9, 3, 77, 1, 4])
    one, two = score_labels(true, found), score_labels(other[true], other[found])
    assert (one.boxes, one.masks) == (two.boxes, two.masks)
    np.testing.assert_array_equal(one.by_neighbours, two.by_neighbours)


def test_count_errors():
    """Errors of +2, 0 and -1 on 5, 0 and 4 objects."""
    errors = count_errors(np.array([5, 0, 4]), np.array([7, 0, 3]))
    assert errors.mean_absolute == pytest.approx(1)
    assert errors.relative == pytest.approx(3 / 9)
    assert errors.bias == pytest.approx(1 / 3)
    assert errors.exact == pytest.approx(1 / 3)
    # Unsigned counts don't wrap, and without objects no error is relative.
    none = count_errors(np.zeros(2, np.uint8), np.array([1, 0], np.uint8))
    assert none == (0.5, None, 0.5, 0.5)
