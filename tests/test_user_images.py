import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from air_tf.data.user_images import fit_picture, read_folder, read_npz, read_picture
from air_tf.errors import InputError

_SHAPE = (10, 12, 1)


def _write_picture(path, size=(24, 20), colour=200, mode="L"):
    Image.new(mode, size, colour).save(path)
    return path


def test_npz_round_trip(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5)).astype(np.uint8)
    np.savez(tmp_path / "x.npz", image=pixels, count=np.array([0, 1, 2, 1], np.int32))
    found = read_npz(tmp_path / "x.npz")
    np.testing.assert_array_equal(found.images, pixels[..., None])
    np.testing.assert_array_equal(found.counts, [0, 1, 2, 1])
    assert found.boxes is None


def test_npz_of_floats_in_colour_without_counts(tmp_path):
    pixels = np.random.default_rng(0).random((4, 6, 5, 3))
    np.savez_compressed(tmp_path / "x.npz", image=pixels)
    found = read_npz(tmp_path / "x.npz")
    assert found.images.dtype == np.float32 and found.counts is None
    np.testing.assert_allclose(found.images, pixels, rtol=1e-6)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"pictures": np.zeros((2, 3, 3))}, "holds pictures; expected an array named"),
        (
            {"image": np.zeros((3, 3))},
            r"image has shape \(3, 3\); expected \[N, H, W\]",
        ),
        ({"image": np.zeros((0, 3, 3))}, r"image has shape \(0, 3, 3\)"),
        ({"image": np.zeros((2, 3, 3), np.int64)}, "image is int64; expected uint8"),
        (
            {"image": np.full((2, 3, 3), 255.0)},
            "values from 255 to 255; expected float",
        ),
        ({"image": np.full((2, 3, 3), -0.1)}, "values from -0.1"),
        ({"image": np.full((2, 3, 3), np.nan)}, "holds NaN or infinity"),
        ({"image": np.array([{}, []], object)}, "image can't be read"),
        ({"image": np.zeros((2, 3, 3)), "count": np.zeros(3, int)}, r"shape \(3,\)"),
        ({"image": np.zeros((2, 3, 3)), "count": np.zeros(2)}, "count is float64"),
        ({"image": np.zeros((2, 3, 3)), "count": np.array([0, -1])}, "count holds -1"),
    ],
)
def test_npz_that_is_refused(tmp_path, arrays, message):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as error:
        read_npz(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a zip file", None])
def test_npz_that_is_none(tmp_path, content):
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz: (not an|no such)"):
        read_npz(path)


def test_truncated_npz(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, image=np.zeros((20, 30, 30), np.uint8))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"x\.npz"):
        read_npz(path)


def test_npz_with_a_broken_member(tmp_path):
    path = tmp_path / "x.npz"
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 30)).astype(np.uint8)
    np.savez_compressed(path, image=noise)
    content = bytearray(path.read_bytes())
    content[3000:3400] = bytes(400)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz"):
        read_npz(path)


def test_picture_is_stretched_to_the_canvas(tmp_path):
    picture = read_picture(_write_picture(tmp_path / "a.png"))
    image = fit_picture(picture, _SHAPE)
    assert image.shape == _SHAPE and image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.full(_SHAPE, 200))
    assert picture.size == (24, 20)


@pytest.mark.parametrize(
    "mode, colour, expected",
    [
        ("RGB", (255, 0, 0), 76),  # ITU-R 601: 0.299 * 255
        ("RGBA", (200, 200, 200, 0), 0),  # transparent: the black behind it
        ("I;16", 51400, 200),  # 200 * 257
        ("1", 1, 255),
    ],
)
def test_picture_modes(tmp_path, mode, colour, expected):
    path = _write_picture(tmp_path / "a.png", mode=mode, colour=colour)
    image = fit_picture(read_picture(path), _SHAPE)
    np.testing.assert_array_equal(image, np.full(_SHAPE, expected))


def test_colour_picture(tmp_path):
    path = _write_picture(tmp_path / "a.png", mode="RGB", colour=(10, 20, 30))
    image = fit_picture(read_picture(path), (4, 4, 3))
    np.testing.assert_array_equal(image[0, 0], [10, 20, 30])


def _huge_png(path):
    """The header of 100,000 x 100,000 pixels, and little more."""

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


def test_pictures_that_are_refused(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(InputError, match=r"a\.png: no such file"):
        read_picture(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"a\.png: not a PNG or JPEG"):
        read_picture(path)
    _write_picture(path, size=(500, 500))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"a\.png: can't be decoded"):
        read_picture(path)
    _huge_png(path)
    with pytest.raises(InputError, match=r"a\.png: .*pixels"):
        read_picture(path)
    with pytest.raises(InputError, match="canvas has 2"):
        fit_picture(Image.new("RGB", (9, 9)), (4, 4, 2))


def test_folder_in_order_of_names(tmp_path):
    for name, colour in (("b.png", 20), ("a.JPG", 10), ("c.jpeg", 30)):
        _write_picture(tmp_path / name, colour=colour)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = read_folder(tmp_path, _SHAPE).images
    np.testing.assert_allclose(found[:, 0, 0, 0], [10, 20, 30], atol=2)


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "none", _SHAPE)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file; expected a folder"):
        read_folder(tmp_path / "file", _SHAPE)
    with pytest.raises(InputError, match=r"holds no \.png"):
        read_folder(tmp_path, _SHAPE)
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(InputError, match=r"bad\.png: not a PNG"):
        read_folder(tmp_path, _SHAPE)
