"""What is measured in pictures, and how windows of them are chosen."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from air_tf.config import PictureConfig
from air_tf.data.filters import largest, smallest
from air_tf.data.known_counts import known_counts
from air_tf.data.measure import measure, otsu
from air_tf.data.picture_files import find_pictures
from air_tf.data.picture_windows import PictureSet, WindowSampler
from air_tf.data.prepare import binned, domed, prepare
from air_tf.errors import InputError

_LINEAR = PictureConfig(
    object_size=(4, 16), polarity="bright", levels=(0.0, 1.0), knee=1e6
)


def _squares(number=8, *, ground=20, value=200, side=10, seed=0):
    """A picture with squares that do not touch."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(ground - 3, ground + 3, (128, 128)).astype(np.uint8)
    for i in range(number):
        y, x = divmod(i, 4)
        picture[30 * y + 10 : 30 * y + 10 + side, 30 * x + 8 : 30 * x + 8 + side] = (
            value
        )
    return picture


def test_otsu_separates_two_classes():
    values = np.concatenate([np.full(900, 0.2), np.full(100, 0.7)])
    assert 0.2 < otsu(values) < 0.7


@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_what_is_measured(polarity, caplog):
    """Squares of 10 pixels have the area of discs of 11.3."""
    pictures = [_squares(seed=i) for i in range(3)]
    if polarity == "dark":
        pictures = [255 - picture for picture in pictures]
    with caplog.at_level("INFO", logger="absl"):
        found = measure(PictureConfig(), pictures)
    assert found.polarity == polarity
    smallest, largest = found.object_size
    assert smallest <= 10 <= largest and largest <= 20
    low, high = (level * 255 for level in found.levels)
    wanted = (17, 200) if polarity == "bright" else (55, 237)
    np.testing.assert_allclose((low, high), wanted, atol=3)
    assert "Objects seem to be" in caplog.text
    # What is given is not measured.
    assert measure(found, [np.zeros((5, 5))]) == found


def test_pictures_that_nothing_can_be_measured_in():
    with pytest.raises(InputError, match="have one intensity, 0; expected objects"):
        measure(PictureConfig(), [np.zeros((50, 50))])
    noise = np.zeros((50, 50), np.uint8)
    noise[::7, ::7] = 100
    with pytest.raises(InputError, match=r"^object_size is missing, and no objects"):
        measure(PictureConfig(polarity="bright"), [noise])


def test_intensities_follow_the_formula():
    """A spot on a ground, by scipy's filters."""
    settings = dataclasses.replace(
        _LINEAR, levels=(0.2, 0.9), knee=0.05, sharpening=0.5, contrast_floor=0.3
    )
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(0.3, 0.02, (40, 50)), 0, 1).astype(np.float32)
    x[10:18, 20:28] = 0.7
    z = np.clip((x - 0.2) / 0.7, 0, 1)
    for polarity in ("bright", "dark"):
        z = z if polarity == "bright" else 1 - z
        u = np.log(1 + z / 0.05) / np.log(21)
        # The smallest object has 4 pixels: a third of that, but twice 0.7 at least.
        smooth, fine, coarse = (_gaussian(u, scale) for scale in (1.0, 0.7, 1.4))
        b = _gaussian(ndimage.minimum_filter(smooth, 16, mode="nearest"), 4.0)
        t = _gaussian(ndimage.maximum_filter(smooth, 16, mode="nearest"), 4.0)
        y = (1.5 * fine - 0.5 * coarse - b) / np.maximum(t - b, 0.3)
        s = np.clip((y - 0.15) / 0.7, 0, 1)
        settings = dataclasses.replace(settings, polarity=polarity)
        found = prepare(x, settings, what="x")
        np.testing.assert_allclose(found, 255 * (3 * s**2 - 2 * s**3), atol=0.51)


def _gaussian(x, scale):
    return ndimage.gaussian_filter(x, scale, mode="nearest", truncate=3)


