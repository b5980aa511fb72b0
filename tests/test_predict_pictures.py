"""From files of pictures to a folder of results, whatever files there are."""

import csv
import functools
import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from air_tf.config import PictureConfig
from air_tf.errors import InputError, OutputError
from air_tf.inference.predict_pictures import predict_pictures
from air_tf.inference.printing import report_predictions
from air_tf.structs import Scenes

_SETTINGS = PictureConfig(
    object_size=(6, 14), polarity="bright", levels=(0.0, 1.0), sharpening=0.0
)
_SHAPE = (32, 32)


class _Model:
    """Finds connected pixels, and remembers how many windows it saw."""

    def __init__(self):
        self.seen = 0

    def __call__(self, windows):
        self.seen += len(windows)
        masks = np.zeros((len(windows), 9, *_SHAPE), np.float32)
        counts = np.zeros(len(windows), np.int32)
        for i, window in enumerate(windows[..., 0]):
            labels, counts[i] = ndimage.label(window > 100)
            for t in range(counts[i]):
                masks[i, t] = labels == t + 1
        present = (np.arange(9) < counts[:, np.newaxis]).astype(float)
        empty = np.zeros((len(windows), 1))
        return Scenes(
            num_objects=counts,
            num_objects_probs=empty,
            boxes=empty,
            presence=present,
            presence_probs=0.9 * present,
            z_where=empty,
            z_what=np.ones((len(windows), 9, 2)),
            canvas=windows / 255.0,
            mask=masks,
            ground=np.zeros(windows.shape),
            num_trips=counts,
        )


def _picture(number):
    """A picture of 40 x 80 pixels with that many squares of 10 x 10 pixels."""
    picture = np.full((40, 80), 5, np.uint8)
    for i in range(number):
        picture[10:20, 5 + 25 * i : 15 + 25 * i] = 150
    return picture


@pytest.fixture
def plate(tmp_path):
    """Good pictures of several kinds, and bad ones."""
    folder = tmp_path / "plate"
    folder.mkdir()
    Image.fromarray(_picture(1)).save(folder / "a.png")
    tifffile.imwrite(folder / "a.tif", _picture(2).astype(np.uint16) * 257)
    Image.fromarray(_picture(3)).convert("RGBA").save(folder / "c.png")
    (folder / "broken.tif").write_bytes(b"II*\0 no picture")
    Image.fromarray(_picture(0)[:9, :9]).save(folder / "small.png")
    return folder


def _predict(plate, output_dir, **settings):
    settings = {"model": {"model": "abc"}, **settings}
    model = _Model()
    found = predict_pictures(model, _SETTINGS, _SHAPE, [plate], output_dir, **settings)
    return [(p.path.rpartition("/")[2], p.answer, p.error) for p in found], model.seen


def test_bad_pictures_are_named_and_the_others_counted(plate, tmp_path):
    found, _ = _predict(plate, tmp_path / "out")
    counts = {name: answer and answer["count"] for name, answer, _ in found}
    assert counts == {
        "a.png": 1,
        "a.tif": 2,
        "broken.tif": None,
        "c.png": 3,
        "small.png": None,
    }
    errors = {name: str(error) for name, _, error in found if error}
    assert "broken.tif: can't be read" in errors["broken.tif"]
    assert "small.png: has 9x9 pixels; expected sides of at" in errors["small.png"]
    with open(tmp_path / "out" / "counts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # Equal names are told apart by their paths.
    assert [(row["image"], row["count"]) for row in rows] == [
        (str(plate / "a.png"), "1"),
        (str(plate / "a.tif"), "2"),
        (str(plate / "c.png"), "3"),
    ]
    with open(tmp_path / "out" / "objects.csv", newline="") as file:
        boxes = [
            [int(row[f"bbox-{i}"]) for i in range(4)] for row in csv.DictReader(file)
        ]
    np.testing.assert_allclose(boxes[1:3], [[10, 5, 20, 15], [10, 30, 20, 40]], atol=1)


def test_interrupted_work_goes_on(plate, tmp_path, monkeypatch):
    """A full disk at the third picture: what is complete stays."""
    from air_tf.inference.results import folder

    def full(path, value):
        if path.stem == "c":
            raise OutputError(f"{path}: can't be written (No space left on device)")
        return write(path, value)

    write = folder.write_json
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_json", full)
        found, seen = _predict(plate, tmp_path / "out")
    assert "No space left" in str(found[3][2])
    assert json.loads((tmp_path / "out" / "a.json").read_text())["count"] == 1
    # Each picture has 2 x 4 windows, of which those are seen whose cells are not dark:
    # 2 for the first square, 4 more for the second, 2 more for the third.
    assert seen == 2 + 6 + 8
    found, seen = _predict(plate, tmp_path / "out")
    assert seen == 8 and [bool(answer) for _, answer, _ in found] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert (tmp_path / "out" / "counts.csv").read_text().count("\n") == 4
    _, seen = _predict(plate, tmp_path / "out")
    assert seen == 0


def test_results_of_another_model_are_refused(plate, tmp_path):
    _predict(plate, tmp_path / "out")
    with pytest.raises(InputError, match="other settings \\(of another model file\\)"):
        _predict(plate, tmp_path / "out", model={"model": "def"})
    _, seen = _predict(plate, tmp_path / "out", model={"model": "d"}, overwrite=True)
    assert seen == 16


def test_without_a_folder_nothing_is_written(plate, tmp_path):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    found, _ = _predict(plate, None)
    assert [answer["count"] for _, answer, _ in found if answer] == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plate"]


def test_numbers_that_no_training_picture_had_are_said_once(tmp_path, caplog):
    for i in range(8):  # 8 bits, kept in 16
        tifffile.imwrite(tmp_path / f"{i}.tif", _picture(i).astype(np.uint16))
    _predict(tmp_path, None)
    first, others = caplog.messages
    assert "0.tif: no object is found. Its intensities go from" in first
    names = ", ".join(str(tmp_path / f"{i}.tif") for i in range(1, 6))
    assert others.endswith(f"the training pictures, in: {names} and 2 more")


def test_what_was_there_before_is_told(plate, tmp_path, capsys):
    predict = functools.partial(
        predict_pictures, _Model(), _SETTINGS, _SHAPE, [plate / "a.png"], tmp_path / "o"
    )
    for _ in range(2):
        report_predictions(predict(model={}), str)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("1 objects, in " + str(tmp_path / "o" / "a.json"))
    assert second == first + ", as before"
