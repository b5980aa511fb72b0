"""Answers about objects on a table: JSON, the table of all pictures, and refusals."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from air_tf.config import AIR3DConfig, AIRConfig
from air_tf.config.tabletop import TABLETOPS
from air_tf.errors import InputError, OutputError
from air_tf.inference import predict, tabletop
from air_tf.inference.tabletop import COLUMNS, TABLE, kinds_of
from air_tf.structs import Kinds, Scenes3D, TabletopScenes

_KINDS = Kinds(("cube", "ball", "cup"), (4, 0, 1))


def _found(kind, yaw):
    """One picture with an object of each of these kinds; yaws in degrees."""
    n, steps = len(kind), 3
    index = np.arange(steps)
    present = (index < n).astype(np.float32)
    kinds = np.zeros(steps, np.int32)
    kinds[:n] = kind
    yaws = np.zeros(steps)
    yaws[:n] = np.deg2rad(yaw)
    place = np.stack([0.1 * index, -0.2 * index], axis=-1)
    edge = np.array([0.1, 0.2, 0.6, 0.7])
    scenes = Scenes3D(
        num_objects=np.array([n]),
        num_objects_probs=np.eye(steps + 1)[[n]],
        boxes=(present[:, None] * edge)[None],
        presence=present[None],
        presence_probs=0.9 * present[None],
        kind=kinds[None],
        kind_probs=(0.1 + 0.7 * np.eye(3)[kinds])[None],
        position=place[None],
        position_scale=np.full((1, steps, 2), 0.01),
        yaw=yaws[None],
        yaw_scale=np.full((1, steps), np.deg2rad(5.0)),
        mask=None,
        num_trips=np.array([steps]),
    )
    return TabletopScenes(scenes, _KINDS)


@pytest.fixture
def pictures(tmp_path):
    paths = [str(tmp_path / f"{name}.png") for name in "abc"]
    for path in paths:
        Image.new("RGB", (40, 20)).save(path)
    return paths


def test_the_answer_names_kinds_and_measures_in_degrees():
    answer = predict.describe("a", Image.new("RGB", (10, 20)), _found([0, 1], [30, 0]))
    assert answer.pop("yaws") == [pytest.approx(30.0), None]
    assert answer.pop("yaw_scales") == [pytest.approx(5.0), None]
    assert answer == {
        "image": "a",
        "height": 20,
        "width": 10,
        "count": 2,
        "count_probabilities": [0.0, 0.0, 1.0, 0.0],
        "box_format": ["ymin", "xmin", "ymax", "xmax"],
        "boxes": [[pytest.approx(x) for x in (0.1, 0.2, 0.6, 0.7)]] * 2,
        "boxes_in_pixels": [[pytest.approx(x) for x in (2.0, 2.0, 12.0, 7.0)]] * 2,
        "presence_probs": [pytest.approx(0.9)] * 2,
        "kinds": ["cube", "ball"],
        "kind_probabilities": [
            {"cube": pytest.approx(0.8), "ball": 0.1, "cup": 0.1},
            {"cube": 0.1, "ball": pytest.approx(0.8), "cup": 0.1},
        ],
        "positions": [[0.0, 0.0], [0.1, -0.2]],
        "position_scales": [[0.01, 0.01]] * 2,
    }


@pytest.mark.parametrize(
    "kind, yaw, wanted",
    [
        (0, 10, 10),
        (0, 100, 10),  # a cube looks the same after 90 degrees
        (0, -80, 10),
        (0, 50, -40),
        (2, 100, 100),
        (2, 190, -170),
        (2, -350, 10),
        (1, 10, None),  # a ball from all sides
    ],
)
def test_yaws_are_those_closest_to_0_that_look_the_same(kind, yaw, wanted):
    answer = predict.describe("a", Image.new("RGB", (4, 4)), _found([kind], [yaw]))
    (found,) = answer["yaws"]
    assert found == (wanted if wanted is None else pytest.approx(wanted))


def test_kinds_are_those_of_the_scene():
    assert kinds_of(AIRConfig()) is None
    assert kinds_of(AIR3DConfig(tabletop=TABLETOPS["one"])) == Kinds(
        ("cube", "sphere", "cylinder"), (4, 0, 2)
    )


def _infer(path, picture):
    """Two objects in a.png, none in b.png, one in c.png."""
    return {
        "a": _found([0, 1], [10, 0]),
        "b": _found([], []),
        "c": _found([2], [-90]),
    }[path[-5]]


def test_the_table_has_what_the_json_files_have(pictures, tmp_path):
    folder = tmp_path / "out"
    predictions = predict.predict_files(_infer, pictures, folder)
    found = []
    for prediction in predictions:
        found.append(prediction)
        assert not (folder / TABLE).exists()  # written when all are done
    assert [p.answer["count"] for p in found] == [2, 0, 1]
    with open(folder / TABLE, newline="", encoding="utf-8") as file:
        assert file.readline().rstrip("\r\n") == ",".join(COLUMNS)
        file.seek(0)
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["object"]) for row in rows] == [
        (pictures[0], "0"),
        (pictures[0], "1"),
        (pictures[2], "0"),
    ]
    answers = [json.loads(p.file.read_text()) for p in found]
    for row, answer, i in zip(
        rows, (*answers[:1] * 2, answers[2]), (0, 1, 0), strict=True
    ):
        kind = answer["kinds"][i]
        wanted = [
            answer["kind_probabilities"][i][kind],
            *answer["positions"][i],
            *answer["position_scales"][i],
            answer["yaws"][i],
            answer["yaw_scales"][i],
            answer["presence_probs"][i],
            *answer["boxes"][i],
        ]
        assert row["kind"] == kind
        # Every digit of a number comes back.
        values = [float(row[name]) if row[name] else None for name in COLUMNS[3:]]
        assert values == wanted
    assert [row["yaw_degrees"] for row in rows[1:2]] == [""]
    assert not list(folder.glob(".new-*"))


def test_a_table_without_objects_has_a_head(pictures, tmp_path):
    list(predict.predict_files(_infer, pictures[1:2], tmp_path / "out"))
    lines = (tmp_path / "out" / TABLE).read_text().splitlines()
    assert lines == [",".join(COLUMNS)]


def test_an_existing_table_is_refused_before_anything_is_written(pictures, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / TABLE).write_text("mine")
    (tmp_path / "broken.png").write_text("no picture")
    predictions = predict.predict_files(
        _infer, [str(tmp_path / "broken.png"), *pictures], folder
    )
    # Of a picture that is none, there is no answer that tells about a table.
    assert next(predictions).error is not None
    with pytest.raises(InputError, match=r"objects\.csv exists; .* or `overwrite`"):
        next(predictions)
    assert [path.name for path in folder.iterdir()] == [TABLE]
    assert (folder / TABLE).read_text() == "mine"
    list(predict.predict_files(_infer, pictures, folder, overwrite=True))
    assert (folder / TABLE).read_text().count("\n") == 4


def test_a_picture_that_is_not_written_is_not_in_the_table(
    pictures, tmp_path, monkeypatch
):
    def full(path, value):
        raise OutputError(f"{path}: can't be written")

    with monkeypatch.context() as patch:
        predictions = predict.predict_files(_infer, pictures, tmp_path / "out")
        patch.setattr(predict, "write_json", full)
        assert isinstance(next(predictions).error, OutputError)
    assert [p.error for p in predictions] == [None, None]
    text = (tmp_path / "out" / TABLE).read_text()
    assert "a.png" not in text and "c.png" in text


def test_a_table_that_cannot_be_written(pictures, tmp_path, monkeypatch):
    predictions = predict.predict_files(_infer, pictures[:1], tmp_path / "out")
    assert next(predictions).error is None

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tabletop.csv, "writer", full)
    with pytest.raises(OutputError, match=r"objects\.csv: can't be .* \(No space"):
        next(predictions)


@pytest.mark.parametrize(
    "size, fits",
    [
        ((64, 48), True),
        ((640, 480), True),
        ((100, 74), True),  # 1.3 % wider
        ((100, 76), True),  # 1.3 % narrower
        ((100, 73), False),  # 2.7 % wider
        ((100, 77), False),
        ((48, 64), False),
        ((64, 64), False),
    ],
)
def test_pictures_of_another_camera_are_refused(size, fits):
    seen = []

    def infer(images):
        seen.append(images.shape)
        return _found([0], [0]).scenes

    shape = (24, 32, 3)
    picture = Image.new("RGB", size)
    of_table = predict.of_pictures(infer, shape, _KINDS)
    if fits:
        assert of_table("a.png", picture).kinds == _KINDS
    else:
        with pytest.raises(InputError, match=r"a\.png: .* camera, 4:3, to within 2%"):
            of_table("a.png", picture)
    # Other models stretch pictures.
    predict.of_pictures(infer, shape)("a.png", picture)
    assert seen == [(1, *shape)] * (1 + fits)
