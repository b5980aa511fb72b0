"""The dataset of nuclei, from archives as the original ones are made."""

import hashlib
import io
import os
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from air_tf.config import DataConfig
from air_tf.data import sources
from air_tf.data.nuclei import Builder, nuclei_dataset_builder, originals
from air_tf.errors import InputError

_FOLDER = os.environ.get("AIR_TF_TEST_NUCLEI")
_NAMES = ["aa", "bb"]


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _tiff(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="TIFF")
    return file.getvalue()


def _dsb2018():
    """Two pictures: squares at (10, 20) and (10, 30); one at (100, 100).

    Pictures have four channels and masks one, as the originals. The archive holds a
    picture of another size, which is not chosen, and a file that macOS adds.
    """
    files = {}
    corners = {"aa": [(10, 20), (10, 30)], "bb": [(100, 100)]}
    for name, places in corners.items():
        pixels = np.full((256, 256, 4), 255, np.uint8)
        pixels[..., :3] = 7
        for k, (y, x) in enumerate(places):
            pixels[y : y + 8, x : x + 8, :3] = 90 + k
            mask = np.zeros((256, 256), np.uint8)
            mask[y : y + 8, x : x + 8] = 255
            files[f"{name}/masks/{k}.png"] = _png(mask)
        files[f"{name}/images/{name}.png"] = _png(pixels)
    files["cc/images/cc.png"] = _png(np.zeros((4, 4), np.uint8))
    files["__MACOSX/aa/images/._aa.png"] = b"?"
    return files


def _bbbc039(kind):
    """Two pictures of two touching nuclei of other colours, 40 x 20 pixels each."""
    files = {}
    for name in _NAMES:
        image = np.full((520, 696), 100, np.uint16)
        image[100:140, 200:240] = 2000
        # The first 2 x 2 pixels have the mean 100 + (0 + 1 + 2 + 5) / 4 = 102.
        image[:2, :2] = [[100, 101], [102, 105]]
        mask = np.zeros((520, 696, 4), np.uint8)
        mask[..., 3] = 255
        mask[100:140, 200:220, 0], mask[100:140, 220:240, 0] = 1, 2
        if kind == "images":
            files[f"images/{name}.tif"] = _tiff(image)
        else:
            files[f"masks/{name}.png"] = _png(mask)
    return files


def _write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("write", [_write_zip, _write_folder])
def test_dsb2018_from_an_archive_and_a_folder(tmp_path, write):
    files = originals.Files(write(tmp_path / "stage1_train.zip", _dsb2018()))
    pictures = list(originals.read_dsb2018({"stage1_train": files}, _NAMES))
    image, labels = pictures[0]
    assert image.shape == (256, 256) and image.dtype == np.uint8
    # Touched by nothing: intensities are those of the file.
    assert (image[0, 0], image[10, 20], image[17, 37]) == (7, 90, 91)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(np.unique(labels), [0, 1, 2])
    np.testing.assert_array_equal(labels[10:18, 30:38], 2)
    assert np.bincount(labels.ravel()).tolist() == [256**2 - 128, 64, 64]
    assert pictures[1][1].max() == 1


@pytest.mark.parametrize("write", [_write_zip, _write_folder])
def test_bbbc039_at_half_size(tmp_path, write):
    files = {
        kind: originals.Files(write(tmp_path / f"{kind}.zip", _bbbc039(kind)))
        for kind in ("images", "masks")
    }
    image, labels = next(originals.read_bbbc039(files, _NAMES))
    assert image.shape == labels.shape == (260, 348)
    assert image.dtype == labels.dtype == np.uint16
    assert (image[0, 0], image[50, 100], image[200, 0]) == (102, 2000, 100)
    # Half of 100:140 and 200:220, 220:240.
    np.testing.assert_array_equal(labels[50:70, 100:110], 1)
    np.testing.assert_array_equal(labels[50:70, 110:120], 2)
    assert np.count_nonzero(labels) == 400


def test_colours_are_used_again():
    """Three nuclei of two colours; pixels that meet at a corner are one nucleus."""
    colours = np.array([[5, 5, 9, 0, 5], [0, 0, 9, 0, 0], [0, 9, 0, 0, 0]])
    labels = originals.label_colours(colours)
    np.testing.assert_array_equal(
        labels, [[1, 1, 3, 0, 2], [0, 0, 3, 0, 0], [0, 3, 0, 0, 0]]
    )


