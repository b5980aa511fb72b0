"""Objects of a picture of any size, from windows that overlap.

Imports no TensorFlow, for use on edge devices and by clients of servers.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from air_tf.config.pictures import PictureConfig
from air_tf.data.picture_files import shares
from air_tf.data.prepare import domed, padded, prepare
from air_tf.inference.counts import count_interval
from air_tf.inference.flood import grow
from air_tf.inference.valleys import joined
from air_tf.inference.windows import Grid, make_grid
from air_tf.progress import bar
from air_tf.structs import PictureObjects, Scenes

# Of images of the canvas' shape, [N, h, w, 1] uint8.
Infer = Callable[[np.ndarray], Scenes]
_BATCH = 64
# Of them, those that go through a model of this process side by side.
TOGETHER = _BATCH // 2
# Percentiles that stand for the darkest and the brightest intensity of a picture. On
# the scale of the levels, pictures all below the one or above the other are unusual.
_EXTREMES, _DARK, _BRIGHT = (1.0, 99.8), 0.2, 0.8
# Of the smaller side of a window, at most, that its neighbour shows, too: more costs
# time, and finds no more.
_MOST_OVERLAP = 0.4
# How far an object's centre may lie outside of the cell of its window, in pixels: two
# windows may disagree where it is.
_TOLERANCE = 2.0
# Share of the smaller of two objects of different windows from which on they are one,
# and of an object in larger ones of its own window from which on it is a part of them.
_SAME = 0.4
# Smaller objects are none: pixels over the square of the smallest size.
_SMALLEST = 0.7
# An object's own pixels: share of its mask's largest value.
_CORE = 0.5
# How far it grows: of prepared pictures.
_GROUND = 38
# Two objects with a shallower valley between them are one: of domes, about the error of
# the mean of rounded values.
_VALLEY = 5
# Of a mask in [0, 1], for the order in which objects claim pixels.
_LEVELS = 255.0


class Candidate(NamedTuple):
    """An object that a window shows.

    Attributes:
      top, left: of the part of the picture that holds it.
      mask: [h, w] uint8, 0 outside, else how much of the pixel it fills.
      core: the least `mask` of its core.
      centre: of its pixels, (y, x) in the picture.
      depth: distance of the centre from the border of the window's cell, negative if
        it lies outside.
      window: number of the window.
      probability: that it is there.
      z_what: [D].
    """

    top: int
    left: int
    mask: np.ndarray
    core: float
    centre: tuple[float, float]
    depth: float
    window: int
    probability: float
    z_what: np.ndarray

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))


def find_objects(
    infer: Infer,
    pixels: np.ndarray,
    settings: PictureConfig,
    shape: tuple[int, int],
    *,
    what: str = "picture",
) -> PictureObjects:
    """Prepares a picture, and counts and locates its objects, see `find_in_prepared`.

    Args:
      infer: the model.
      pixels: [H, W], as `read_pixels` gives them.
      settings: of the model's run.
      shape: (h, w) of the canvas.
      what: name of the picture for messages and the progress bar.

    Returns:
      The objects; labels have the size of `pixels`.

    Raises:
      InputError: for a picture smaller than an object.
    """
    picture = prepare(pixels, settings, what=what)
    found = find_in_prepared(infer, picture, settings, shape, what=what)
    labels = _unbinned(found.labels, settings.binning, pixels.shape)
    return found._replace(labels=labels)


def find_in_prepared(
    infer: Infer,
    picture: np.ndarray,
    settings: PictureConfig,
    shape: tuple[int, int],
    *,
    what: str = "picture",
) -> PictureObjects:
    """Counts and locates the objects of a picture.

    An object belongs to the window whose cell holds its centre, so that objects that a
    window's border cuts are explained where they are whole, or nearly. If two windows
    claim the same pixels, the object nearer to the middle of its cell is kept. Objects
    on the same hill of what the model sees are one: the bound alone splits objects that
    the decoder can't draw.

    Args:
      infer: the model.
      picture: [h, w] uint8, as `prepare` returns it.
      settings: of the model's run.
      shape: (h, w) of the canvas.
      what: name of the picture for the progress bar.

    Returns:
      The objects; labels have the size of `picture`.
    """
    size = picture.shape
    domes = domed(picture, settings)
    shown = padded(domes, shape)
    smallest, largest = settings.binned_sizes
    overlap = min(largest + 2 * _TOLERANCE, min(shape) * _MOST_OVERLAP)
    grid = make_grid(shown.shape, shape, overlap=overlap)
    candidates: list[Candidate] = []
    missed: list[float] = []
    number, code_size = 0, 0
    wanted = _bright_places(shown, grid, _LEVELS * settings.min_contrast)
    with bar(len(wanted), what) as shown_bar:
        for places, windows in _batches(shown, grid, wanted):
            scenes = infer(windows)
            candidates += _candidates(
                scenes, places, grid, number=number, settings=settings
            )
            missed += _missed(scenes, places, grid)
            number, code_size = number + len(places), scenes.z_what.shape[-1]
            shown_bar.update(len(places))
    kept = _without_duplicates(candidates, size)
    kept = sorted(kept, key=lambda one: one.centre)
    labels = grow(_cores(kept, size), picture, above=_GROUND)
    labels = joined(labels, domes, depth=_VALLEY)[labels]
    labels, kept = _large_ones(labels, kept, _SMALLEST * smallest**2)
    interval = count_interval(
        np.array([one.probability for one in kept]), np.array(missed)
    )
    return PictureObjects(
        labels=labels,
        probability=np.array([one.probability for one in kept], np.float32),
        z_what=np.array([one.z_what for one in kept], np.float32).reshape(
            len(kept), code_size
        ),
        count_low=interval.low,
        count_high=interval.high,
        count_probability=interval.probability,
    )


def other_numbers(pixels: np.ndarray, settings: PictureConfig) -> str | None:
    """A warning of a picture in which nothing is found, if its numbers may be why.

    Such as 12 bits in a file of 16, or 0 to 255 as floating-point numbers.

    Args:
      pixels: [H, W], as `read_pixels` gives them.
      settings: of the model's run.
    """
    assert settings.levels is not None, "measured before it is used"
    low, high = settings.levels
    extremes = np.array(np.percentile(pixels, _EXTREMES), pixels.dtype)
    dark, bright = (shares(extremes) - low) / (high - low)
    if dark <= _BRIGHT and bright >= _DARK:
        return None
    return (
        f"no object is found. Its intensities go from {dark:.2g} to {bright:.2g}, "
        "where 0 and 1 are the `levels` of the model. If they are of another type or "
        "range of numbers than the training pictures, convert them."
    )


def _bright_places(
    picture: np.ndarray, grid: Grid, least: float
) -> list[tuple[int, int]]:
    """The windows whose cells hold a pixel of at least the light of an object.

    Where a cell is darker, no object has its centre. At least one window, which says
    how many numbers a code has.
    """
    rows, columns = (
        [
            slice(max(int(first - _TOLERANCE), 0), int(last + _TOLERANCE) + 1)
            for first, last in axis.cells
        ]
        for axis in (grid.rows, grid.columns)
    )
    places = list(grid.places())
    bright = [(i, j) for i, j in places if picture[rows[i], columns[j]].max() >= least]
    return bright or places[:1]


def _batches(
    picture: np.ndarray, grid: Grid, places: list[tuple[int, int]]
) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
    """Windows and their places, `_BATCH` at a time."""
    height, width = grid.shape
    for first in range(0, len(places), _BATCH):
        batch = places[first : first + _BATCH]
        windows = np.empty((len(batch), height, width, 1), np.uint8)
        for window, (row, column) in zip(windows, batch, strict=True):
            top, left = grid.rows.starts[row], grid.columns.starts[column]
            window[..., 0] = picture[top : top + height, left : left + width]
        yield batch, windows


def _candidates(
    scenes: Scenes,
    places: list[tuple[int, int]],
    grid: Grid,
    *,
    number: int,
    settings: PictureConfig,
) -> Iterator[Candidate]:
    """The objects that belong to their windows, or nearly do.

    Args:
      scenes: of the windows.
      places: of the windows.
      grid: of all windows.
      number: of the first of the windows.
      settings: what is an object.
    """
    for i, (row, column) in enumerate(places):
        top, left = int(grid.rows.starts[row]), int(grid.columns.starts[column])
        cell = np.array([grid.rows.cells[row], grid.columns.cells[column]])
        light = (scenes.canvas[i] - scenes.ground[i]).mean(axis=-1)
        masks = scenes.mask[i, : int(scenes.num_objects[i])]
        for t, inside in _objects(masks, light, settings):
            mask = masks[t]
            rows, columns = inside.any(axis=1), inside.any(axis=0)
            y0, y1 = np.flatnonzero(rows)[[0, -1]] + [0, 1]
            x0, x1 = np.flatnonzero(columns)[[0, -1]] + [0, 1]
            # Of the box, which noise at the mask's border moves little.
            centre = (top + (y0 + y1) / 2.0, left + (x0 + x1) / 2.0)
            at = np.array(centre)[:, np.newaxis]
            depth = float(np.min((at - cell) * [1.0, -1.0]))
            if depth < -_TOLERANCE:
                continue
            part = (slice(y0, y1), slice(x0, x1))
            filled = np.where(inside[part], np.ceil(_LEVELS * mask[part]), 0.0)
            yield Candidate(
                top=int(top + y0),
                left=int(left + x0),
                mask=filled.astype(np.uint8),
                core=_CORE * _LEVELS * float(mask.max()),
                centre=centre,
                depth=depth,
                window=number + i,
                probability=float(scenes.presence_probs[i, t]),
                z_what=scenes.z_what[i, t],
            )


def _objects(
    masks: np.ndarray, light: np.ndarray, settings: PictureConfig
) -> Iterator[tuple[int, np.ndarray]]:
    """The numbers and pixels of what is an object of its own, largest first.

    Args:
      masks: [n, h, w], of one window.
      light: [h, w], what objects add to the ground.
      settings: what is an object.
    """
    largest = masks.max(axis=(1, 2), keepdims=True, initial=0.0)
    pixels = masks > settings.mask_threshold * largest
    areas = pixels.sum(axis=(1, 2))
    taken = np.zeros(light.shape, bool)
    for t in np.argsort(-areas, kind="stable"):
        inside = pixels[t]
        if not areas[t] or light[inside].mean() < settings.min_contrast:
            continue
        if (inside & taken).sum() > _SAME * areas[t]:
            continue
        taken |= inside
        yield int(t), inside


def _missed(
    scenes: Scenes, places: list[tuple[int, int]], grid: Grid
) -> Iterator[float]:
    """Probabilities of objects beyond those found, of which a window's cell has a part
    as large as its share of the window."""
    for i, (row, column) in enumerate(places):
        sides = [
            axis.cells[index][1] - axis.cells[index][0]
            for axis, index in ((grid.rows, row), (grid.columns, column))
        ]
        share = min(sides[0] * sides[1] / (grid.shape[0] * grid.shape[1]), 1.0)
        for probability in scenes.presence_probs[i, int(scenes.num_objects[i]) :]:
            yield share * float(probability)


def _without_duplicates(
    candidates: list[Candidate], size: tuple[int, int]
) -> list[Candidate]:
    """Keeps one of those of different windows that share pixels."""
    order = sorted(range(len(candidates)), key=lambda i: -candidates[i].depth)
    owner = np.full(size, -1, np.int32)  # of each pixel, which kept one has it
    kept: list[Candidate] = []
    for one in (candidates[i] for i in order):
        part, inside = _place(one, size)
        owners = owner[part][inside]
        if not owners.size:
            continue
        if not _is_found(one, owners, kept):
            target = owner[part]
            target[inside & (target < 0)] = len(kept)
            kept.append(one)
    return kept


def _is_found(one: Candidate, owners: np.ndarray, kept: list[Candidate]) -> bool:
    """Whether another window found the object, whose pixels belong to `owners`."""
    for other, shared in zip(*np.unique(owners, return_counts=True), strict=True):
        if other < 0 or kept[other].window == one.window:
            continue
        if shared > _SAME * min(one.area, kept[other].area):
            return True
    return False


def _place(
    one: Candidate, size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of the picture that holds an object, and its pixels there, [h, w]."""
    bottom = min(one.top + one.mask.shape[0], size[0])
    right = min(one.left + one.mask.shape[1], size[1])
    part = (slice(one.top, max(bottom, one.top)), slice(one.left, max(right, one.left)))
    rows, columns = max(bottom - one.top, 0), max(right - one.left, 0)
    return part, one.mask[:rows, :columns] > 0


