import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from air_tf.errors import InputError, OutputError, ServerError
from air_tf.inference import predict
from air_tf.inference.printing import report_predictions
from air_tf.inference.results.label_images import labels_of_scene
from air_tf.structs import Scenes


def _scenes(count):
    """One scene of at most two objects."""
    boxes = np.array([[[0.0, 0.25, 0.5, 0.75], [0.5, 0.5, 1.0, 1.0]]])
    present = np.arange(2) < count
    return Scenes(
        num_objects=np.array([count]),
        num_objects_probs=np.eye(3)[[count]],
        boxes=boxes * present[:, np.newaxis],
        presence=present[np.newaxis].astype(float),
        presence_probs=present[np.newaxis].astype(float),
        z_where=np.ones((1, 2, 3)),
        z_what=np.ones((1, 2, 4)),
        canvas=np.zeros((1, 8, 8, 1)),
        mask=np.zeros((1, 2, 8, 8)),
        ground=np.zeros((1, 8, 8, 1)),
        num_trips=np.array([2]),
    )


def _one_object(path, picture):
    return _scenes(1)


@pytest.fixture
def pictures(tmp_path):
    """Two pictures of the same name, and a file that is none."""
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "a.png"
        Image.new("RGB", (40, 20)).save(path)
        paths.append(str(path))
    (tmp_path / "b.png").write_text("no picture")
    return [paths[0], str(tmp_path / "b.png"), paths[1]]


def test_answers_come_one_by_one(pictures):
    asked = []

    def infer(path, picture):
        asked.append(path)
        assert picture.mode == "RGB" and picture.size == (40, 20)
        return _scenes(len(asked))

    predictions = predict.predict_files(infer, pictures)
    assert asked == []
    first = next(predictions)
    assert asked == [pictures[0]]
    assert first.path == pictures[0] and first.file is first.error is None
    assert first.answer == {
        "image": pictures[0],
        "height": 20,
        "width": 40,
        "count": 1,
        "count_probabilities": [0.0, 1.0, 0.0],
        "box_format": ["ymin", "xmin", "ymax", "xmax"],
        "boxes": [[0.0, 0.25, 0.5, 0.75]],
        "boxes_in_pixels": [[0.0, 10.0, 10.0, 30.0]],
        "presence_probs": [1.0],
        "z_where": [[1.0] * 3],
        "z_what": [[1.0] * 4],
    }
    broken, last = predictions
    assert broken.path == pictures[1] and broken.answer is None
    assert isinstance(broken.error, InputError)
    assert "b.png: not a PNG or JPEG picture" in str(broken.error)
    assert last.answer["count"] == 2 and len(last.answer["boxes"]) == 2


def test_files(pictures, tmp_path):
    folder = tmp_path / "out"
    found = list(predict.predict_files(_one_object, pictures, folder))
    assert [p.file for p in found] == [folder / "a.json", None, folder / "a_2.json"]
    names = {path.name for path in folder.iterdir()}
    assert names == {"a.json", "a.png", "a_2.json", "a_2.png"}
    for prediction in (found[0], found[2]):
        assert json.loads(prediction.file.read_text()) == prediction.answer
        with Image.open(prediction.file.with_suffix(".png")) as drawn:
            assert drawn.size == (40, 20)
            assert drawn.getpixel((10, 0)) == (0xE6, 0x19, 0x4B)  # corner of the box
            assert drawn.getpixel((20, 5)) == (0, 0, 0)  # inside


def test_existing_files_are_refused_before_any_work(pictures, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_2.png").write_text("")

    def infer(path, picture):
        raise AssertionError("called")

    # Without reading the iterator.
    with pytest.raises(InputError, match=r"a_2\.png exists; .* or `overwrite`"):
        predict.predict_files(infer, pictures, tmp_path / "out")
    found = predict.predict_files(
        _one_object, pictures, tmp_path / "out", overwrite=True
    )
    assert len([p for p in found if p.error is None]) == 2


def test_label_images(pictures, tmp_path):
    """An object that hides half of another one, on a canvas of 1 x 4 pixels."""
    mask = np.zeros((1, 2, 1, 4))
    mask[0, 0, 0] = [1.0, 0.7, 0.2, 0.0]
    mask[0, 1, 0] = [0.0, 0.3, 0.5, 0.5]

    def infer(path, picture):
        return _scenes(2)._replace(mask=mask)

    # The third pixel shows more of the second object than of the ground, 0.3; half of
    # the last one is ground.
    np.testing.assert_array_equal(
        labels_of_scene(infer(None, None), height=1, width=4), [[1, 1, 2, 0]]
    )
    folder = tmp_path / "out"
    list(predict.predict_files(infer, pictures, folder, label_images=True))
    names = {path.name for path in (folder / "labels").iterdir()}
    assert names == {"a.tif", "a_2.tif"}
    # Stretched to the picture of 20 x 40 pixels.
    labels = tifffile.imread(folder / "labels" / "a.tif")
    assert labels.shape == (20, 40) and set(labels[:, 5]) == {1}
    with pytest.raises(InputError, match=r"labels/a\.tif exists"):
        (folder / "a.json").unlink()
        (folder / "a.png").unlink()
        predict.predict_files(infer, pictures[:1], folder, label_images=True)


def test_errors_of_inference_and_of_writing(pictures, tmp_path, monkeypatch):
    def refused(path, picture):
        raise InputError("refused")

    first, *_ = predict.predict_files(refused, pictures)
    assert isinstance(first.error, InputError)

    def unreachable(path, picture):
        raise ServerError("no answer")

    # The server would fail for the others, too.
    with pytest.raises(ServerError):
        next(predict.predict_files(unreachable, pictures))

    def full(path, value):
        raise OutputError(f"{path}: can't be written")

    monkeypatch.setattr(predict, "write_json", full)
    first, *_ = predict.predict_files(_one_object, pictures, tmp_path / "out")
    assert isinstance(first.error, OutputError) and first.answer is None

    def bug(path, picture):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        list(predict.predict_files(bug, pictures))


def test_what_is_printed(pictures, tmp_path, capsys):
    def as_text(error):
        return f"<{error}>"

    predictions = predict.predict_files(_one_object, pictures)
    assert not report_predictions(predictions, as_text)
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["image"] for answer in answers] == [pictures[0], pictures[2]]
    assert err.startswith(f"error: <{pictures[1]}: not a PNG") and err.count("\n") == 1
    folder = tmp_path / "out"
    predictions = predict.predict_files(_one_object, pictures[:1], folder)
    assert report_predictions(predictions, as_text)
    out, err = capsys.readouterr()
    assert out == f"{pictures[0]}: 1 objects, in {folder / 'a.json'}\n" and not err


def test_errors_are_printed_when_they_come(pictures, capsys):
    def infer(path, picture):
        if path == pictures[2]:
            assert "b.png: not a PNG" in capsys.readouterr().err
        return _scenes(1)

    report_predictions(predict.predict_files(infer, pictures), str)


def test_needs_no_framework():
    """Edge devices have numpy and Pillow."""
    code = (
        "import sys; import air_tf.inference.printing, air_tf.visualization.drawing, "
        "air_tf.data.user_images, air_tf.inference.results.folder; "
        "print({'tensorflow', 'keras', 'h5py', 'absl', 'scipy', 'pandas', 'skimage', "
        "'tifffile'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
