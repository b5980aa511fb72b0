"""The comparison on real pictures, with pictures of discs whose truth is known."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from air_tf.errors import InputError

pytest.importorskip("skimage")

from studies.real_pictures import classical, compare, tables
from studies.real_pictures.measure import Found, Pictures, Store, measure
from studies.real_pictures.tuning import tune

_SIZE = (48, 64)


def _discs(*discs):
    """A picture and its labels: discs (y, x, radius), bright on dark."""
    y, x = np.mgrid[: _SIZE[0], : _SIZE[1]]
    labels = np.zeros(_SIZE, np.uint16)
    for number, (row, column, radius) in enumerate(discs, 1):
        labels[np.hypot(y - row, x - column) <= radius] = number
    return np.where(labels > 0, 200, 10).astype(np.uint8), labels


def test_stretch_maps_percentiles():
    """Of 0 to 1,000 the percentiles are 10 and 998: 504 lies in the middle."""
    stretched = classical.stretch(np.arange(1001).reshape(7, 143))
    some = stretched.ravel()[[0, 10, 504, 998, 1000]]
    np.testing.assert_allclose(some, [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(classical.stretch(np.full((4, 4), 7)), 0)


def test_a_watershed_parts_discs_that_touch():
    image, labels = _discs((20, 16, 8), (20, 30, 8), (38, 50, 5))
    image = classical.stretch(image)
    one = classical.otsu_components(image, smooth=0.0, factor=1.0, min_area=0)
    assert one.dtype == np.int32 and one.max() == 2
    assert np.array_equal(one > 0, labels > 0)
    watershed = {"smooth": 0.0, "distance_smooth": 1.0, "min_distance": 5}
    two = classical.otsu_watershed(image, factor=1.0, min_area=0, **watershed)
    three = classical.local_watershed(
        image, window=41, offset=0.02, floor=0.5, min_area=0, **watershed
    )
    pictures = Pictures(["a"], image[None], labels[None])
    for found in (two, three):
        score = measure(pictures, found[None]).score
        assert (score.masks.found, score.masks.matched) == (3, 3)
        np.testing.assert_array_equal(score.by_neighbours[:2], [[1, 1, 1], [2, 2, 2]])
    # The small one has 81 pixels.
    few = classical.otsu_watershed(image, factor=1.0, min_area=82, **watershed)
    np.testing.assert_array_equal(np.unique(few), [0, 1, 2])


def test_nothing_is_found_in_a_picture_of_one_intensity():
    image = classical.stretch(np.full(_SIZE, 9))
    for method in classical.METHODS.values():
        assert method.find(image, **method.start).max() == 0


def test_blobs_have_the_size_of_discs():
    """The response to a disc is largest at the scale radius / sqrt(2)."""
    image, labels = _discs((20, 20, 8), (20, 45, 8))
    found = classical.blob_log(
        classical.stretch(image), min_sigma=3, max_sigma=9, threshold=0.1, overlap=0.5
    )
    figures = measure(Pictures(["a"], image[None], labels[None]), found[None])
    assert figures.score.masks.f1 == 1
    assert np.count_nonzero(found) == pytest.approx(np.count_nonzero(labels), rel=0.2)


def test_starts_are_values():
    for method in classical.METHODS.values():
        assert set(method.start) == set(method.values)
        for name, values in method.values.items():
            assert list(values) == sorted(values)
            assert method.start[name] in values


def test_tuning_finds_a_maximum():
    """-(a - 3)^2 - (b - a)^2 / 4: walks along single settings must be repeated."""
    values = {"a": range(8), "b": range(8)}
    tuned = tune(
        lambda s: -((s["a"] - 3) ** 2) - (s["b"] - s["a"]) ** 2 / 4,
        values,
        {"a": 0, "b": 7},
        {},
    )
    assert (tuned.settings, tuned.value, tuned.at_edge) == ({"a": 3, "b": 3}, 0, [])
    assert tuned.tried < 64


def test_tuning_says_what_lies_at_an_edge():
    values = {"a": (0, 1, 2), "b": (0, 1, 2), "c": (0, 1, 2)}
    tuned = tune(
        lambda s: s["a"] - s["b"] - s["c"], values, dict.fromkeys(values, 1), {"c": 0}
    )
    assert tuned.settings == {"a": 2, "b": 0, "c": 0}
    assert tuned.at_edge == ["a", "b"]  # of c, nothing lies beyond


def test_a_store_runs_a_method_once(tmp_path):
    labels = np.arange(6, dtype=np.uint16).reshape(1, 2, 3)

    def run():
        return Found(labels, 0.5, 0.25), {"settings": {"a": 1}}

    def fail():
        raise AssertionError

    for what in (run, fail):
        found, details = Store(tmp_path).get("a, b", what)
        np.testing.assert_array_equal(found, labels)
        assert details["seconds"] == 0.5 and details["settings"] == {"a": 1}


class _Threshold:
    """A counter that finds what is brighter than 100, if its seed is even."""

    def __init__(self, seed):
        self.seed = seed

    trainings = 0

    def fit(self, images):
        assert len(images) == 3
        _Threshold.trainings += 1
        return self

    def segment(self, image):
        _, labels = _discs((20, 16, 8))
        return labels.astype(np.int32) * (self.seed % 2 == 0)

    def save(self, path):
        path.mkdir()

    def load(self, path):
        assert path.is_dir()
        return self


@pytest.fixture
def pictures(monkeypatch):
    """Three pictures for training, three for testing; one method with few values."""
    of = [_discs((20, 16, 8)), _discs((20, 16, 8), (20, 45, 4)), _discs()]
    images, labels = map(np.stack, zip(*of, strict=True))
    found = Pictures(["a", "b", "c"], images, labels)
    monkeypatch.setattr(compare, "load_pictures", lambda *args: found)
    method = classical.METHODS["Otsu, components"]
    values = {"smooth": (0.0, 1.0), "factor": (0.9, 1.0, 1.1), "min_area": (0, 20)}
    method = method._replace(values=values)
    monkeypatch.setattr(classical, "METHODS", {"Otsu, components": method})
    return found


def _compare(folder, counter=_Threshold, **changes):
    settings = {"seeds": [0, 1], "object_size": (5, 20), "tuning_pictures": 2}
    return compare.compare_pictures(
        "nuclei", folder, new_counter=counter, **{**settings, **changes}
    )


def test_comparison(tmp_path, pictures):
    rows, test = _compare(tmp_path)
    otsu, even, odd = rows
    assert (otsu.seed, even.seed, odd.seed) == (None, 0, 1)
    # Three discs; the counter finds one in each picture, of which two are there.
    assert otsu.figures.score.boxes.f1 == 1 and otsu.figures.counts.exact == 1
    assert even.figures.score.boxes.f1 == pytest.approx(2 * 2 / (3 + 3))
    assert even.figures.counts.mean_absolute == pytest.approx(2 / 3)
    np.testing.assert_allclose(even.figures.f1_of_pictures, [1, 2 / 3, 0])
    assert odd.figures.score.boxes.f1 == 0 and odd.figures.counts.bias == -1

    text = tables.save_results(tmp_path, rows, test)
    assert "| Otsu, components         | 0.00 " in text
    assert "| air_tf, worst of 2 seeds | 1.00 " in text
    assert "| air_tf, mean             | 0.83 " in text
    assert (tmp_path / "real_pictures.md").read_text() == text
    lines = (tmp_path / "real_pictures.csv").read_text().splitlines()
    assert len(lines) == 4 and lines[2].startswith("air_tf,0,0.666")
    assert (tmp_path / "real_pictures.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "air_tf-5-20-seed-1").is_dir()


def test_comparison_resumes(tmp_path, pictures):
    first, _ = _compare(tmp_path, seeds=[0])

    def fail(seed):
        raise AssertionError

    second, _ = _compare(tmp_path, counter=fail, seeds=[0])
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.details == other.details
    # Without what it found, a trained counter is applied again.
    (tmp_path / "air_tf-5-20-seed-0.json").unlink()
    before = _Threshold.trainings
    third, _ = _compare(tmp_path, seeds=[0])
    assert _Threshold.trainings == before
    assert third[1].details["training_seconds"] == first[1].details["training_seconds"]
    with pytest.raises(InputError, match="tuning_pictures is 3; expected 2"):
        _compare(tmp_path, tuning_pictures=3)


def test_classical_methods_alone(tmp_path, pictures):
    rows, test = _compare(tmp_path, counter=None)
    assert [row.name for row in rows] == ["Otsu, components"]
    assert "air_tf" not in tables.save_results(tmp_path, rows, test)


def test_another_dataset_is_refused():
    with pytest.raises(InputError, match="dataset is 'sprites'; expected nuclei"):
        compare.load_pictures("sprites", "test", None)


def test_sizes_are_two_numbers(tmp_path):
    script = pathlib.Path(__file__).parents[1] / "scripts" / "real_pictures.py"
    flags = ["--object_size=5", f"--output_dir={tmp_path}"]
    result = subprocess.run(
        [sys.executable, str(script), *flags], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "error: --object_size is '5'; expected two numbers" in result.stderr
