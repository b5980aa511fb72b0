import dataclasses
import functools
import json
import types

import keras
import numpy as np
import pytest

from air_tf.config import INFERENCES, DataConfig, RunConfig
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.structs import ImageSet
from studies import generalisation


@pytest.fixture
def config(small_config):
    return RunConfig(model=small_config, data=DataConfig(dataset="multi_digits"))


@pytest.fixture
def trainings(monkeypatch):
    """Stands in for training: models that always count 3, and one that diverged."""
    asked = []

    def train_seeds(config, seeds, folder, *, data_dir):
        asked.append((config.model.inference, config.data.dataset, data_dir))
        for seed in seeds:
            run = folder / f"seed-{seed}"
            run.mkdir(parents=True, exist_ok=True)
            air = AIR(dataclasses.replace(config.model, inference="recurrent"))
            layer = air.attend._where_head._mlp._output
            # h stays near 0, so that a logit depends on the step only: through its own
            # bias, which says present; more steps than 3 are not asked for below.
            layer.bias.assign([9.0] + [0.0] * 6)
            if seed < 2:
                air.save(run / "model.keras")
        return {"seeds": {str(seed): {"count_accuracy": 0.5} for seed in seeds}}

    def run_dir(path):
        load = functools.partial(keras.saving.load_model, path / "model.keras")
        return types.SimpleNamespace(load_model=load)

    monkeypatch.setattr(generalisation, "train_seeds", train_seeds)
    monkeypatch.setattr(generalisation, "RunDir", run_dir)
    monkeypatch.setattr(generalisation, "_MORE_STEPS", 0)

    def test_set(config, dataset, data_dir):
        n = int(dataset.partition("/")[2])
        counts = np.array([n, n, n, n - 1])
        images = np.random.default_rng(n).random((4, 16, 16, 1), np.float32)
        return ImageSet(images=images, counts=counts)

    monkeypatch.setattr(generalisation, "_test_set", test_set)
    return asked


def test_unseen_counts_of_both_forms(config, trainings, tmp_path, monkeypatch):
    result = generalisation.measure_generalisation(
        config, range(3), tmp_path / "out", data_dir="data"
    )
    assert trainings == [
        (inference, f"multi_digits/{form}", "data")
        for inference in INFERENCES
        for form in ("0-2", "0_1_3")
    ]
    # T objects are found in every image, which is right in three of four.
    for inference in INFERENCES:
        regimes = result["accuracies"][inference]
        for seed, accuracy in (("0", 0.75), ("1", 0.75), ("2", 0.0)):
            assert regimes["extrapolation"][seed] == {
                "trained on": 0.5,
                "3": accuracy,
                "4": accuracy,
                "5": accuracy,
            }
            assert regimes["interpolation"][seed] == {"trained on": 0.5, "2": accuracy}
        assert (tmp_path / "out" / f"{inference}.png").stat().st_size > 5000
    file = tmp_path / "out" / "generalisation.json"
    assert json.loads(file.read_text()) == result
    table = (tmp_path / "out" / "generalisation.md").read_text()
    assert "| difference | 0 to 2 | 5 | 0.00% | 50.00% | 3 |" in table
    assert "| recurrent | 0, 1, 3 | the same counts | 50.00% | 50.00% | 3 |" in table

    # What was counted is not counted again.
    monkeypatch.setattr(generalisation, "_save_examples", lambda *given: None)
    monkeypatch.setattr(generalisation, "RunDir", None)
    again = generalisation.measure_generalisation(config, range(3), tmp_path / "out")
    assert again == result


@pytest.mark.parametrize("dataset", ["multi_digits/0-3", "file"])
def test_datasets_without_such_counts(config, tmp_path, dataset):
    data = DataConfig(dataset=dataset, data_file="x.npz" if dataset == "file" else None)
    with pytest.raises(InputError, match="expected one of multi_digits"):
        generalisation.measure_generalisation(
            dataclasses.replace(config, data=data), range(1), tmp_path
        )
