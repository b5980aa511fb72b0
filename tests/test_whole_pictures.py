"""Objects of large pictures: whichever window finds them, they are counted once."""

import itertools
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import watershed

from air_tf.config import PictureConfig
from air_tf.errors import InputError
from air_tf.inference.counts import count_interval
from air_tf.inference.flood import deepest, flood, grow
from air_tf.inference.valleys import joined
from air_tf.inference.whole import find_objects, other_numbers
from air_tf.inference.windows import make_grid
from air_tf.structs import Scenes

_SETTINGS = PictureConfig(
    object_size=(6, 24), polarity="bright", levels=(0.0, 1.0), knee=1e6
)
_SHAPE = (64, 64)
_STEPS = 30


def _components(windows, *, seed=None, sure=0.99):
    """Answers for windows as a model would give them, from connected pixels.

    Also of objects that the window's border cuts. With a seed, masks miss a row of
    pixels here and there, so that windows disagree where an object is.
    """
    rng = np.random.default_rng(seed)
    num = len(windows)
    masks = np.zeros((num, _STEPS, *_SHAPE), np.float32)
    counts = np.zeros(num, np.int32)
    for i, window in enumerate(windows[..., 0]):
        labels, counts[i] = ndimage.label(window > 100)
        for t, part in enumerate(ndimage.find_objects(labels)):
            mask = labels == t + 1
            if seed is not None:
                rows, columns = part
                cut = rng.integers(4)
                if cut == 0:
                    mask[rows.start] = False
                elif cut == 1:
                    mask[:, columns.stop - 1] = False
            masks[i, t] = mask
    present = np.arange(_STEPS) < counts[:, np.newaxis]
    zeros = np.zeros((num, 1))
    return Scenes(
        num_objects=counts,
        num_objects_probs=zeros,
        boxes=zeros,
        presence=present.astype(float),
        presence_probs=np.where(present, sure, 0.0),
        z_where=zeros,
        z_what=np.ones((num, _STEPS, 2)),
        canvas=windows / 255.0,
        mask=masks,
        ground=np.zeros(windows.shape),
        num_trips=counts,
    )


