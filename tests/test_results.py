"""Results of pictures of any size, read back by the libraries that are to read them."""

import contextlib
import errno
import io
import json
import os

import numpy as np
import pandas as pd
import pytest
import roifile
import tifffile
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from skimage.draw import polygon2mask
from skimage.measure import regionprops

from air_tf import extras
from air_tf.errors import InputError, OutputError
from air_tf.files import unique_names
from air_tf.inference.results import folder as results
from air_tf.inference.results.coco import write_coco
from air_tf.inference.results.folder import ResultsFolder
from air_tf.inference.results.imagej import outlines
from air_tf.inference.results.label_images import write_label_image
from air_tf.inference.results.table import table_of_objects
from air_tf.structs import PictureObjects
from air_tf.visualization.drawing import draw_outlines, to_shown

_SETTINGS = {"model": "3f2a", "threshold": 0.5}


def _objects(labels, probability=None):
    count = int(labels.max())
    if probability is None:
        probability = np.linspace(0.9, 0.6, count)
    return PictureObjects(
        labels=labels.astype(np.int32),
        probability=np.asarray(probability, np.float32),
        z_what=np.arange(2 * count, dtype=np.float32).reshape(count, 2) / 8,
        count_low=max(count - 1, 0),
        count_high=count + 1,
        count_probability=0.75,
    )


@pytest.fixture
def three():
    """A picture of 8 x 10 pixels with three objects.

    1: 2 x 3 pixels in the corner, of 100. 2: a ring of 3 x 3 pixels around a hole, of
    200. 3: two pixels that touch at a corner, of 40 and 60. The ground is 10.
    """
    labels = np.zeros((8, 10), np.int32)
    labels[:2, :3] = 1
    labels[3:6, 4:7] = 2
    labels[4, 5] = 0
    labels[6, 8] = labels[7, 9] = 3
    picture = np.choose(labels, [10, 100, 200, 40]).astype(np.uint16)
    picture[7, 9] = 60
    return picture, _objects(labels)


@pytest.fixture
def none():
    return np.full((5, 6), 7, np.uint8), _objects(np.zeros((5, 6)))


def _fill(folder, three, none):
    folder.add("plate/a.png", *three)
    folder.add("plate/empty.png", *none)
    folder.finish()


@pytest.fixture
def written(tmp_path, three, none):
    """The folder of two pictures, one of them empty."""
    images = ["plate/a.png", "plate/empty.png"]
    path = tmp_path / "results"
    _fill(ResultsFolder(path, images, settings=_SETTINGS, rois=True), three, none)
    return path


def test_table(three):
    picture, objects = three
    table = table_of_objects(picture, objects)
    assert list(table.columns) == [
        *("label", "bbox-0", "bbox-1", "bbox-2", "bbox-3", "centroid-0", "centroid-1"),
        *("area", "intensity_mean", "probability", "z_what-0", "z_what-1"),
    ]
    # Boxes end after the last pixel: rows 0 and 1, columns 0 to 2.
    assert table.iloc[0, :9].tolist() == [1, 0, 0, 2, 3, 0.5, 1.0, 6, 100.0]
    # The hole counts for nothing.
    assert table.iloc[1, :9].tolist() == [2, 3, 4, 6, 7, 4.0, 5.0, 8, 200.0]
    assert table.iloc[2, :9].tolist() == [3, 6, 8, 8, 10, 6.5, 8.5, 2, 50.0]
    assert table["probability"].tolist() == objects.probability.tolist()
    assert table["z_what-1"].tolist() == [0.125, 0.375, 0.625]
    # Of colours, the mean: (100 + 0 + 20) / 3.
    colours = np.stack([picture, 0 * picture, 0 * picture + 20], axis=-1)
    assert table_of_objects(colours, objects)["intensity_mean"][0] == 40.0


def test_labels_of_other_objects_are_a_bug(three):
    picture, objects = three
    with pytest.raises(ValueError, match="pixels of every object"):
        table_of_objects(picture, objects._replace(labels=objects.labels % 3))


def test_counts_and_objects(written, three):
    counts = pd.read_csv(written / "counts.csv")
    columns = ["image", "count", "count_low", "count_high", "probability"]
    assert list(counts.columns) == columns
    assert counts.values.tolist() == [
        ["plate/a.png", 3, 2, 4, 0.75],
        ["plate/empty.png", 0, 0, 1, 0.75],
    ]
    # The empty picture has no row; the numbers are those of `table_of_objects`.
    found = pd.read_csv(written / "objects.csv")
    assert found.pop("image").tolist() == ["plate/a.png"] * 3
    expected = table_of_objects(*three)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-6)