@pytest.mark.parametrize("side", [1, 2, 3, 7, 8, 32])
def test_extremes_of_neighbourhoods(side):
    x = np.random.default_rng(0).random((40, 25), np.float32)
    wanted = ndimage.maximum_filter(x, side, mode="nearest")
    np.testing.assert_array_equal(largest(x, side), wanted)
    wanted = ndimage.minimum_filter(x, side, mode="nearest")
    np.testing.assert_array_equal(smallest(x, side), wanted)


def test_dim_and_bright_objects_become_alike_and_ground_stays_dark():
    settings = dataclasses.replace(
        _LINEAR, knee=0.15, sharpening=1.0, contrast_floor=0.2
    )
    picture = np.full((60, 120), 10, np.uint8)
    picture[20:30, 20:30], picture[20:30, 80:90] = 60, 250
    found = prepare(picture, settings, what="x")
    assert found[22:28, 22:28].min() > 250 and found[22:28, 82:88].min() > 250
    assert found[:15].max() == 0
    empty = np.random.default_rng(0).integers(8, 13, (60, 120)).astype(np.uint8)
    assert prepare(empty, settings, what="x").max() < 100


def test_8_and_16_bits_become_the_same():
    pixels = _squares()
    wide = pixels.astype(np.uint16) * 257
    found = prepare(pixels, _LINEAR, what="x")
    np.testing.assert_array_equal(prepare(wide, _LINEAR, what="x"), found)


