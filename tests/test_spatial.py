import numpy as np
import pytest
import tensorflow as tf

from air_tf.model import spatial


def extract_glimpses(images, windows, size):
    return spatial.extract_glimpses(images, windows, size, min_scale=0.02)


def place_glimpses(glimpses, windows, size):
    return spatial.place_glimpses(glimpses, windows, size, min_scale=0.02)


def _naive(images, row_points, column_points):
    """Bilinear sampling pixel by pixel, everything outside being 0."""
    n, height, width, channels = images.shape
    out = np.zeros((n, row_points.shape[1], column_points.shape[1], channels))
    for b in range(n):
        for i, y in enumerate(row_points[b]):
            for j, x in enumerate(column_points[b]):
                row = (y + 1) * height / 2 - 0.5
                column = (x + 1) * width / 2 - 0.5
                for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                    for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                        if 0 <= r < height and 0 <= c < width:
                            weight = (1 - abs(row - r)) * (1 - abs(column - c))
                            out[b, i, j] += weight * images[b, r, c]
    return out


def _centres(size):
    return (2 * np.arange(size) + 1) / size - 1


@pytest.fixture
def windows():
    rng = np.random.default_rng(1)
    scale = rng.uniform(0.1, 1.2, (6, 1))
    return np.concatenate([scale, rng.uniform(-1.1, 1.1, (6, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_extract_is_bilinear_sampling(windows, channels):
    images = np.random.default_rng(0).random((6, 11, 17, channels), np.float32)
    scale, shift_y, shift_x = windows[:, :1], windows[:, 1:2], windows[:, 2:]
    expected = _naive(
        images, scale * _centres(5) + shift_y, scale * _centres(7) + shift_x
    )
    glimpses = extract_glimpses(images, windows, (5, 7))
    np.testing.assert_allclose(glimpses, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_place_is_bilinear_sampling_of_the_inverse(windows, channels):
    glimpses = np.random.default_rng(0).random((6, 5, 7, channels), np.float32)
    scale, shift_y, shift_x = windows[:, :1], windows[:, 1:2], windows[:, 2:]
    expected = _naive(
        glimpses, (_centres(11) - shift_y) / scale, (_centres(17) - shift_x) / scale
    )
    placed = place_glimpses(glimpses, windows, (11, 17))
    np.testing.assert_allclose(placed, expected, atol=1e-4)


def test_the_whole_window_copies_the_image():
    images = np.random.default_rng(0).random((1, 6, 8, 1), np.float32)
    window = tf.constant([[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        extract_glimpses(images, window, (6, 8)), images, atol=1e-6
    )
    np.testing.assert_allclose(
        place_glimpses(images, window, (6, 8)), images, atol=1e-6
    )


def test_shift_y_moves_down_and_shift_x_moves_right():
    # Half the canvas, centred at a quarter from the top, three quarters across.
    glimpse = tf.ones([1, 4, 4, 1])
    canvas = place_glimpses(glimpse, tf.constant([[0.5, -0.5, 0.5]]), (8, 8))
    rows, columns = np.nonzero(canvas[0, :, :, 0].numpy() > 0.5)
    assert (rows.min(), rows.max()) == (0, 3)
    assert (columns.min(), columns.max()) == (4, 7)


def test_gradient_of_a_window_is_that_of_differences():
    rng = np.random.default_rng(3)
    # Smooth, so that differences across the kinks of bilinear sampling are small.
    y, x = np.mgrid[0:20, 0:20] / 20
    image = tf.constant(np.sin(5 * y + 3 * x)[None, :, :, None], tf.float64)
    target = tf.constant(rng.random((1, 6, 6, 1)), tf.float64)
    window = tf.Variable([[0.52, 0.113, -0.071]], dtype=tf.float64)

    def loss():
        glimpse = extract_glimpses(image, window, (6, 6))
        placed = place_glimpses(glimpse, window, (6, 6))
        return tf.reduce_sum((placed - target) ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, window)[0].numpy()
    start = window.numpy()
    for i in range(3):
        step = np.zeros((1, 3))
        step[0, i] = 1e-6
        window.assign(start + step)
        above = loss().numpy()
        window.assign(start - step)
        below = loss().numpy()
        np.testing.assert_allclose(gradient[i], (above - below) / 2e-6, rtol=1e-4)


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-8])
def test_a_scale_of_nothing_gives_finite_values_and_gradients(scale):
    window = tf.Variable([[scale, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        canvas = place_glimpses(tf.ones([1, 4, 4, 1]), window, (8, 8))
        total = tf.reduce_sum(canvas)
    assert np.isfinite(total.numpy())
    assert np.isfinite(tape.gradient(total, window).numpy()).all()


def test_patches_are_cut_where_they_begin():
    """Every pixel of every patch, of which parts are outside, and exactly."""
    images = np.random.default_rng(0).random((2, 5, 6, 3)).astype(np.float32)
    rows, columns, (p, q) = (-2, 1, 4), (-1, 3), (3, 4)
    cut = spatial.cut_patches(tf.constant(images), rows, columns, (p, q)).numpy()
    assert cut.shape == (2, 6, p * q * 3)
    cut = cut.reshape(2, 3, 2, p, q, 3)
    for g, k, i, j in np.ndindex(3, 2, p, q):
        y, x = rows[g] + i, columns[k] + j
        inside = 0 <= y < 5 and 0 <= x < 6
        expected = images[:, y, x] if inside else np.zeros((2, 3))
        np.testing.assert_array_equal(cut[:, g, k, i, j], expected)


def test_object_boxes_are_tight():
    image = np.zeros((3, 10, 20, 1), np.float32)
    image[0, 2:5, 4:8] = 0.9
    image[1, 9, 19] = 0.2  # a single pixel, in the corner
    boxes = spatial.object_boxes(tf.constant(image), 0.1)
    np.testing.assert_allclose(boxes[0], [0.2, 0.2, 0.5, 0.4], rtol=1e-6)
    np.testing.assert_allclose(boxes[1], [0.9, 0.95, 1.0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(boxes[2], [0, 0, 0, 0])
