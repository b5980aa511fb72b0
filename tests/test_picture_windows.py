"""What is measured in pictures, and how windows of them are chosen."""

import dataclasses

import numpy as np
import pytest

from air_tf.config import PictureConfig
from air_tf.data.measure import measure, otsu
from air_tf.data.picture_windows import PictureSet, WindowSampler
from air_tf.data.prepare import prepare
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
    settings = dataclasses.replace(_LINEAR, levels=(0.2, 0.6), knee=0.05)
    pixels = np.tile(np.linspace(0, 1, 20, dtype=np.float32), (20, 1))
    z = np.clip((pixels - 0.2) / 0.4, 0, 1)
    wanted = 255 * np.log(1 + z / 0.05) / np.log(21)
    np.testing.assert_allclose(prepare(pixels, settings, what="x"), wanted, atol=0.51)
    dark = dataclasses.replace(settings, polarity="dark")
    wanted = 255 * np.log(1 + (1 - z) / 0.05) / np.log(21)
    np.testing.assert_allclose(prepare(pixels, dark, what="x"), wanted, atol=0.51)


def test_8_and_16_bits_become_the_same():
    pixels = _squares()
    wide = pixels.astype(np.uint16) * 257
    np.testing.assert_array_equal(
        prepare(pixels, _LINEAR, what="x"), prepare(wide, _LINEAR, what="x")
    )
    np.testing.assert_array_equal(prepare(pixels, _LINEAR, what="x"), pixels)


def test_pixels_are_averaged_in_strips_as_in_one_piece(monkeypatch):
    settings = dataclasses.replace(_LINEAR, object_size=(30, 100))
    assert settings.binning == 3
    pixels = np.random.default_rng(0).random((301, 20_000), np.float32)
    found = prepare(pixels, settings, what="x")  # 17 rows of squares at a time
    assert found.shape == (101, 6667)
    wanted = pixels[:300, :19_998].reshape(100, 3, 6666, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found[:100, :6666], 255 * wanted, atol=0.51)


def test_pictures_and_their_splits(caplog):
    raw = {f"{i}.png": _squares(seed=i) for i in range(20)}
    raw["small.png"] = np.zeros((9, 99), np.uint8)
    pictures = PictureSet.of(raw, _LINEAR)
    assert "small.png: has 99x9 pixels" in caplog.text
    parts = [pictures.split(name) for name in ("train", "validation", "test")]
    assert [len(part.pictures) for part in parts] == [16, 2, 2]
    together = sorted(p.tobytes() for part in parts for p in part.pictures)
    assert together == sorted(raw[f"{i}.png"].tobytes() for i in range(20))
    assert parts[0].fingerprint() == pictures.split("train").fingerprint()
    assert parts[0].fingerprint() != parts[1].fingerprint()
    few = dataclasses.replace(pictures, pictures=pictures.pictures[:3])
    assert [len(few.split(s).pictures) for s in ("train", "validation", "test")] == [
        1,
        1,
        1,
    ]
    one = dataclasses.replace(pictures, pictures=pictures.pictures[:1])
    assert len(one.split("test").pictures) == 1


def test_objects_larger_than_all_pictures():
    with pytest.raises(InputError, match=r"^object_size is \(4, 16\); expected a larg"):
        PictureSet.of({"a": np.zeros((10, 10), np.uint8)}, _LINEAR)


def test_windows_depend_on_their_seed_alone():
    raw = {f"{i}": _squares(seed=i) for i in range(4)} | {"small": _squares()[:20]}
    pictures = PictureSet.of(raw, _LINEAR)
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
    pictures = PictureSet.of({"a": _squares(1)}, settings)
    found = WindowSampler(pictures, (16, 16)).windows([0], 400)
    shown = (found > 100).any(axis=(1, 2, 3)).mean()
    assert least <= shown <= most