def _cores(kept: list[Candidate], size: tuple[int, int]) -> np.ndarray:
    """Gives each pixel to the object in whose core it is, and which fills most of it.

    Returns:
      [H, W] int32, 1 + the number of the object, or 0.
    """
    labels, best = np.zeros(size, np.int32), np.zeros(size, np.uint8)
    for label, one in enumerate(kept, 1):
        part, inside = _place(one, size)
        filled = one.mask[: inside.shape[0], : inside.shape[1]]
        wins = (filled >= one.core) & (filled > best[part])
        labels[part][wins], best[part][wins] = label, filled[wins]
    return labels


def _large_ones(
    labels: np.ndarray, kept: list[Candidate], least: float
) -> tuple[np.ndarray, list[Candidate]]:
    """Leaves out what is too small.

    Args:
      labels: [H, W], of all objects.
      kept: the objects.
      least: area of an object.

    Returns:
      [H, W] int32 labels without gaps, and the objects with these labels.
    """
    areas = np.bincount(labels.ravel(), minlength=len(kept) + 1)
    stays = areas >= max(least, 1.0)
    stays[0] = False
    renumbered = np.where(stays, np.cumsum(stays), 0).astype(np.int32)
    return renumbered[labels], [
        one for one, stay in zip(kept, stays[1:], strict=True) if stay
    ]


def _unbinned(labels: np.ndarray, binning: int, size: tuple[int, ...]) -> np.ndarray:
    """Labels of the pixels of the file."""
    if binning == 1:
        return labels
    whole = np.repeat(np.repeat(labels, binning, axis=0), binning, axis=1)
    return np.ascontiguousarray(whole[: size[0], : size[1]])
