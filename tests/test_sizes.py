"""Counts of objects of other sizes than those of the training."""

import pytest

from air_tf.errors import InputError
from air_tf.runs import RunDir
from benchmarks import sizes


def test_counts_by_size(monkeypatch):
    """A model of one size loses digits of twice the size."""
    monkeypatch.setattr(sizes, "_SIZES", (1.0, 2.0))
    monkeypatch.setattr(sizes, "_NUM_SCENES", 64)
    result = sizes.benchmark_sizes(RunDir("pretrained:default"))
    usual, large = result["sizes"].values()
    assert usual["count_accuracy"] >= 0.95 > 0.8 > large["count_accuracy"]
    assert list(large["by_count"]) == [0, 1, 2] and large["by_count"][0] == 1.0
    assert large["height"] == pytest.approx(2 * usual["height"], rel=0.15)
    text = sizes.format_sizes(result)
    assert "# default, 64 test scenes" in text
    assert f"| {large['count_accuracy']:.1%}" in text


@pytest.mark.parametrize("dataset", ["sprites", "file"])
def test_other_scenes_are_refused(dataset):
    with pytest.raises(InputError, match=f"is a run on {dataset}; expected"):
        sizes._builder(dataset, "", None)
