"""Pictures of all kinds are read at their own scale, and bad ones are named."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from air_tf.config import PictureConfig
from air_tf.data import picture_files
from air_tf.data.picture_files import find_pictures, one_channel, read_pixels, shares
from air_tf.errors import InputError

_ANY = PictureConfig()
_GREY = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)
_RGB = np.stack([_GREY, _GREY[::-1], 255 - _GREY], axis=-1)
_LUMA = np.array([0.299, 0.587, 0.114])


def _read(path, **settings):
    return read_pixels(path, PictureConfig(**settings))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_of_8_and_16_bits(tmp_path, suffix, dtype):
    pixels = _GREY.astype(dtype) * (1 if dtype == np.uint8 else 257)
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels)
    found = _read(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)
    # Of both kinds, the same shares of the largest value.
    np.testing.assert_allclose(shares(found), _GREY / 255, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_become_grey_unless_a_channel_is_chosen(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        Image.fromarray(_RGB).save(path)
    else:
        tifffile.imwrite(path, _RGB, photometric="rgb")
    np.testing.assert_allclose(_read(path), (_RGB / 255) @ _LUMA, atol=1e-6)
    np.testing.assert_array_equal(_read(path, channel=2), _RGB[..., 2])
    with pytest.raises(InputError, match=r"has 3 channels; expected more than 3"):
        _read(path, channel=3)


def test_planes_of_colours(tmp_path):
    path = tmp_path / "a.tif"
    planes = np.moveaxis(_RGB, -1, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(_read(path, channel=1), _RGB[..., 1])


def test_other_kinds_of_png_and_jpeg(tmp_path):
    """RGBA, grey with opacity, palettes, CMYK, one bit: all become grey."""
    opaque = np.full((*_GREY.shape, 1), 255, np.uint8)
    opaque[0] = 0
    rgba = Image.fromarray(np.concatenate([_RGB, opaque], axis=-1))
    wanted = (_RGB / 255) @ _LUMA
    wanted[0] = 0
    rgba.save(tmp_path / "a.png")
    np.testing.assert_allclose(_read(tmp_path / "a.png"), wanted, atol=1e-6)
    Image.fromarray(np.concatenate([_GREY[..., None], opaque], -1)).save(
        tmp_path / "b.png"
    )
    wanted = _GREY / 255
    wanted[0] = 0
    np.testing.assert_allclose(_read(tmp_path / "b.png"), wanted, atol=1e-6)

    palette = Image.fromarray(_RGB).quantize(16)
    palette.save(tmp_path / "c.png")
    wanted = np.asarray(palette.convert("RGB")) / 255 @ _LUMA
    np.testing.assert_allclose(_read(tmp_path / "c.png"), wanted, atol=1e-6)

    one_bit = _GREY > 100
    Image.fromarray(one_bit).save(tmp_path / "d.png")
    np.testing.assert_array_equal(_read(tmp_path / "d.png"), 255 * one_bit)

    Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(tmp_path / "e.jpg")  # red
    assert _read(tmp_path / "e.jpg").mean() == pytest.approx(0.299, abs=0.02)


def test_other_kinds_of_tiff(tmp_path):
    path = tmp_path / "a.tif"
    colours = np.zeros((3, 256), np.uint16)
    colours[1] = np.arange(256) * 257
    tifffile.imwrite(path, _GREY, photometric="palette", colormap=colours)
    np.testing.assert_allclose(_read(path), 0.587 * (_GREY / 255), atol=1e-5)

    inks = np.zeros((10, 12, 4), np.uint8)
    inks[..., 1:3] = 255  # red
    tifffile.imwrite(path, inks, photometric="separated")
    np.testing.assert_allclose(_read(path), 0.299, atol=1e-5)

    tifffile.imwrite(path, _GREY, photometric="miniswhite")
    np.testing.assert_array_equal(_read(path), 255 - _GREY)

    tifffile.imwrite(path, _GREY > 100, photometric="minisblack")
    np.testing.assert_array_equal(_read(path), 255 * (_GREY > 100))

    tifffile.imwrite(path, _GREY / np.float32(7.0))
    np.testing.assert_array_equal(_read(path), _GREY / np.float32(7.0))


def test_pages_and_channels_of_tiff(tmp_path):
    """2 times, 3 depths and 2 channels, in ImageJ's order."""
    path = tmp_path / "a.tif"
    stack = np.random.default_rng(0).integers(0, 99, (2, 3, 2, 10, 12), np.uint16)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZCYX"})
    # Without a channel, pages are those of the file.
    np.testing.assert_array_equal(_read(path, page=3), stack[0, 1, 1])
    # With one, pages are times and depths.
    np.testing.assert_array_equal(_read(path, page=4, channel=1), stack[1, 1, 1])
    with pytest.raises(InputError, match=r"a\.tif: has 12 pages; expected more than 1"):
        _read(path, page=12)
    with pytest.raises(InputError, match=r"has 6 pages; expected more than 6"):
        _read(path, page=6, channel=0)
    with pytest.raises(InputError, match=r"has 2 channels; expected more than 2"):
        _read(path, channel=2)
    Image.fromarray(_GREY).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: has one page"):
        _read(tmp_path / "b.png", page=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    pixels = np.zeros((10, 12), np.float32)
    pixels[3, 4] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    with pytest.raises(InputError, match=r"a\.tif: holds NaN or infinity"):
        _read(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_broken_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(InputError, match=f"a{suffix}: no such file"):
        _read(path)
    noise = np.random.default_rng(0).integers(0, 256, (80, 90), np.uint8)
    data = io.BytesIO()
    if suffix == ".tif":
        tifffile.imwrite(data, noise, compression="zlib")
    else:
        Image.fromarray(noise).save(data, "PNG" if suffix == ".png" else "JPEG")
    unknown = "can't be read" if suffix == ".tif" else "not a PNG, JPEG or TIFF"
    for content, reason in (
        (b"", unknown),
        (b"no picture", unknown),
        (data.getvalue()[:1500], "can't be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"a{suffix}: {reason}") as error:
            _read(path)
        assert "\n" not in str(error.value)


def test_pictures_that_are_too_large(tmp_path, monkeypatch):
    """The size is read before the pixels."""
    monkeypatch.setattr(picture_files, "MAX_PICTURE_PIXELS", 100)
    tifffile.imwrite(tmp_path / "a.tif", _GREY)
    Image.fromarray(_GREY).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        with pytest.raises(InputError, match=f"{name}: has 12x10 pixels; expected at"):
            _read(tmp_path / name)


@pytest.mark.parametrize(
    "pixels, message",
    [
        (np.zeros(3), r"has shape \(3,\)"),
        (np.zeros((0, 3)), r"has shape \(0, 3\)"),
        (np.zeros((3, 3, 5)), "has 5 channels; expected 1 to 4, or a `channel`"),
        (np.zeros((3, 3), complex), "holds complex128"),
    ],
)
def test_arrays_that_are_refused(pixels, message):
    with pytest.raises(InputError, match=f"x: {message}"):
        one_channel(pixels, None, what="x")


def test_pictures_of_a_folder(tmp_path):
    folder = tmp_path / "plate"
    folder.mkdir()
    for name in ("b.TIF", "a.png", "a_labels.png", "notes.txt", ".new-c.png"):
        (folder / name).touch()
    single = tmp_path / "x.png"
    found = find_pictures([folder, single])
    assert found == [folder / "a.png", folder / "b.TIF", single]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no \.png, \.jpg, \.jpeg, \.ti"):
        find_pictures([tmp_path / "empty"])