@pytest.mark.parametrize("binning", [1, 3])
def test_a_picture_is_prepared_in_strips_as_in_one_piece(binning, monkeypatch):
    settings = dataclasses.replace(_LINEAR, object_size=(5, 33.4 * binning))
    assert settings.binning == binning
    pixels = np.random.default_rng(0).integers(0, 9, (1000, 101), np.uint8)
    whole = prepare(pixels, settings, what="x")
    assert whole.shape == (-(-1000 // binning), -(-101 // binning))
    monkeypatch.setattr("air_tf.data.prepare._STRIP", 1)
    np.testing.assert_array_equal(prepare(pixels, settings, what="x"), whole)


def test_squares_of_pixels_are_averaged():
    pixels = np.arange(30.0).reshape(5, 6)
    found = binned(pixels, 2)
    assert found.shape == (3, 3)
    assert found[0, 0] == pixels[:2, :2].mean()
    assert found[2, 1] == pixels[4, 2:4].mean()  # the last row is repeated


def _set(raw, settings=_LINEAR):
    """Of arrays by name; None is a picture that can't be read."""

    def read(name):
        if raw[name] is None:
            raise InputError(f"{name}: broken")
        return raw[name]

    return PictureSet.of(list(raw), read, settings)


def test_pictures_and_their_splits(caplog):
    raw = {f"{i}.png": _squares(1 + i % 8, side=6 + i // 8) for i in range(20)}
    raw["small.png"] = np.zeros((9, 99), np.uint8)
    raw["2.png"] = None
    pictures = _set(raw)
    assert "2.png: broken; it is left out" in caplog.text
    assert "small.png: has 99x9 pixels" in caplog.text
    parts = [pictures.split(name) for name in ("train", "validation", "test")]
    assert [len(part.pictures) for part in parts] == [17, 1, 1]
    prints = {part.fingerprint() for part in parts}
    assert len(prints) == 3
    pixels = [picture.tobytes() for part in parts for picture in part.pictures]
    assert len(set(pixels)) == 19  # no picture is in two of them
    assert parts[0].fingerprint() == pictures.split("train").fingerprint()
    assert parts[0].fingerprint() != parts[1].fingerprint()
    few = dataclasses.replace(
        pictures, pictures=pictures.pictures[:3], counts=pictures.counts[:3]
    )
    assert [len(few.split(s).pictures) for s in ("train", "validation", "test")] == [
        1,
        1,
        1,
    ]
    one = dataclasses.replace(pictures, pictures=pictures.pictures[:1])
    assert len(one.split("test").pictures) == 1


def test_objects_larger_than_all_pictures():
    message = "no picture of 1 can be used; expected .* at least 16 x 16 pixels"
    with pytest.raises(InputError, match=message):
        _set({"a": np.zeros((10, 10), np.uint8)})


def test_windows_depend_on_their_seed_alone():
    raw = {f"{i}": _squares(seed=i) for i in range(4)} | {"small": _squares()[:20]}
    pictures = _set(raw)
    one, other = (WindowSampler(pictures, (32, 32)) for _ in range(2))
    found = one.windows([7, 3], 50)
    assert found.shape == (50, 32, 32, 1) and found.dtype == np.uint8
    one.windows([7, 4], 50)
    np.testing.assert_array_equal(other.windows([7, 3], 50), found)
    assert not np.array_equal(one.windows([7, 4], 50), found)


@pytest.mark.parametrize("share, least, most", [(1.0, 0.0, 0.15), (0.0, 1.0, 1.0)])
def test_empty_ground_does_not_drown_the_objects(share, least, most):
    """One object of 10 x 10 pixels in 128 x 128: hardly a window shows it by chance."""
    settings = dataclasses.replace(_LINEAR, anywhere_share=share)
    pictures = _set({"a": _squares(1)}, settings)
    found = WindowSampler(pictures, (16, 16)).windows([0], 400)
    shown = (found > 100).any(axis=(1, 2, 3)).mean()
    assert least <= shown <= most


def test_known_counts(tmp_path):
    """By names with and without suffix, and from label images."""
    for name in ("a.png", "b.tif", "c.png", "d.png"):
        Image.fromarray(_squares(2)).save(tmp_path / name)
    labels = np.zeros((128, 128), np.uint8)
    labels[3, 4], labels[5, 6:9] = 1, 7
    Image.fromarray(labels).save(tmp_path / "c_labels.png")
    table = tmp_path / "counts.csv"
    table.write_text("image,count\na.png,3\nsomewhere/b, 12\n")
    files = find_pictures([tmp_path])
    assert [file.name for file in files] == ["a.png", "b.tif", "c.png", "d.png"]
    assert known_counts(files) == [3, 12, 2, None]
    pictures = PictureSet.of_folder(tmp_path, _LINEAR)
    assert pictures.counts == [3, 12, 2, None]
    table.write_text("image,count\na.png,3\nb.tif,-1\n")
    with pytest.raises(InputError, match=r"counts.csv, line 3: count is '-1'; expect"):
        known_counts(files)
    for name, what in (("none", "no such folder"), ("counts.csv", "is a file; exp")):
        with pytest.raises(InputError, match=f"{name}: {what}"):
            PictureSet.of_folder(tmp_path / name, _LINEAR)
    table.write_text("name,count\n")
    with pytest.raises(InputError, match=r"counts\.csv: lacks the columns image and"):
        known_counts(files)


def test_objects_that_touch_become_two_domes():
    """The largest object has 24 pixels: the mean of a picture and four erosions."""
    settings = dataclasses.replace(_LINEAR, object_size=(4, 24))
    picture = np.zeros((60, 60), np.uint8)
    picture[20:40, 10:30], picture[20:40, 32:52] = 255, 255
    picture[28:32, 30:32] = 255  # a bridge of 4 pixels
    eroded, total = picture > 0, (picture > 0).astype(float)
    cross, square = ndimage.generate_binary_structure(2, 1), np.ones((3, 3))
    for shape in (cross, square, cross, square):
        eroded = ndimage.binary_erosion(eroded, shape)
        total += eroded
    found = domed(picture, settings)
    np.testing.assert_allclose(found, 255 * total / 5, atol=0.51)
    assert found[30, 20] == found[30, 42] == 255 and found[30, 31] < 150