def test_answers(written, three):
    answer = json.loads((written / "a.json").read_text())
    expected = table_of_objects(*three)
    table = pd.DataFrame(answer.pop("objects"))
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)
    assert answer == {
        "image": "plate/a.png",
        "height": 8,
        "width": 10,
        "count": 3,
        "count_low": 2,
        "count_high": 4,
        "count_probability": 0.75,
    }
    empty = json.loads((written / "empty.json").read_text())
    assert empty["count"] == 0 and set(empty["objects"]) == set(expected.columns)


def test_label_images(written, three):
    picture, objects = three
    read = tifffile.imread(written / "labels" / "a.tif")
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, objects.labels)
    regions = regionprops(read, picture)
    assert [region.area for region in regions] == [6, 8, 2]
    assert regions[1].bbox == (3, 4, 6, 7) and regions[1].euler_number == 0
    assert regions[2].intensity_mean == 50.0
    with Image.open(written / "labels" / "a.tif") as opened:
        np.testing.assert_array_equal(np.asarray(opened), objects.labels)
    assert not tifffile.imread(written / "labels" / "empty.tif").any()


def test_many_labels_need_32_bits(tmp_path):
    for most, dtype in ((65_535, np.uint16), (70_000, np.uint32)):
        labels = np.arange(most + 1, dtype=np.int32).reshape(1, -1)
        write_label_image(tmp_path / "x.tif", labels)
        read = tifffile.imread(tmp_path / "x.tif")
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, labels)


