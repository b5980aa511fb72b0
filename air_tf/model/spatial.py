"""Windows: reads glimpses, places objects on the canvas, and finds their boxes.

A window is `z_where = (scale, shift_y, shift_x)`: the affine map
`A = [[scale, 0, shift_x], [0, scale, shift_y]]` takes the glimpse frame
[-1, 1]^2 to the canvas frame [-1, 1]^2 (Eslami et al. 2016, section 2.2;
Jaderberg et al. 2015, eq. 10, restricted to scale and shift). The borders of a
frame are the outer edges of its border pixels, so the outermost pixel centres
are half a pixel inside. Everything outside an image is 0.

Because the map has no rotation, bilinear sampling separates into one small
matrix for the rows and one for the columns. Sampling is two dense products,
differentiable with respect to the window, without gathers.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def _centres(size: int, dtype: tf.DType) -> tf.Tensor:
    """Centres of `size` pixels in [-1, 1]: [size]."""
    return (2.0 * tf.range(size, dtype=dtype) + 1.0) / size - 1.0


def _bilinear_weights(points: tf.Tensor, size: int) -> tf.Tensor:
    """Weights that interpolate a row of `size` pixels at `points` in [-1, 1].

    Points [..., P] to weights [..., P, size].
    """
    position = (points + 1.0) * (0.5 * size) - 0.5
    pixel = tf.range(size, dtype=points.dtype)
    return tf.nn.relu(1.0 - tf.abs(position[..., tf.newaxis] - pixel))


def _resample(
    images: tf.Tensor, row_weights: tf.Tensor, column_weights: tf.Tensor
) -> tf.Tensor:
    """Images [N, h, w, C], weights [N, H, h] and [N, W, w] to [N, H, W, C]."""
    height, width, channels = images.shape[1:]
    flat = tf.reshape(images, [-1, height, width * channels])
    rows = tf.matmul(row_weights, flat)  # [N, H, w * C]
    new_height = row_weights.shape[1]
    if channels == 1:
        rows = tf.reshape(rows, [-1, new_height, width])
        resampled = tf.matmul(rows, column_weights, transpose_b=True)  # [N, H, W]
        return resampled[..., tf.newaxis]
    rows = tf.reshape(rows, [-1, new_height, width, channels])
    return tf.einsum("nhwc,nxw->nhxc", rows, column_weights)


def _scale_and_shifts(
    z_where: tf.Tensor, min_scale: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    scale, shift_y, shift_x = tf.split(z_where, 3, axis=-1)  # each [N, 1]
    return tf.maximum(scale, min_scale), shift_y, shift_x


def extract_glimpses(
    images: tf.Tensor,
    z_where: tf.Tensor,
    glimpse_size: tuple[int, int],
    min_scale: float,
) -> tf.Tensor:
    """Reads the window `z_where` of each image (Eslami et al. 2016, section 2.2).

    Args:
      images: [N, H, W, C].
      z_where: [N, 3], (scale, shift_y, shift_x).
      glimpse_size: (h, w) in pixels.
      min_scale: lower bound of the scale, because a sampled scale can be 0 or
        negative.

    Returns:
      Glimpses, [N, h, w, C].
    """
    z_where = tf.ensure_shape(z_where, [images.shape[0], 3])
    _, height, width, _ = images.shape
    scale, shift_y, shift_x = _scale_and_shifts(z_where, min_scale)
    rows = scale * _centres(glimpse_size[0], images.dtype) + shift_y  # [N, h]
    columns = scale * _centres(glimpse_size[1], images.dtype) + shift_x  # [N, w]
    return _resample(
        images, _bilinear_weights(rows, height), _bilinear_weights(columns, width)
    )


def place_glimpses(
    glimpses: tf.Tensor,
    z_where: tf.Tensor,
    canvas_size: tuple[int, int],
    min_scale: float,
) -> tf.Tensor:
    """Places each glimpse in its window on an empty canvas.

    Args:
      glimpses: [N, h, w, C].
      z_where: [N, 3], (scale, shift_y, shift_x).
      canvas_size: (H, W) in pixels.
      min_scale: lower bound of the scale, which placing divides by.

    Returns:
      Object images, [N, H, W, C].
    """
    z_where = tf.ensure_shape(z_where, [glimpses.shape[0], 3])
    _, height, width, _ = glimpses.shape
    scale, shift_y, shift_x = _scale_and_shifts(z_where, min_scale)
    rows = (_centres(canvas_size[0], glimpses.dtype) - shift_y) / scale  # [N, H]
    columns = (_centres(canvas_size[1], glimpses.dtype) - shift_x) / scale  # [N, W]
    return _resample(
        glimpses, _bilinear_weights(rows, height), _bilinear_weights(columns, width)
    )


def cut_patches(
    images: tf.Tensor,
    rows: Sequence[int],
    columns: Sequence[int],
    size: tuple[int, int],
) -> tf.Tensor:
    """Cuts the same patches from every image; what is outside of an image is 0.

    By slices of slices: faster than products with matrices that select, and exact in
    every format of LiteRT.

    Args:
      images: [B, H, W, C].
      rows: first row of the patches, G numbers; may be outside.
      columns: first column of the patches, K numbers; may be outside.
      size: (p, q) of a patch.

    Returns:
      Flattened patches in row-major order, [B, G K, p q C].
    """
    (p, q), (_, height, width, channels) = size, images.shape
    top, left = max(0, -min(rows)), max(0, -min(columns))
    bottom, right = max(0, max(rows) + p - height), max(0, max(columns) + q - width)
    padded = tf.pad(images, [[0, 0], [top, bottom], [left, right], [0, 0]])
    bands = [padded[:, top + row : top + row + p] for row in rows]
    # [B G, p, W, C]: LiteRT supports few axes.
    band = tf.reshape(tf.stack(bands, axis=1), [-1, p, left + width + right, channels])
    patches = [band[:, :, left + first : left + first + q] for first in columns]
    return tf.reshape(
        tf.stack(patches, axis=1), [-1, len(rows) * len(columns), p * q * channels]
    )


def object_boxes(object_image: tf.Tensor, threshold: float) -> tf.Tensor:
    """Tight boxes around the pixels of an object that are brighter than `threshold`.

    The window itself is no tight box: its margin differs from object to object.

    Args:
      object_image: [..., H, W, C], one object on an empty canvas.
      threshold: pixel intensity in [0, 1].

    Returns:
      Boxes [..., 4]: (ymin, xmin, ymax, xmax) in [0, 1]; all 0 where nothing
      is brighter than the threshold.
    """
    drawn = tf.reduce_max(object_image, axis=-1) > threshold  # [..., H, W]
    ymin, ymax = _extent(tf.reduce_any(drawn, axis=-1))
    xmin, xmax = _extent(tf.reduce_any(drawn, axis=-2))
    return tf.stack([ymin, xmin, ymax, xmax], axis=-1)


def _extent(occupied: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and end of the occupied pixels of [..., S], in [0, 1]; 0 if none is."""
    size = occupied.shape[-1]
    mask = tf.cast(occupied, tf.float32)
    index = tf.range(size, dtype=tf.float32)
    last = tf.reduce_max(mask * (index + 1.0), axis=-1)
    first = size - tf.reduce_max(mask * (size - index), axis=-1)
    any_occupied = tf.cast(last > 0.0, tf.float32)
    return first * any_occupied / size, last / size


def interpolation(size: int, cells: int) -> np.ndarray:
    """Linear interpolation of `cells` values to `size` pixels: [size, cells].

    The first and the last value are those at the borders.
    """
    place = (np.arange(size) + 0.5) / size * (cells - 1)
    distance = np.abs(place[:, np.newaxis] - np.arange(cells))
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)
