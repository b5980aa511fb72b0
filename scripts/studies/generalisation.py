"""Counts that training never saw (Eslami et al. 2016, section 3.1).

Extrapolation: trained on 0, 1 and 2 objects, tested on 3, 4 and 5. Interpolation:
trained on 0, 1 and 3, tested on 2. T is an argument of inference, so a model may look
for more objects than it was trained to find.
"""

import dataclasses
import os
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from air_tf.config import INFERENCES, DataConfig, RunConfig
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.files import read_json, replacing, write_json
from air_tf.runs import RunDir
from air_tf.structs import ImageSet, Scenes
from air_tf.visualization import pictures
from studies.seeds import train_seeds


class Regime(NamedTuple):
    trained: str  # configuration of the dataset
    unseen: tuple[int, ...]


REGIMES = {
    "extrapolation": Regime("0-2", (3, 4, 5)),
    "interpolation": Regime("0_1_3", (2,)),
}
# T is so many more than there are objects, so that counting too many can be seen.
_MORE_STEPS = 2
_BATCH_SIZE = 250
_PICTURES = 4


def measure_generalisation(
    config: RunConfig,
    seeds: Sequence[int],
    output_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Trains both forms of inference with every seed, and counts unseen counts.

    Resumes, see `train_seeds`. Writes generalisation.json, generalisation.md and a
    picture for each form, FORM.png: of each unseen count test images that the first
    seed counts right and wrong.

    Args:
      config: of the runs, but for seed, inference and the dataset's configuration.
      seeds: none is left out of the result.
      output_dir: for these, and a folder for each form and regime.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in generalisation.json: "dataset", and for each form and regime the
      accuracy on each test set, "trained on" first, seed by seed.

    Raises:
      InputError: as `train_seeds`, or for a dataset without such configurations.
    """
    folder = pathlib.Path(output_dir)
    name, _, form = config.data.dataset.partition("/")
    if form or name not in sources.BUILDERS:
        raise InputError(
            f"dataset is {config.data.dataset!r}; expected one of "
            f"{', '.join(sources.BUILDERS)}, without a configuration"
        )
    result: dict[str, Any] = {"dataset": name, "accuracies": {}}
    for inference in INFERENCES:
        of_form, rows = {}, []
        for regime, (trained, unseen) in REGIMES.items():
            one = _variant(config, inference, f"{name}/{trained}")
            runs = folder / f"{inference}-{regime}"
            trainings = train_seeds(one, seeds, runs, data_dir=data_dir)["seeds"]
            tests = {str(n): _test_set(one, f"{name}/{n}", data_dir) for n in unseen}
            of_form[regime] = {
                str(seed): {
                    "trained on": trainings[str(seed)]["count_accuracy"],
                    **_accuracies(runs / f"seed-{seed}", tests),
                }
                for seed in seeds
            }
            rows.append((runs / f"seed-{seeds[0]}", tests))
        result["accuracies"][inference] = of_form
        _save_examples(folder / f"{inference}.png", rows)
    write_json(folder / "generalisation.json", result)
    with replacing(folder / "generalisation.md") as path:
        path.write_text(format_generalisation(result), encoding="utf-8")
    return result


def format_generalisation(result: Mapping[str, Any]) -> str:
    """A markdown table: the worst seed and the mean of all."""
    lines = [
        f"# {result['dataset']}: counts that training never saw",
        "",
        "| inference | trained on | tested on | worst seed | mean | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for inference, regimes in result["accuracies"].items():
        for regime, by_seed in regimes.items():
            for test in next(iter(by_seed.values())):
                found = [one[test] for one in by_seed.values()]
                cells = [
                    inference,
                    REGIMES[regime].trained.replace("_", ", ").replace("-", " to "),
                    "the same counts" if test == "trained on" else test,
                    f"{min(found):.2%}",
                    f"{statistics.mean(found):.2%}",
                    str(len(found)),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _variant(config: RunConfig, inference: str, dataset: str) -> RunConfig:
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, inference=inference),
        data=DataConfig(dataset=dataset),
    )


def _test_set(config: RunConfig, dataset: str, data_dir: str | None) -> ImageSet:
    return sources.load_splits(
        DataConfig(dataset=dataset),
        ["test"],
        image_shape=config.model.image_shape,
        data_dir=data_dir,
    )["test"]


def _accuracies(run: pathlib.Path, tests: Mapping[str, ImageSet]) -> dict[str, float]:
    """Kept beside the run, since a run does not change any more."""
    file = run / "unseen.json"
    if file.exists():
        return read_json(file)
    if not (run / "model.keras").exists():  # diverged
        return dict.fromkeys(tests, 0.0)
    air = RunDir(run).load_model()
    found = {
        name: float(np.mean(_infer(air, test).num_objects == test.counts))
        for name, test in tests.items()
    }
    write_json(file, found)
    return found


def _infer(air, images: ImageSet, most: int | None = None) -> Scenes:
    """With more steps than `most` objects, or than there are in any image."""
    steps = (images.counts.max() if most is None else most) + _MORE_STEPS
    return air.infer(images.images, max_objects=int(steps), batch_size=_BATCH_SIZE)


def _save_examples(path: pathlib.Path, rows) -> None:
    """Of each test set: images that are counted right, then such that are not."""
    most = max(test.counts.max() for _, tests in rows for test in tests.values())
    parts, images, counts, names = [], [], [], []
    for run, tests in rows:
        if not (run / "model.keras").exists():
            continue
        air = RunDir(run).load_model()
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
