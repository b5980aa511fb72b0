"""What explaining images again changes, and what it costs."""

import pytest

from air_tf.errors import InputError
from air_tf.runs import load_images
from air_tf.structs import ImageSet
from benchmarks import explanations


def test_what_explaining_again_changes_is_measured(learnt_run, monkeypatch):
    """Of three batches, the last of them not full."""

    def load_some(config, splits, **given):
        images = load_images(config, splits, **given)["test"]
        return {
            "test": ImageSet(images=images.images[:140], counts=images.counts[:140])
        }

    monkeypatch.setattr(explanations, "load_images", load_some)
    monkeypatch.setattr(explanations, "_BATCH_SIZE", 60)
    monkeypatch.setattr(explanations, "_NUMBERS", (0, 2, 16))
    result = explanations.benchmark_explanations(learnt_run)
    first, *others = result["proposals"].values()
    assert result["num_images"] == 140
    # Those below the run's own, and that.
    assert list(result["proposals"]) == [0, 2, 8]
    assert first["examined"] == 0.0 and first["attend_steps"] <= 3.0
    for number, one in zip((2, 8), others, strict=True):
        assert one["examined"] == others[0]["examined"] > 0.0
        # Each of the images that were examined takes T steps for each proposal.
        most = first["attend_steps"] + 3 * number * one["examined"]
        assert first["attend_steps"] < one["attend_steps"] <= most + 1e-6
    text = explanations.format_explanations(result)
    assert "| 8 " in text and f"{first['count_accuracy']:.2%}" in text


def test_runs_without_proposals_are_refused(learnt_run, monkeypatch):
    air = learnt_run.load_model(proposals=0)
    monkeypatch.setattr(learnt_run, "load_air", lambda: air)
    with pytest.raises(InputError, match="has no proposals"):
        explanations.benchmark_explanations(learnt_run)
