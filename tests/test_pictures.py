"""Figures of results: where they show what."""

import numpy as np
from PIL import Image

from air_tf.structs import Explanation
from air_tf.visualization import pictures


def test_images_are_above_their_reconstructions():
    """Three images in two columns, of 2 x 3 pixels, each of them drawn 4 x 4 large."""
    images = np.arange(18, dtype=np.uint8).reshape(3, 2, 3, 1) * 10
    canvas = 1.0 - images / 255.0
    found = Explanation(np.array([0, 0, 1]), np.zeros((3, 1, 4)), canvas)
    found.boxes[2] = (0.0, 0.0, 1.0, 1.0)
    figure = pictures.reconstructions(images, found, np.array([0, 2, 1]), columns=2)
    (axis,) = figure.axes
    (shown,) = axis.get_images()
    sheet = shown.get_array()
    # A gap of 12 // 4 pixels, above each row and between the columns.
    assert sheet.shape == (4 * (8 + 3), 2 * 12 + 3, 3)

    def pixels(row, column):
        top, left = row * 11 + 3, column * 15
        return sheet[top : top + 8 : 4, left : left + 12 : 4, 0]

    np.testing.assert_array_equal(pixels(0, 0), images[0, ..., 0])
    np.testing.assert_array_equal(pixels(0, 1), images[1, ..., 0])
    np.testing.assert_array_equal(pixels(1, 1), 255 - images[1, ..., 0])
    np.testing.assert_array_equal(pixels(3, 0), 255 - images[2, ..., 0])
    np.testing.assert_array_equal(pixels(3, 1), 255)  # there is no fourth image
    # The box is red, of the first attend step.
    assert sheet[25, 0].tolist() == [0xE6, 0x19, 0x4B]
    # The second is counted wrong: it and its reconstruction have a frame.
    assert [text.get_text() for text in axis.texts] == ["0", "0, not 2", "1"]
    assert [text.get_position()[0] for text in axis.texts] == [6.0, 21.0, 6.0]
    assert [frame.get_xy() for frame in axis.patches] == [(15, 0), (15, 11)]


def test_rows_of_samples_are_labelled(tmp_path, monkeypatch):
    kept = []

    def keep(figure, *_, **__):
        kept.append(figure)

    monkeypatch.setattr(pictures.Figure, "savefig", keep)
    black, white = np.zeros((2, 6, 6, 1)), np.ones((2, 6, 6, 1))
    pictures.save_samples(tmp_path / "a.png", {"a": black, "b": white}, "two")
    pictures.save_grid(tmp_path / "b.png", np.zeros((3, 6, 6, 1)), "three", columns=2)
    samples, grid = (figure.axes[0].get_images()[0].get_array() for figure in kept)
    # A gap of 24 // 12 pixels.
    assert samples.shape == grid.shape == (2 * 26, 50, 3)
    assert not samples[2:26, :24].any() and np.all(samples[28:] == 255)
    assert not grid[28:, :24].any() and np.all(grid[28:, 26:] == 255)
    labels = kept[0].axes[0].texts
    assert [label.get_text() for label in labels] == ["a", "b"]
    assert [label.get_position() for label in labels] == [(-2, 12), (-2, 38)]


def test_a_figure_is_a_picture(tmp_path):
    images = np.random.default_rng(0).random((3, 10, 8, 3))
    found = Explanation(np.zeros(3, int), np.zeros((3, 1, 4)), images)
    pictures.save_reconstructions(tmp_path / "a.png", images, found, names=["x"] * 3)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (8 * 140, 320)
