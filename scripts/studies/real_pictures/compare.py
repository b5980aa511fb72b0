"""Compares methods that find objects in real pictures whose truth is known."""

import functools
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from air_tf.config.datasets import REAL_PICTURES
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.files import make_output_dir, read_json, write_json
from studies.real_pictures import classical
from studies.real_pictures.measure import (
    Figures,
    Found,
    Pictures,
    Store,
    box_f1,
    find_all,
    measure,
)
from studies.real_pictures.tuning import tune

# What the results in a folder depend on.
_SETTINGS = "settings.json"


class Counter(Protocol):
    """What is used of `air_tf.ObjectCounter`."""

    def fit(self, images: Iterable[np.ndarray]) -> Any:
        """Learns from pictures without labels."""

    def segment(self, image: np.ndarray) -> np.ndarray:
        """A label image."""

    def save(self, path: str | os.PathLike) -> None:
        """Writes a folder."""

    def load(self, path: str | os.PathLike) -> "Counter":
        """Reads what `save` wrote."""


class Row(NamedTuple):
    """A method, and what it reaches on the test pictures."""

    name: str
    seed: int | None  # None for methods without one
    figures: Figures
    labels: np.ndarray  # [N, H, W]
    details: Mapping[str, Any]  # seconds, settings


def load_pictures(dataset: str, split: str, data_dir: str | None) -> Pictures:
    """Pictures of one of `REAL_PICTURES`, which is prepared if it is not there.

    Raises:
      InputError: for another dataset, or one that can't be prepared.
      OutputError: if it can't be written.
    """
    if dataset.partition("/")[0] not in REAL_PICTURES:
        raise InputError(
            f"is {dataset!r}; expected {REAL_PICTURES[0]}, optionally with a "
            "configuration, as in nuclei/bbbc039_half",
            field="dataset",
        )
    builder = sources.prepare(dataset, data_dir=data_dir)
    examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
    examples.sort(key=lambda example: example["id"])
    return Pictures(
        [example["id"].decode() for example in examples],
        np.stack([example["image"][..., 0] for example in examples]),
        np.stack([example["label"][..., 0] for example in examples]),
    )


def compare_pictures(
    dataset: str,
    output_dir: str | os.PathLike,
    *,
    new_counter: Callable[[int], Counter] | None,
    seeds: Sequence[int],
    object_size: Sequence[float] | None,
    tuning_pictures: int,
    data_dir: str | None = None,
) -> tuple[list[Row], Pictures]:
    """Finds the objects of the test pictures with each method.

    Classical methods are tuned on labels of training pictures; a counter learns from
    all training pictures without labels. Resumes: a method whose files are in the
    folder is not run again. Without NAME.json, a counter that is trained finds the
    objects again.

    Args:
      dataset: one of `REAL_PICTURES`, optionally with a configuration.
      output_dir: folder for label images, figures and trained models.
      new_counter: from a seed to a new counter; None for the classical methods only.
      seeds: of the counter.
      object_size: that the counter is given; it tells its results from others.
      tuning_pictures: how many training pictures the classical methods are tuned on,
        evenly spaced in the order of their names.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      A row for each classical method and each seed; and the test pictures.

    Raises:
      InputError: see `load_pictures`; or for a folder with results of other settings.
      OutputError: if files can't be written.
    """
    folder = make_output_dir(output_dir)
    test = load_pictures(dataset, "test", data_dir)
    train = load_pictures(dataset, "train", data_dir)
    _require_same(folder, {"dataset": dataset, "tuning_pictures": tuning_pictures})
    store = Store(folder)
    rows = []
    for name, method in classical.METHODS.items():
        labels, details = store.get(
            name, functools.partial(_run_tuned, method, train, test, tuning_pictures)
        )
        rows.append(Row(name, None, measure(test, labels), labels, details))
    if new_counter is None:
        return rows, test
    size = "guessed" if object_size is None else "-".join(f"{x:g}" for x in object_size)
    name = f"air_tf-{size}-seed"
    for seed in seeds:
        labels, details = store.get(
            f"{name}-{seed}",
            functools.partial(
                _run_counter, new_counter, seed, train, test, folder / f"{name}-{seed}"
            ),
        )
        rows.append(Row("air_tf", seed, measure(test, labels), labels, details))
    return rows, test


def _run_tuned(
    method: classical.Method, train: Pictures, test: Pictures, num: int
) -> tuple[Found, dict[str, Any]]:
    """Tunes a classical method by the F1 of boxes, and applies it."""
    num = min(num, len(train.images))
    few = np.linspace(0, len(train.images) - 1, num).round().astype(int)
    images = [classical.stretch(image) for image in train.images[few]]
    true = train.labels[few]
    tuned = tune(
        lambda settings: box_f1(true, [method.find(x, **settings) for x in images]),
        method.values,
        method.start,
        method.natural,
    )
    logging.info("%s: %s", method.find.__name__, tuned)
    found = find_all(
        lambda image: method.find(classical.stretch(image), **tuned.settings),
        test.images,
    )
    details = {
        "settings": tuned.settings,
        "tuning_f1": tuned.value,
        "at_edge": tuned.at_edge,
        "tried": tuned.tried,
    }
    return found, details


def _run_counter(
    new_counter: Callable[[int], Counter],
    seed: int,
    train: Pictures,
    test: Pictures,
    run: pathlib.Path,
) -> tuple[Found, dict[str, Any]]:
    """Trains a counter on all training pictures without labels, and applies it.

    One that is in the folder `run` is not trained again.
    """
    counter = new_counter(seed)
    trained = run.with_name(f"{run.name}-training.json")  # written when it is saved
    if trained.exists():
        return find_all(counter.load(run).segment, test.images), read_json(trained)
    start = time.perf_counter()
    counter.fit(list(train.images))
    details = {"training_seconds": time.perf_counter() - start}
    if run.exists():  # of a command that was interrupted
        shutil.rmtree(run)
    counter.save(run)
    write_json(trained, details)
    return find_all(counter.segment, test.images), details


def _require_same(folder: pathlib.Path, settings: dict[str, Any]) -> None:
    """Refuses a folder with results of other settings."""
    file = folder / _SETTINGS
    if not file.exists():
        write_json(file, settings)
        return
    found = read_json(file)
    for name, value in settings.items():
        if found.get(name) != value:
            raise InputError(
                f"is {value!r}; expected {found.get(name)!r}, with which {folder} was "
                "made, or another `output_dir`",
                field=name,
            )