def _coco(path):
    """As pycocotools reads it, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_coco(written, three):
    coco = _coco(written / "coco.json")
    assert coco.loadCats(1) == [{"id": 1, "name": "object"}]
    assert coco.loadImgs([1, 2]) == [
        {"id": 1, "file_name": "plate/a.png", "height": 8, "width": 10},
        {"id": 2, "file_name": "plate/empty.png", "height": 5, "width": 6},
    ]
    assert coco.getAnnIds(imgIds=2) == []
    entries = coco.loadAnns(coco.getAnnIds(imgIds=1))
    labels = three[1].labels
    assert [entry["bbox"] for entry in entries] == [
        [0, 0, 3, 2],
        [4, 3, 3, 3],
        [8, 6, 2, 2],
    ]
    for number, entry in enumerate(entries, 1):
        runs = coco.annToRLE(entry)
        np.testing.assert_array_equal(mask_utils.decode(runs), labels == number)
        assert mask_utils.area(runs) == entry["area"]
        assert mask_utils.toBbox(runs).tolist() == entry["bbox"]
    assert [entry["score"] for entry in entries] == three[1].probability.tolist()


def test_coco_scores_what_it_found_as_perfect(written):
    """The annotations are results, too: compared with themselves, all are found."""
    truth = _coco(written / "coco.json")
    with contextlib.redirect_stdout(io.StringIO()):
        found = truth.loadRes(list(truth.anns.values()))
        for kind in ("bbox", "segm"):
            scores = COCOeval(truth, found, kind)
            scores.evaluate()
            scores.accumulate()
            scores.summarize()
            assert scores.stats[0] == pytest.approx(1.0)


def test_runs_of_any_mask(tmp_path):
    """pycocotools decodes the runs of random masks to the masks."""
    labels = np.random.default_rng(0).integers(0, 4, (7, 9)).astype(np.int32)
    objects = _objects(labels)
    answer = results.describe_picture("x", labels, objects)
    write_coco(tmp_path / "coco.json", [answer], lambda image: labels)
    coco = _coco(tmp_path / "coco.json")
    for number, entry in coco.anns.items():
        np.testing.assert_array_equal(coco.annToMask(entry), labels == number)


def test_rois(written):
    corner, ring, pair = roifile.roiread(written / "rois" / "a.zip")
    assert [roi.name for roi in (corner, ring, pair)] == ["1", "2", "3"]
    # Along the borders of pixels: x from 0 to 3, y from 0 to 2.
    assert corner.roitype == roifile.ROI_TYPE.TRACED and not corner.composite
    assert sorted(corner.coordinates().tolist()) == [[0, 0], [0, 2], [3, 0], [3, 2]]
    assert ring.composite and len(ring.coordinates(multi=True)) == 2
    assert (ring.left, ring.top, ring.right, ring.bottom) == (4, 3, 8, 7)
    outer, hole = (_area(line) for line in ring.coordinates(multi=True))
    assert (outer, hole) == (9.0, -1.0)
    assert sum(_area(line) for line in pair.coordinates(multi=True)) == 2.0
    assert roifile.roiread(written / "rois" / "empty.zip") == []


def _area(line):
    """Signed area of a closed line of (x, y), positive clockwise on a screen."""
    x, y = np.asarray(line, float).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def test_outlines_enclose_the_pixels():
    rng = np.random.default_rng(1)
    for _ in range(20):
        inside = rng.random((6, 7)) < 0.6
        lines = outlines(inside)
        assert sum(map(_area, lines)) == inside.sum()
    # Without points where a line goes straight on.
    (square,) = outlines(np.ones((3, 3), bool))
    assert len(square) == 4
    (bend,) = outlines(np.array([[1, 0], [1, 1]], bool))
    assert len(bend) == 6
    # polygon2mask asks for (row, column) of pixels' centres.
    drawn = polygon2mask((2, 2), bend[:, ::-1] - 0.5)
    np.testing.assert_array_equal(drawn, [[1, 0], [1, 1]])


def test_overlays(written, three):
    with Image.open(written / "a.png") as drawn:
        pixels = np.asarray(drawn)
    assert pixels.shape == (8, 10, 3)
    # The first object is red. Its pixel in the corner has no neighbour of another kind.
    assert pixels[1, 0].tolist() == pixels[0, 2].tolist() == [0xE6, 0x19, 0x4B]
    assert pixels[0, 0].tolist() == [121, 121, 121]  # 255 * (100 - 10) / (200 - 10)
    assert pixels[3, 4].tolist() == [0x3C, 0xB4, 0x4B]
    assert pixels[0, 9].tolist() == [0, 0, 0]  # The ground is darkest.


def test_pictures_are_stretched_to_be_looked_at():
    dark = np.linspace(100, 300, 1001).astype(np.uint16).reshape(7, 143)
    shown = np.asarray(to_shown(dark))
    assert shown.shape == (7, 143, 3)
    assert shown[0, 0, 0] == 0 and shown[-1, -1, 0] == 255
    assert abs(int(shown[3, 71, 1]) - 127) <= 1
    assert not np.asarray(to_shown(np.ones((4, 4)))).any()
    touching = np.array([[1, 1, 2, 2]])
    black = Image.new("RGB", (4, 1))
    assert np.asarray(draw_outlines(black, touching)).any(axis=-1).tolist() == [
        [False, True, True, False]
    ]


def test_pictures_of_one_name(tmp_path, three, none):
    """As in predictions of stretched pictures; and names of other files are taken."""
    assert unique_names(["x/a.png", "y/a.tif", "a_2.png"]) == ["a", "a_2", "a_2_2"]
    # Some file systems take both for one.
    assert unique_names(["a.png", "A.png"], ["B"]) == ["a", "A_2"]
    assert unique_names(["b.png"], ["B"]) == ["b_2"]
    images = ["x/a.png", "y/a.png", "coco.png", "./x/a.png"]
    folder = ResultsFolder(tmp_path, images, settings=_SETTINGS)
    files = [
        folder.add("x/a.png", *three),
        folder.add("y/a.png", *none),
        folder.add("coco.png", *none),
    ]
    assert [file.name for file in files] == ["a.json", "a_2.json", "coco_2.json"]
    assert folder.is_done("./x/a.png")
    folder.finish()
    found = pd.read_csv(tmp_path / "counts.csv")
    assert found["image"].tolist() == ["x/a.png", "y/a.png", "coco.png"]
    assert found["count"].tolist() == [3, 0, 0]
    assert len(_coco(tmp_path / "coco.json").anns) == 3


def test_interrupted_work_goes_on(tmp_path, three, none):
    first = ResultsFolder(tmp_path, ["b/a.png"], settings=_SETTINGS)
    first.add("b/a.png", *three)
    # One more picture, before the others: those that are done keep their names.
    images = ["a/a.png", "b/a.png", "c.png"]
    folder = ResultsFolder(tmp_path, images, settings=_SETTINGS)
    assert [folder.is_done(image) for image in images] == [False, True, False]
    assert folder.add("a/a.png", *none).name == "a_2.json"
    folder.finish()  # c.png can't be read.
    counts = pd.read_csv(tmp_path / "counts.csv")
    assert counts["image"].tolist() == ["b/a.png", "a/a.png"]
    # Regions are asked for later: a picture without them is not done.
    with_rois = ResultsFolder(tmp_path, images, settings=_SETTINGS, rois=True)
    assert not with_rois.is_done("b/a.png")
    with_rois.add("b/a.png", *three)
    assert with_rois.is_done("b/a.png") and (tmp_path / "rois" / "a.zip").exists()
    # Without them, those of an earlier answer must not stay.
    folder.add("b/a.png", *none)
    assert not (tmp_path / "rois" / "a.zip").exists()


def test_a_picture_that_changed_is_not_done(tmp_path, three):
    image = tmp_path / "a.png"
    image.write_text("")
    folder = ResultsFolder(tmp_path / "out", [image], settings=_SETTINGS)
    written = folder.add(image, *three).stat().st_mtime
    os.utime(image, (written - 9, written - 9))
    assert folder.is_done(image)
    os.utime(image, (written + 9, written + 9))
    assert not folder.is_done(image)
    image.unlink()
    assert folder.is_done(image)


def test_other_results_are_refused(written, three, none):
    before = {file: file.read_bytes() for file in written.rglob("*.*")}
    with pytest.raises(InputError, match=r"other settings \(threshold: 0.5, now 0.7\)"):
        ResultsFolder(written, ["b.png"], settings=_SETTINGS | {"threshold": 0.7})
    with pytest.raises(InputError, match=r"\(of another model file\); .*`overwrite`$"):
        ResultsFolder(written, ["b.png"], settings={"threshold": 0.5})
    assert {file: file.read_bytes() for file in written.rglob("*.*")} == before
    # What is replaced goes: nothing of other settings is left among the new results.
    (written / "notes.txt").write_text("mine")
    folder = ResultsFolder(written, ["plate/a.png"], settings={}, overwrite=True)
    files = {file.name for file in written.rglob("*.*")}
    assert files == {"results.json", "notes.txt"}
    assert not folder.is_done("plate/a.png")


def test_files_of_other_programs_are_refused(tmp_path):
    for name in ("counts.csv", "a.png", "labels/a.tif"):
        path = tmp_path / name.replace("/", "_")
        (path / "labels").mkdir(parents=True)
        (path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name} exists; expected another"):
            ResultsFolder(path, ["x/a.png"], settings=_SETTINGS)
        assert not (path / "results.json").exists()
    manifest = tmp_path / "results.json"
    for names in ('["a"]', '{"x": "../../a"}'):
        manifest.write_text(f'{{"settings": {{}}, "names": {names}}}')
        with pytest.raises(InputError, match=r"results\.json is not of air_tf"):
            ResultsFolder(tmp_path, ["a.png"], settings={}, overwrite=True)
    with pytest.raises(InputError, match="can't be read"):
        ResultsFolder("x" * 5000, ["a.png"], settings={})


def test_pictures_are_never_replaced(tmp_path):
    (tmp_path / "labels").mkdir()
    for image in (tmp_path / "a.png", tmp_path / "labels" / "a.tif"):
        # Of pictures in memory, it is a name like others.
        ResultsFolder(tmp_path, [image], settings={})
        image.write_text("")
        with pytest.raises(InputError, match=r"output_dir .* holds the picture .*/a\."):
            ResultsFolder(tmp_path, [image], settings={}, overwrite=True)
        image.unlink()


@pytest.mark.parametrize("full", ["b.tif", "b.zip", "b.png", "b.json"])
def test_a_full_disk_leaves_what_is_complete(tmp_path, three, none, monkeypatch, full):
    images = ["a.png", "b.png"]

    def new_folder():
        return ResultsFolder(tmp_path, images, settings=_SETTINGS, rois=True)

    folder = new_folder()
    folder.add("a.png", *none)
    replace = os.replace

    def refuse(source, target):
        if os.path.basename(target) == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OutputError, match=f"{full}: can't be written \\(No space"):
            folder.add("b.png", *three)
    assert not list(tmp_path.rglob(".new-*"))
    # The same again, with space.
    folder = new_folder()
    assert folder.is_done("a.png") and not folder.is_done("b.png")
    folder.add("b.png", *three)
    folder.finish()
    assert pd.read_csv(tmp_path / "counts.csv")["count"].tolist() == [0, 3]


def test_a_full_disk_keeps_old_tables(written, monkeypatch):
    before = (written / "objects.csv").read_bytes()

    def refuse(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = ResultsFolder(written, [], settings=_SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", refuse)
        with pytest.raises(OutputError, match=r"objects\.csv: can't be written"):
            folder.finish()
    assert (written / "objects.csv").read_bytes() == before
    folder.finish()
    assert (written / "objects.csv").read_bytes() == before


def test_no_picture_could_be_read(tmp_path):
    ResultsFolder(tmp_path, ["a.png"], settings=_SETTINGS).finish()
    assert pd.read_csv(tmp_path / "counts.csv").empty
    assert "probability" in pd.read_csv(tmp_path / "objects.csv").columns
    assert _coco(tmp_path / "coco.json").anns == {}


def test_a_missing_package_is_named(tmp_path, three, monkeypatch):
    monkeypatch.setitem(extras._MODULES, "imagej", ("no_such_package",))
    words = r"no_such_package is not installed; expected pip install 'air_tf\[imagej\]'"
    with pytest.raises(InputError, match=words):
        ResultsFolder(tmp_path / "out", ["a.png"], settings={}, rois=True)
    assert not (tmp_path / "out").exists()
    ResultsFolder(tmp_path / "out", ["a.png"], settings={}).add("a.png", *three)
