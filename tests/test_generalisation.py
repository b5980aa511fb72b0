import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from air_tf.config import (
    INFERENCES,
    DataConfig,
    DifferenceConfig,
    RecurrentConfig,
    RunConfig,
)
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
        asked.append(
            (
                config.model.inference,
                config.training.steps,
                config.data.dataset,
                data_dir,
            )
        )
        for seed in seeds:
            run = folder / f"seed-{seed}"
            run.mkdir(parents=True, exist_ok=True)
            air = AIR(
                dataclasses.replace(
                    config.model, inference=RecurrentConfig(recurrent_units=8)
                )
            )
            layer = air.attend.search._where_head._mlp._output
            # h stays near 0, so that the presence logit is the bias: every object is
            # present.
            layer.bias.assign([9.0] + [0.0] * 6)
            if seed < 2:
                air.save(run / "model.keras")
        return {"seeds": {str(seed): {"count_accuracy": 0.5} for seed in seeds}}

    def run_dir(path):
        load = functools.partial(keras.saving.load_model, path / "model.keras")
        return types.SimpleNamespace(load_air=load)

    monkeypatch.setattr(generalisation, "train_seeds", train_seeds)
    monkeypatch.setattr(generalisation, "RunDir", run_dir)
    monkeypatch.setattr(generalisation, "_EXTRA_STEPS", 0)

    def test_set(config, dataset, data_dir):
        n = int(dataset.partition("/")[2])
        counts = np.array([n, n, n, n - 1])
        images = np.random.default_rng(n).random((4, 16, 16, 1), np.float32)
        return ImageSet(images=images, counts=counts)

    monkeypatch.setattr(generalisation, "_test_set", test_set)
    return asked


def test_unseen_counts_of_both_forms(config, trainings, tmp_path, monkeypatch):
    result = generalisation.measure_generalisation(
        config, range(3), tmp_path / "out", recurrent_steps=3300, data_dir="data"
    )
    assert trainings == [
        (inference, steps, f"multi_digits/{counts}", "data")
        for inference, steps in (
            (config.model.inference, 2700),
            (RecurrentConfig(), 3300),
        )
        for counts in ("0-2", "0_1_3")
    ]
    assert result["steps"] == {"difference": 2700, "recurrent": 3300}
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
    lines = [line.split("|")[1:-1] for line in table.splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert ["difference", "2700", "0 to 2", "5", "0.00%", "50.00%", "3"] in cells
    same = ["recurrent", "3300", "0, 1, 3", "the same counts", *["50.00%"] * 2, "3"]
    assert same in cells

    # Test sets are not inferred again.
    monkeypatch.setattr(generalisation, "_save_examples", lambda *given: None)
    monkeypatch.setattr(generalisation, "RunDir", None)
    again = generalisation.measure_generalisation(
        config, range(3), tmp_path / "out", recurrent_steps=3300
    )
    assert again == result


def test_a_form_keeps_its_settings_and_the_other_has_its_defaults():
    own = DifferenceConfig(look_units=(4, 8))
    config = RunConfig()
    config = dataclasses.replace(
        config, model=dataclasses.replace(config.model, inference=own)
    )
    difference = generalisation.with_inference(config, "difference")
    assert difference.model.inference == own
    recurrent = generalisation.with_inference(config, "recurrent")
    assert recurrent.model.inference == RecurrentConfig()
    # The default objective follows the form of inference.
    assert recurrent.objective.move_blank_steps
    assert not difference.objective.move_blank_steps


@pytest.mark.parametrize("dataset", ["multi_digits/0-3", "file"])
def test_datasets_without_such_counts(config, tmp_path, dataset):
    data = DataConfig(dataset=dataset, data_file="x.npz" if dataset == "file" else None)
    with pytest.raises(InputError, match="expected one of multi_digits"):
        generalisation.measure_generalisation(
            dataclasses.replace(config, data=data), range(1), tmp_path
        )


# The program with a study that prints what it is given.
_PROGRAM = """
import sys, types
def measure(config, seeds, folder, *, recurrent_steps, data_dir):
    print(config.training.steps, recurrent_steps, len(seeds))
sys.modules["studies.generalisation"] = types.SimpleNamespace(
    measure_generalisation=measure, format_generalisation=lambda result: ""
)
import generalisation
from air_tf import cli
cli.run(generalisation.main)
"""


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ([], "1350 3300 5"),
        (["--preset=mnist", "--seeds=2"], "2700 3300 2"),
        (["--steps=2700"], "2700 None 5"),
        (["--preset=paper"], "200000 None 5"),
    ],
)
def test_the_recurrent_form_has_its_own_number_of_steps(flags, steps):
    """Unless a flag or the preset sets it."""
    root = pathlib.Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "--output_dir=out", *flags],
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'scripts'}"},
        capture_output=True,
        text=True,
    )
    assert result.stdout.splitlines()[0] == steps, result.stderr
