"""Counts of objects of other sizes than those of the training, and of drawings."""

import numpy as np
import pytest
from scipy import ndimage

from air_tf.errors import InputError
from air_tf.runs import RunDir
from benchmarks import pen_digits, sizes


def test_counts_by_size(monkeypatch):
    """A model of one size loses digits of twice the size."""
    monkeypatch.setattr(sizes, "_SIZES", (1.0, 2.0))
    monkeypatch.setattr(sizes, "_HEIGHTS", (12, 30))
    monkeypatch.setattr(sizes, "_NUM_SCENES", 64)
    result = sizes.benchmark_sizes(RunDir("pretrained:default"))
    usual, large = result["sizes"].values()
    assert usual["count_accuracy"] >= 0.95 > 0.8 > large["count_accuracy"]
    assert list(large["by_count"]) == [0, 1, 2] and large["by_count"][0] == 1.0
    assert large["height"] == pytest.approx(2 * usual["height"], rel=0.15)
    small_drawn, large_drawn = result["drawn"].values()
    assert small_drawn["count_accuracy"] > 0.8 > large_drawn["count_accuracy"]
    assert list(large_drawn["by_count"]) == [0, 1, 2]
    # Shown smaller, a large drawing is counted as a small one is.
    small_shown, large_shown = result["shown"].values()
    assert small_shown == small_drawn
    assert large_shown["count_accuracy"] > large_drawn["count_accuracy"] + 0.3
    text = sizes.format_sizes(result)
    assert "# default, 64 scenes" in text
    for one in (usual, large, small_drawn, large_drawn, large_shown):
        assert f"| {one['count_accuracy']:.1%}" in text


@pytest.mark.parametrize("height", [9, 20, 35])
def test_drawn_digits_have_their_height_and_do_not_overlap(height):
    images, counts = pen_digits.pen_scenes(height, 60, (50, 50))
    assert images.shape == (60, 50, 50, 1) and images.dtype == np.uint8
    assert set(counts) == {0, 1, 2}
    for image, count in zip(images[..., 0], counts, strict=True):
        rows = np.flatnonzero(image.any(axis=1))
        if count == 0:
            assert not len(rows)
        elif count == 1:
            assert abs(rows[-1] + 1 - rows[0] - height) <= 1
            # Of at most two strokes, such as those of 4.
            assert 1 <= ndimage.label(image, np.ones([3, 3]))[1] <= 2
    # The widest brush is a quarter of the height, the thinnest one pixel.
    width = [image.sum() / 255 / height for image in images[counts == 1]]
    assert min(width) > 0.8 and max(width) < height


def test_large_strokes_are_drawn_smaller_around_the_middle():
    points = np.array([[0.0, 10.0], [20.0, 50.0]])
    strokes = [pen_digits.Stroke(points, 4.0), pen_digits.Stroke(points / 2, 2.0)]
    assert pen_digits.shrunk(strokes, (60, 40), 44.0) == strokes
    half = pen_digits.shrunk(strokes, (60, 40), 22.0)
    np.testing.assert_allclose(half[0].points, [[10.0, 20.0], [20.0, 40.0]])
    np.testing.assert_allclose(half[1].points, [[10.0, 17.5], [15.0, 27.5]])
    assert [stroke.width for stroke in half] == [2.0, 1.0]
    assert pen_digits.shrunk([], (60, 40), 20.0) == []


def test_a_digit_is_another_each_time():
    rng = np.random.default_rng(0)
    digits = [pen_digits.pen_digit(20, rng) for _ in range(50)]
    inks = {pen_digits.brushed(strokes, shape).tobytes() for strokes, shape in digits}
    assert len(inks) == 50


def test_a_brush_is_that_of_the_page():
    """A vertical stroke with a width of 3 around x = 10.

    Passes are 4.2, 3 and 2 pixels wide and cover 0.29, 0.58 and 0.9 of what is below.
    Half a pixel from the middle, all do: 1 - 0.71 x 0.42 x 0.1 = 0.970. At 1.5 pixels,
    the last one is over and the second covers half: 1 - 0.71 x (1 - 0.29) = 0.496. At
    2.5 pixels, a tenth of the first is left: 0.029.
    """
    points = np.stack([np.full(200, 10.0), np.linspace(0.0, 20.0, 200)], axis=1)
    line = pen_digits.Stroke(points, 3.0)
    row = pen_digits.brushed([line], (20, 20))[10, 10:14] / 255
    np.testing.assert_allclose(row, [0.970, 0.496, 0.029, 0.0], atol=0.003)
    # A second stroke covers what the first one left.
    again = pen_digits.brushed([line, line], (20, 20))[10, 11] / 255
    np.testing.assert_allclose(again, 1 - (1 - 0.496) ** 2, atol=0.003)


@pytest.mark.parametrize("dataset", ["sprites", "file"])
def test_other_scenes_are_refused(dataset):
    with pytest.raises(InputError, match=f"is a run on {dataset}; expected"):
        sizes._builder(dataset, "", None)