def test_files_that_are_no_originals(tmp_path):
    path = _write_zip(tmp_path / "stage1_train.zip", _dsb2018())
    files = {"stage1_train": originals.Files(path)}
    for names, message in (
        (["zz"], "zz or its masks are missing"),
        (["cc"], "cc or its masks are missing"),
    ):
        with pytest.raises(InputError, match=message):
            list(originals.read_dsb2018(files, names))
    colour = np.zeros((256, 256, 3), np.uint8)
    colour[..., 0] = 9
    for content, message in (
        (_png(colour), "dd is not a grey picture of 8 bits"),
        (_png(np.zeros((4, 5), np.uint8)), "has 4x5 pixels; expected 256x256"),
        (b"text", "is no PNG file"),
    ):
        mask = _png(np.zeros((256, 256), np.uint8))
        path = _write_zip(
            tmp_path / "x.zip", {"dd/images/dd.png": content, "dd/masks/0.png": mask}
        )
        with pytest.raises(InputError, match=message):
            list(
                originals.read_dsb2018({"stage1_train": originals.Files(path)}, ["dd"])
            )
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"broken.zip: can't be read"):
        originals.Files(tmp_path / "broken.zip")


def test_pictures_are_listed():
    """The whole lists: no field is in both splits."""
    for config, nums, total in (
        ("dsb2018_256", {"train": 163, "test": 171}, 9543),
        ("bbbc039_half", {"train": 54, "test": 49}, 11509),
    ):
        rows = nuclei_dataset_builder.pictures_of(config)
        splits = {s: [row for row in rows if row["split"] == s] for s in nums}
        assert {split: len(of) for split, of in splits.items()} == nums
        assert len({row["id"] for row in rows}) == len(rows) == sum(nums.values())
        train, test = ({row["field"] for row in of} for of in splits.values())
        assert not train & test
        assert sum(int(row["count"]) for row in rows) == total


def _few(monkeypatch, counts=("2", "1")):
    """Makes the lists short: one picture in each split."""
    rows = [
        {"id": name, "field": str(k), "split": split, "count": count}
        for k, (name, split, count) in enumerate(
            zip(_NAMES, ("train", "test"), counts, strict=True)
        )
    ]
    monkeypatch.setattr(nuclei_dataset_builder, "pictures_of", lambda name: rows)


def _read(builder):
    return {
        split: list(tfds.as_numpy(builder.as_dataset(split=split)))
        for split in ("train", "test")
    }


def test_builder_from_a_manual_dir(tmp_path, monkeypatch):
    """Archives whose checksum is right, unpacked folders, and .npz give the same."""
    _few(monkeypatch)
    content = _write_zip(tmp_path / "stage1_train.zip", _dsb2018()).read_bytes()
    config = Builder.builder_configs["dsb2018_256"]
    archive = config.archives[0]._replace(sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(config, "archives", (archive,))
    manual = {}
    for way in ("zip", "folder", "npz"):
        manual[way] = tmp_path / way
        manual[way].mkdir()
    shutil.copy(tmp_path / "stage1_train.zip", manual["zip"])
    _write_folder(manual["folder"] / "stage1_train", _dsb2018())
    files = {"stage1_train": originals.Files(tmp_path / "stage1_train.zip")}
    images, labels = zip(*originals.read_dsb2018(files, _NAMES), strict=True)
    np.savez(manual["npz"] / "dsb2018_256.npz", image=images, label=labels, id=_NAMES)

    for way, folder in manual.items():
        builder = Builder(config=config.name, data_dir=tmp_path / f"data-{way}")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=folder)
        )
        found = _read(builder)
        assert [len(examples) for examples in found.values()] == [1, 1]
        (train,), (test,) = found.values()
        assert (train["count"], train["id"], train["field"]) == (2, b"aa", b"0")
        assert (test["count"], test["id"], test["field"]) == (1, b"bb", b"1")
        np.testing.assert_array_equal(train["image"][..., 0], images[0])
        np.testing.assert_array_equal(train["label"][..., 0], labels[0])
        assert train["label"].dtype == np.uint16