def _discs(side, number, *, seed=0, sizes=(6, 24)):
    """A picture with discs that do not touch, also at its border, and their number."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side), np.uint8)
    found = 0
    for _ in range(20 * number):
        radius = rng.uniform(*sizes) / 2.0
        y, x = rng.uniform(-radius / 2, side + radius / 2, 2)
        top, left = max(int(y - radius) - 2, 0), max(int(x - radius) - 2, 0)
        part = picture[top : int(y + radius) + 4, left : int(x + radius) + 4]
        if part.any():
            continue
        rows, columns = np.ogrid[: part.shape[0], : part.shape[1]]
        disc = (rows + top - y) ** 2 + (columns + left - x) ** 2 <= radius**2
        if disc.sum() < 40:  # what the border leaves of it is no object
            continue
        part[disc] = 200
        found += 1
        if found == number:
            break
    return picture, found


def _assert_same_pixels(found, wanted):
    """But for a seam, since intensities are blurred a little."""
    assert not (found & ~ndimage.binary_dilation(wanted)).any()
    assert not (ndimage.binary_erosion(wanted, iterations=2) & ~found).any()


@pytest.mark.parametrize("length, expected", [(64, [0]), (100, [0, 36]), (65, [0, 1])])
def test_windows_cover_a_side_and_lie_at_its_borders(length, expected):
    grid = make_grid((length, 64), _SHAPE, overlap=24)
    assert grid.rows.starts.tolist() == expected
    assert grid.columns.starts.tolist() == [0] and grid.num_windows == len(expected)


def test_cells_meet_and_leave_room_for_half_an_object():
    """With an overlap of 24, a centre in a cell is 12 pixels from a window's border,
    but at the border of the picture."""
    for length in range(64, 400, 7):
        starts, cells = make_grid((length, 64), _SHAPE, overlap=24).rows
        assert cells[0, 0] == 0 and cells[-1, 1] == length
        np.testing.assert_array_equal(cells[1:, 0], cells[:-1, 1])
        assert (cells[1:, 0] - starts[1:] >= 12).all()
        assert (starts[:-1] + 64 - cells[:-1, 1] >= 12).all()


def test_every_object_is_found_once():
    picture, number = _discs(700, 400)
    assert number == 400
    found = find_objects(_components, picture, _SETTINGS, _SHAPE)
    truth, _ = ndimage.label(picture)
    assert found.labels.dtype == np.int32 and found.labels.max() == number
    assert len(found.probability) == len(found.z_what) == number
    # One label for each disc, with its pixels.
    both = (found.labels > 0) & (truth > 0)
    pairs = np.unique(np.stack([found.labels[both], truth[both]]), axis=1)
    assert pairs.shape[1] == number
    _assert_same_pixels(found.labels > 0, truth > 0)


def test_windows_that_disagree_lose_and_double_few():
    picture, number = _discs(700, 400, seed=1)
    infer = lambda windows: _components(windows, seed=3)  # noqa: E731
    found = find_objects(infer, picture, _SETTINGS, _SHAPE)
    truth, _ = ndimage.label(picture)
    of_each = [
        np.setdiff1d(np.unique(found.labels[truth == k]), [0]) for k in range(1, 401)
    ]
    lost = sum(len(labels) == 0 for labels in of_each)
    doubled = sum(len(labels) > 1 for labels in of_each)
    assert lost + doubled <= 0.005 * number


def test_labels_go_from_top_to_bottom_and_slivers_are_no_objects():
    picture = np.zeros((64, 120), np.uint8)
    picture[40:50, 20:30] = picture[5:15, 80:90] = 200
    picture[31, 61] = 200  # a disc of half the smallest size has 7 pixels
    found = find_objects(_components, picture, _SETTINGS, _SHAPE)
    assert found.labels[10, 85] == 1 and found.labels[45, 25] == 2
    assert found.labels.max() == 2 and found.labels[31, 61] == 0


def test_pictures_smaller_than_a_window_or_an_object():
    picture = np.zeros((30, 40), np.uint8)
    picture[10:20, 12:20] = 200
    found = find_objects(_components, picture, _SETTINGS, _SHAPE)
    assert found.labels.shape == (30, 40) and found.labels.max() == 1
    _assert_same_pixels(found.labels > 0, picture > 0)
    with pytest.raises(InputError, match="x: has 20x30 pixels; expected sides of at"):
        find_objects(_components, picture[:, :20], _SETTINGS, _SHAPE, what="x")


def test_large_objects_are_found_in_averaged_pixels():
    """The largest has 96 pixels: squares of 3 x 3 pixels are averaged."""
    settings = PictureConfig(
        object_size=(30, 96), polarity="bright", levels=(0.0, 1.0), knee=1e6
    )
    assert settings.binning == 3
    picture = np.zeros((400, 301), np.uint8)
    picture[30:90, 60:150] = picture[300:360, 240:300] = 200
    found = find_objects(_components, picture, settings, _SHAPE)
    shown = ndimage.zoom(found.labels > 0, 1 / 3, order=0)
    _assert_same_pixels(shown, ndimage.zoom(picture > 0, 1 / 3, order=0))
    assert found.labels.max() == 2 and found.labels.shape == picture.shape


def test_windows_without_light_in_their_cells_are_not_seen():
    """Of 6 x 6 windows: the square is in four cells, which meet at (82.5, 82.5)."""
    picture = np.zeros((232, 232), np.uint8)
    picture[78:87, 78:87] = 200
    seen = []

    def infer(windows):
        seen.append(len(windows))
        return _components(windows)

    found = find_objects(infer, picture, _SETTINGS, _SHAPE)
    assert found.labels.max() == 1 and sum(seen) == 4
    # Of a black picture, one window tells the size of codes.
    found = find_objects(infer, np.zeros_like(picture), _SETTINGS, _SHAPE)
    assert found.z_what.shape == (0, 2) and sum(seen) == 5


def test_an_empty_picture():
    picture = np.zeros((100, 100), np.uint8)
    found = find_objects(_components, picture, _SETTINGS, _SHAPE)
    assert not found.labels.any() and found.z_what.shape[0] == 0
    assert (found.count_low, found.count_high, found.count_probability) == (0, 0, 1.0)


@pytest.mark.parametrize(
    "value, words",
    [
        (np.uint16(255), "go from 0.0039 to 0.0039"),  # 8 bits, kept in 16
        (np.float32(255.0), "go from 2.6e+02 to 2.6e+02"),
        (np.uint8(128), None),  # an empty field like others
    ],
)
def test_other_numbers_than_in_training_are_said(value, words):
    warning = other_numbers(np.full((100, 100), value), _SETTINGS)
    assert (words in warning) if words else warning is None


def _peak_bytes():
    """Not `ru_maxrss`, which begins with that of the process that started this one."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def _count_a_large_picture():
    """Prints what is found of 4,096 x 4,096 pixels if windows disagree."""
    picture, number = _discs(4096, 6000)
    found = find_objects(lambda w: _components(w, seed=5), picture, _SETTINGS, _SHAPE)
    truth, _ = ndimage.label(picture)
    both = (truth > 0) & (found.labels > 0)
    pairs = np.unique(np.stack([truth[both], found.labels[both]]), axis=1)
    labels_of_each = np.bincount(pairs[0], minlength=number + 1)[1:]
    figures = {
        "true": number,
        "found": int(found.labels.max()),
        "lost": int((labels_of_each == 0).sum()),
        "doubled": int((labels_of_each > 1).sum()),
        "bytes": _peak_bytes(),
    }
    print(json.dumps(figures))


