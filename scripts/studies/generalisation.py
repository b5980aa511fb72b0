"""Counting objects in scenes with numbers of objects that training did not have.

Eslami et al. 2016, section 3.1. Extrapolation: trained on 0, 1 and 2 objects, tested
on 3, 4 and 5. Interpolation: trained on 0, 1 and 3, tested on 2. T is an argument of
inference, so a model may look for more objects than it was trained to find.
"""

import dataclasses
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from air_tf.config import (
    INFERENCES,
    AIRConfig,
    DataConfig,
    DifferenceConfig,
    RecurrentConfig,
    RunConfig,
)
from air_tf.config.datasets import BUILDERS
from air_tf.errors import InputError
from air_tf.files import make_output_dir, read_json, replacing, write_json
from air_tf.model.air import AIR
from air_tf.runs import RunDir, load_images
from air_tf.structs import ImageSet, Scenes
from air_tf.visualization import pictures
from benchmarks.tables import markdown_table
from studies.seeds import train_seeds


class Regime(NamedTuple):
    """Numbers of objects to train on and to test on."""

    trained: str  # configuration of the dataset
    unseen: tuple[int, ...]


REGIMES = {
    "extrapolation": Regime("0-2", (3, 4, 5)),
    "interpolation": Regime("0_1_3", (2,)),
}
# T exceeds the number of objects by this, so that a model can count too many.
_EXTRA_STEPS = 2
_BATCH_SIZE = 250
_PICTURES = 4