def test_16_bits_survive(tmp_path, monkeypatch):
    _few(monkeypatch)
    image = np.full((2, 260, 348), 4095, np.uint16)
    label = np.zeros((2, 260, 348), np.uint16)
    label[:, 0, :300] = np.arange(1, 301)
    np.savez(
        tmp_path / "bbbc039_half.npz",
        image=image,
        label=label,
        name=[f"{name}.tif" for name in _NAMES],
    )
    builder = sources.prepare(
        "nuclei/bbbc039_half", data_dir=str(tmp_path), manual_dir=str(tmp_path)
    )
    (found,) = _read(builder)["test"]
    assert found["image"].dtype == np.uint16 and found["image"].max() == 4095
    assert found["count"] == 300


def test_another_archive_is_refused(tmp_path):
    _write_zip(tmp_path / "stage1_train.zip", _dsb2018())
    with pytest.raises(InputError, match=r"has the SHA-256 .* expected dcb6edc"):
        sources.prepare("nuclei", data_dir=str(tmp_path), manual_dir=str(tmp_path))


def test_npz_of_another_kind(tmp_path):
    arrays = {"image": np.zeros((1, 4, 4)), "label": np.zeros((1, 4, 4))}
    path = tmp_path / "x.npz"
    for more, message in (
        ({}, "can't be read"),
        ({"id": np.array([{}])}, "can't be read"),  # needs pickle
        ({"id": ["a"]}, r"image has the shape \(1, 4, 4\).*expected \(1, 5, 5\)"),
    ):
        np.savez(path, **arrays, **more)
        with pytest.raises(InputError, match=message):
            list(originals.read_npz(path, ["a"], (5, 5)))
    with pytest.raises(InputError, match="b is missing"):
        list(originals.read_npz(path, ["b"], (4, 4)))


def test_without_a_network(tmp_path, monkeypatch):
    import requests

    def no_route(*args, **kwargs):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", no_route)
    with pytest.raises(InputError, match="can't be downloaded") as error:
        sources.prepare("nuclei/bbbc039_half", data_dir=str(tmp_path))
    assert "BBBC039/masks.zip" in str(error.value)
    assert "`manual_dir`" in str(error.value)
    with pytest.raises(InputError, match="manual_dir is 'none'; expected a folder"):
        sources.prepare("nuclei", data_dir=str(tmp_path), manual_dir="none")


def test_download_through_tfds(tmp_path, monkeypatch):
    """What the download manager gets is checked and read."""
    import requests

    _few(monkeypatch)
    path = _write_zip(tmp_path / "stage1_train.zip", _dsb2018())
    config = Builder.builder_configs["dsb2018_256"]
    archive = config.archives[0]
    known = archive._replace(sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    asked = []

    def download(self, urls):
        asked.extend(urls)
        return [path]

    monkeypatch.setattr(requests, "head", lambda *args, **kwargs: None)
    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    for archives, right in (((archive,), False), ((known,), True)):
        monkeypatch.setattr(config, "archives", archives)
        builder = Builder(config=config.name, data_dir=tmp_path / str(right))
        if not right:
            with pytest.raises(InputError, match="has the SHA-256"):
                builder.download_and_prepare()
            continue
        builder.download_and_prepare()
        assert _read(builder)["train"][0]["count"] == 2
    assert asked == [archive.url] * 2


def test_no_run_is_trained_on_nuclei_by_name():
    config = DataConfig(dataset="nuclei")
    with pytest.raises(InputError, match="dataset is 'nuclei'; expected"):
        sources.load_splits(config, ["train"], image_shape=(64, 64, 1))


@pytest.mark.skipif(not _FOLDER, reason="AIR_TF_TEST_NUCLEI names no folder")
@pytest.mark.parametrize("config", ["dsb2018_256", "bbbc039_half"])
def test_real_labels_have_the_counts_of_the_list(config):
    rows = nuclei_dataset_builder.pictures_of(config)
    path = pathlib.Path(_FOLDER) / f"{config}.npz"
    names = [row["id"] for row in rows]
    size = Builder.builder_configs[config].size
    pictures = originals.read_npz(path, names, size)
    for row, (_, label) in zip(rows, pictures, strict=True):
        assert label.max() == int(row["count"])