def test_thousands_of_objects_of_a_large_picture():
    """At most 0.5 % are lost or doubled at seams, in less than 2 GB.

    In another process, whose memory is that of this work alone.
    """
    code = f"import {__name__} as test; test._count_a_large_picture()"
    paths = [str(pathlib.Path(__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert figures["true"] == 6000
    assert figures["lost"] + figures["doubled"] <= 0.005 * 6000, figures
    assert figures["found"] == pytest.approx(6000, rel=0.005)
    assert figures["bytes"] < 2e9


def test_the_interval_of_a_count_is_that_of_the_sum_with_usual_errors():
    """Against all outcomes of 4 objects that were found and 2 that were missed, and of
    errors with a scale of 0.48 sqrt(4)."""
    found, missed = np.array([0.9, 0.8, 1.0, 0.6]), np.array([0.3, 0.1])
    events = [*found, *missed]
    errors = np.arange(-30, 31)
    shares = np.exp(-np.abs(errors) / 0.96)
    probs = np.zeros(40)
    for outcome in itertools.product([0, 1], repeat=6):
        terms = [p if one else 1 - p for p, one in zip(events, outcome, strict=True)]
        for error, share in zip(errors, shares, strict=True):
            if sum(outcome) + error >= 0:
                probs[sum(outcome) + error] += np.prod(terms) * share
    probs /= probs.sum()
    interval = count_interval(found, missed)
    assert interval.probability == pytest.approx(probs[4], rel=1e-4)
    assert probs[: interval.low].sum() <= 0.05 < probs[: interval.low + 1].sum()
    assert probs[interval.high + 1 :].sum() <= 0.05 < probs[interval.high :].sum()
    # What was found is in it, also where it is improbable.
    assert count_interval(np.full(40, 0.1), np.zeros(0)).high == 40


def test_usual_errors_grow_with_the_root_of_the_count():
    """90 % of errors with a Laplace distribution are below ln(10) times its scale."""
    assert count_interval(np.zeros(0), np.zeros(0)) == (0, 0, 1.0)
    for number in (100, 2500):
        interval = count_interval(np.ones(number), np.zeros(0))
        half = np.log(10) * 0.48 * np.sqrt(number)
        assert interval.high - number == pytest.approx(half, abs=1)
        assert number - interval.low == pytest.approx(half, abs=1)


def test_labels_grow_downhill_and_meet_in_the_valley():
    """Two hills in a row: the valley is at column 6, and the ground is below 40."""
    row = np.array([30, 60, 90, 200, 120, 80, 44, 70, 150, 220, 90, 20], np.uint8)
    labels = np.zeros((3, 12), np.int32)
    labels[1, 3], labels[1, 9] = 1, 2
    found = flood(labels, np.tile(row, (3, 1)), above=40)
    assert (found == [0, 1, 1, 1, 1, 1, found[0, 6], 2, 2, 2, 2, 0]).all()
    assert found[0, 6] in (1, 2)


def test_flooding_is_the_watershed_of_scikit_image():
    rng = np.random.default_rng(0)
    picture = ndimage.gaussian_filter(rng.random((120, 150)), 4)
    picture -= picture.min()
    picture = (255 * picture / picture.max()).astype(np.uint8)
    tops = (picture == ndimage.maximum_filter(picture, 15)) & (picture > 120)
    labels, number = ndimage.label(tops)
    found = flood(labels.astype(np.int32), picture, above=100)
    wanted = watershed(-picture.astype(int), labels, mask=(picture > 100) | tops)
    assert number > 10
    # Pixels that are reached at the same time may go to either.
    assert (found == wanted).mean() > 0.99
    np.testing.assert_array_equal(found > 0, wanted > 0)


def test_of_a_core_the_deepest_pixels_are_left():
    """A square, a row, whose pixels are all equal, and two squares that touch."""
    labels = np.zeros((7, 16), np.int32)
    labels[1:6, 1:6] = 1
    labels[1, 7:10] = 2
    labels[2:5, 10:13], labels[2:5, 13:16] = 3, 4
    found = deepest(labels)
    wanted = np.zeros_like(labels)
    wanted[3, 3], wanted[1, 7:10], wanted[3, 11], wanted[3, 14] = 1, 2, 3, 4
    np.testing.assert_array_equal(found, wanted)
    assert not deepest(np.zeros((2, 3), np.int32)).any()


def test_a_core_beyond_the_valley_is_given_back():
    """The core of the left hill reaches over the valley at column 6; and a pixel of a
    core that is darker than the ground stays in an object."""
    row = np.array([30, 60, 90, 200, 120, 80, 44, 70, 150, 220, 90, 20], np.uint8)
    cores = np.zeros((5, 12), np.int32)
    cores[0:5, 0:8], cores[1:4, 8:11] = 1, 2
    found = grow(cores, np.tile(row, (5, 1)), above=40)
    assert (found[:, 0:6] == 1).all() and (found[:, 7:11] == 2).all()
    assert (found[:, 6] > 0).all() and (found[:, 11] == 0).all()


def test_objects_without_a_valley_between_them_are_joined():
    """Labels 1 and 2 on one hill; 3 behind a valley of 90 - 60; 4 touches nothing."""
    row = np.array([90, 120, 150, 140, 100, 60, 70, 90, 0, 80], np.uint8)
    labels = np.array([1, 1, 2, 2, 2, 2, 3, 3, 0, 4], np.int32)
    # In a row and in a column. The larger of two gives its label.
    for shape in ((1, 10), (10, 1)):
        hills, found = row.reshape(shape), labels.reshape(shape)
        assert joined(found, hills, depth=0).tolist() == [0, 2, 2, 3, 4]
        assert joined(found, hills, depth=29).tolist() == [0, 2, 2, 3, 4]
        assert joined(found, hills, depth=30).tolist() == [0, 2, 2, 2, 4]


def test_the_summit_of_what_was_joined_counts():
    """From 3 to 4, the pass is 143: 8 below the summit of 3, 151. But 3 is on the hill
    of 1, whose summit is higher than that of 4, 153: the valley is 10 deep."""
    hills = np.array([[200, 150, 149, 151, 150, 143, 153]], np.uint8)
    labels = np.array([[1, 2, 2, 3, 3, 3, 4]], np.int32)
    assert joined(labels, hills, depth=9).tolist() == [0, 2, 2, 2, 4]
    assert joined(labels, hills, depth=10).tolist() == [0, 2, 2, 2, 2]


def test_an_object_in_two_pieces_is_counted_once():
    """A model that splits each disc in halves: its domes show one hill."""
    picture, number = _discs(300, 60, sizes=(12, 24))

    def halves(windows):
        scenes = _components(windows)
        # Even attend steps keep the left half of an object, odd ones the right half.
        masks = np.repeat(scenes.mask, 2, axis=1)[:, :_STEPS]
        for mask, t in ((m, t) for one in masks for t, m in enumerate(one)):
            columns = np.flatnonzero(mask.any(axis=0))
            if len(columns):
                middle = (columns[0] + columns[-1]) // 2 + 1
                mask[:, slice(middle, None) if t % 2 == 0 else slice(middle)] = 0.0
        counts = np.minimum(2 * scenes.num_objects, _STEPS)
        return scenes._replace(num_objects=counts, mask=masks)

    found = find_objects(halves, picture, _SETTINGS, _SHAPE)
    assert found.labels.max() == number