def measure_generalisation(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    recurrent_steps: int | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains both forms of inference with every seed, and tests on unseen counts.

    Resumes, see `train_seeds`. Writes generalisation.json, generalisation.md and, for
    each form of inference, FORM.png: for each unseen count, test images that the first
    seed counts right and wrong.

    Args:
      config: of the runs; its seed is ignored. The settings of its form of inference
        are those of that form; the other has its defaults.
      seeds: the seeds to train; the result includes all of them.
      output_dir: folder for these files, and a folder for each form and regime.
      recurrent_steps: training steps of the recurrent form; those of the config if
        omitted.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in generalisation.json: "dataset"; "steps", the training steps of each
      form; and "accuracies" by form, regime, seed and test set. The test set of the
      counts that were trained on is "trained on", the others are named by their count.

    Raises:
      InputError: as `train_seeds`, or for a dataset without such configurations.
      OutputError, ProcessKilled: as `train_seeds`.
    """
    name, _, configuration = config.data.dataset.partition("/")
    if configuration or name not in BUILDERS:
        raise InputError(
            f"is {config.data.dataset!r}; expected one of "
            f"{', '.join(BUILDERS)}, without a configuration",
            field="dataset",
        )
    folder = make_output_dir(output_dir)
    result: dict[str, Any] = {"dataset": name, "steps": {}, "accuracies": {}}
    for inference in INFERENCES:
        form = with_inference(config, inference)
        if inference == "recurrent" and recurrent_steps is not None:
            form = form.with_training(steps=recurrent_steps)
        result["steps"][inference] = form.training.steps
        result["accuracies"][inference] = {}
        tested = []
        for regime, (trained, unseen) in REGIMES.items():
            one = _with_dataset(form, f"{name}/{trained}")
            runs = folder / f"{inference}-{regime}"
            trainings = train_seeds(one, seeds, runs, data_dir=data_dir)["seeds"]
            tests = {str(n): _test_set(one, f"{name}/{n}", data_dir) for n in unseen}
            result["accuracies"][inference][regime] = {
                str(seed): {
                    "trained on": trainings[str(seed)]["count_accuracy"],
                    **_accuracies(runs / f"seed-{seed}", tests),
                }
                for seed in seeds
            }
            tested.append((runs / f"seed-{seeds[0]}", tests))
        _save_examples(folder / f"{inference}.png", tested)
    write_json(folder / "generalisation.json", result)
    with replacing(folder / "generalisation.md") as path:
        path.write_text(format_generalisation(result), encoding="utf-8")
    return result


def format_generalisation(result: Mapping[str, Any]) -> str:
    """A Markdown table: the worst seed and the mean of all."""
    headers = ["inference", "training steps", "trained on", "tested on", "worst seed"]
    headers += ["mean", "seeds"]
    rows = []
    for inference, regimes in result["accuracies"].items():
        for regime, by_seed in regimes.items():
            for test in next(iter(by_seed.values())):
                found = [one[test] for one in by_seed.values()]
                rows.append(
                    [
                        inference,
                        str(result["steps"][inference]),
                        REGIMES[regime].trained.replace("_", ", ").replace("-", " to "),
                        "the same counts" if test == "trained on" else test,
                        f"{min(found):.2%}",
                        f"{statistics.mean(found):.2%}",
                        str(len(found)),
                    ]
                )
    title = f"# {result['dataset']}: counts that training did not have"
    return f"{title}\n\n{markdown_table(headers, rows)}\n"


def with_inference(config: RunConfig, name: str) -> RunConfig:
    """The config with a form of inference, whose settings stay if the config has it."""
    if not isinstance(config.model, AIRConfig):
        raise InputError("is one of 3D scenes; expected another", field="preset")
    form: DifferenceConfig | RecurrentConfig = config.model.inference
    if type(form) is not INFERENCES[name]:
        form = INFERENCES[name]()
    model = dataclasses.replace(config.model, inference=form)
    return dataclasses.replace(config, model=model)


def _with_dataset(config: RunConfig, dataset: str) -> RunConfig:
    return dataclasses.replace(config, data=DataConfig(dataset=dataset))


def _test_set(config: RunConfig, dataset: str, data_dir: str | None) -> ImageSet:
    other = _with_dataset(config, dataset)
    return load_images(other, ["test"], data_dir=data_dir)["test"]


def _accuracies(run: pathlib.Path, tests: Mapping[str, ImageSet]) -> dict[str, float]:
    """Count accuracies by test set; stored with the run, which changes no more."""
    file = run / "unseen.json"
    if file.exists():
        return read_json(file)
    if not (run / "model.keras").exists():  # diverged
        return dict.fromkeys(tests, 0.0)
    air = RunDir(run).load_air()
    found = {
        name: float(np.mean(_infer(air, test).num_objects == test.counts))
        for name, test in tests.items()
    }
    write_json(file, found)
    return found


def _infer(air: AIR, images: ImageSet, most: int | None = None) -> Scenes:
    """Infers with T above `most`, by default the most objects in any image."""
    steps = (images.counts.max() if most is None else most) + _EXTRA_STEPS
    return air.infer(images.images, max_objects=int(steps), batch_size=_BATCH_SIZE)


def _save_examples(
    path: pathlib.Path, tested: Sequence[tuple[pathlib.Path, Mapping[str, ImageSet]]]
) -> None:
    """Pictures of each test set: images counted right, then images counted wrong."""
    most = max(test.counts.max() for _, tests in tested for test in tests.values())
    parts, images, counts, names = [], [], [], []
    for run, tests in tested:
        if not (run / "model.keras").exists():
            continue
        air = RunDir(run).load_air()
        for test in tests.values():
            few = test.head(1000)
            found = _infer(air, few, most)
            right = found.num_objects == few.counts
            for chosen, name in ((right, "right"), (~right, "wrong")):
                index = np.flatnonzero(chosen)[:_PICTURES]
                parts.append(Scenes(*(field[index] for field in found)))
                images.append(few.images[index])
                counts.append(few.counts[index])
                names += [name] * len(index)
    if names:
        with replacing(path) as file:
            pictures.save_reconstructions(
                file,
                np.concatenate(images),
                Scenes(*map(np.concatenate, zip(*parts, strict=True))),
                np.concatenate(counts),
                names,
            )
