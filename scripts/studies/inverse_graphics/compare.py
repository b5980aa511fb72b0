"""Compares amortised inference with optimisation and with supervised learning.

Eslami et al. 2016, section 3.3: inference networks learn to invert a renderer; the
alternatives are to search for the renderer's input, and to learn from labels.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from air_tf.config import AIR3DConfig, RunConfig
from air_tf.config.renderers import AnalyticConfig, renderer_name
from air_tf.errors import InputError
from air_tf.files import (
    as_read_from_json,
    make_output_dir,
    read_json,
    replacing,
    write_json,
)
from air_tf.model.air3d import AIR3D
from air_tf.model.saving import read_model
from air_tf.objectives.assignments import MAX_SUMMED
from air_tf.runs import RunDir
from air_tf.structs import ImageSet
from benchmarks.machine import machine
from studies.few_labels.config import differing
from studies.inverse_graphics import measure
from studies.inverse_graphics.config import InverseGraphicsConfig
from studies.inverse_graphics.search import Rates, Search
from studies.inverse_graphics.supervised import train_supervised
from studies.inverse_graphics.table import (
    format_inverse_graphics,
    save_plot,
    search_name,
)

_RESULTS = "inverse_graphics.json"


def compare_inference(
    model_dir: str | os.PathLike,
    output_dir: str | os.PathLike,
    *,
    settings: InverseGraphicsConfig,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Measures a run, the same network trained with labels, and optimisation.

    All find the objects in the same test images. Resumes: a method that is in the
    results is not measured again. Writes inverse_graphics.json, inverse_graphics.md
    and inverse_graphics.png, accuracy over milliseconds for an image.

    Args:
      model_dir: the folder of a run of 3D scenes, whose renderer is analytic.
      output_dir: folder for these files, and for the network trained with labels,
        supervised.keras.
      settings: of the methods.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in inverse_graphics.json: "machine", "model_dir", "settings", "dataset",
      "num_images", "most_objects" in an image; "learning_rates" of the optimisation,
      the best first; and "rows" by method, see `measure.measure_network`.

    Raises:
      InputError: for a run that can't be compared, or a folder with other results.
      OutputError: if results can't be written.
      TrainingDiverged: if the training with labels diverges.
    """
    run = RunDir(model_dir)
    config = run.read_config()
    _require_comparable(config)
    air = run.load_model()
    assert isinstance(air, AIR3D)
    folder = make_output_dir(output_dir)
    result = {
        "machine": machine(),
        "model_dir": str(run.path.resolve()),
        "settings": as_read_from_json(settings.to_dict()),
        "rows": {},
    }
    file = folder / _RESULTS
    if file.exists():
        stored = read_json(file)
        _require_same(file, result, stored)
        result = {**stored, "settings": result["settings"]}
    splits = run.load_images(("validation", "test"), data_dir=data_dir)
    chosen = {
        split: _first(splits[split], getattr(settings, name), name, split)
        for split, name in (
            ("validation", "num_validation_images"),
            ("test", "num_images"),
        )
    }
    test = chosen["test"]
    result |= {
        "dataset": config.data.dataset,
        "num_images": len(test.images),
        "most_objects": int(test.counts.max()),
    }
    rows = result["rows"]

    def add(name: str, measured: Callable[[], dict[str, Any]]) -> None:
        if name not in rows:
            rows[name] = measured()
            write_json(file, result)
            logging.info("%s: %s", name, rows[name])

    add("AIR3D", lambda: measure.measure_network(air, test))
    add(
        f"AIR3D, batches of {measure.BATCH_SIZE}",
        lambda: rows["AIR3D"] | {"milliseconds": measure.measure_batches(air, test)},
    )

    def supervised() -> dict[str, Any]:
        path = folder / "supervised.keras"
        if not path.exists():
            splits = ["train"]
            images = run.load_images(splits, data_dir=data_dir, with_details=splits)
            with replacing(path) as temporary:
                train_supervised(config, images["train"], settings).save(temporary)
        return measure.measure_network(read_model(path), test)

    add("the network, trained with labels", supervised)
    search = Search(air, settings)
    if "learning_rates" not in result:
        result["learning_rates"] = measure.choose_rates(search, chosen["validation"])
        write_json(file, result)
    best = result["learning_rates"][0]
    rates = Rates(best["position"], best["phase"])
    for starts in settings.starts:
        optimisation = functools.partial(
            measure.measure_search, search, test, rates=rates, num_starts=starts
        )
        add(search_name(starts), optimisation)
    write_json(file, result)
    with replacing(folder / "inverse_graphics.md") as path:
        path.write_text(format_inverse_graphics(result), encoding="utf-8")
    with replacing(folder / "inverse_graphics.png") as path:
        save_plot(path, result)
    return result


def _require_comparable(config: RunConfig) -> None:
    """Raises InputError for a run that the optimisation can't be compared with."""
    model = config.model
    if not isinstance(model, AIR3DConfig):
        raise InputError(
            "is a run of two-dimensional scenes; expected one of 3D scenes",
            field="model_dir",
        )
    if not isinstance(model.renderer, AnalyticConfig):
        raise InputError(
            f"is a run with the renderer {renderer_name(model.renderer)}; expected "
            "analytic, whose gradients are exact",
            field="model_dir",
        )
    if model.max_objects > MAX_SUMMED:
        raise InputError(
            f"is a run with `max_objects` {model.max_objects}; expected at most "
            f"{MAX_SUMMED}, whose kinds can be summed out",
            field="model_dir",
        )


def _require_same(
    file: pathlib.Path, wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> None:
    """Refuses results of another run, other settings or another machine."""

    def compared(result: Mapping[str, Any]) -> dict[str, Any]:
        settings = {**result.get("settings", {}), "starts": None}  # can be added
        rest = {name: result.get(name) for name in ("machine", "model_dir")}
        return settings | rest

    changed = differing(compared(wanted), compared(found))
    if changed:
        raise InputError(
            f"{file} holds other results, which differ in {', '.join(changed)}; "
            "expected the same or another `output_dir`"
        )


def _first(images: ImageSet, most: int, name: str, split: str) -> ImageSet:
    """The first images, whose objects have to be known."""
    if images.positions is None or images.labels is None or images.counts is None:
        raise InputError(
            "is a run on images whose objects are not known; expected a dataset with "
            "kinds, positions and yaws",
            field="model_dir",
        )
    if most > len(images.images):
        raise InputError(
            f"is {most}; expected at most {len(images.images)}, the {split} images",
            field=name,
        )
    first = images.head(most)
    if not first.counts.any():
        raise InputError(
            f"is {most}, {split} images without any object; expected more", field=name
        )
    return first
