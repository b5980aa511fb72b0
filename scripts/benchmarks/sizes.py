"""Measures how well a run counts objects of other sizes than those of its training."""

import dataclasses
import importlib
import math
from collections.abc import Collection
from typing import Any

import numpy as np

from air_tf.data import origins
from air_tf.data.pool_builder import PoolBuilder
from air_tf.data.pool_scenes import compose_scene
from air_tf.data.scenes import SPLITS
from air_tf.deployment.demo import NUM_MEASURED, drawn_size, object_sizes
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.runs import RunDir
from benchmarks.pen_digits import pen_scenes
from benchmarks.tables import markdown_table

_SIZES = (0.5, 0.7, 1.0, 1.4, 2.0)
_HEIGHTS = (9, 12, 16, 20, 25, 30, 35)
_NUM_SCENES = 300


def benchmark_sizes(run: RunDir, *, data_dir: str | None = None) -> dict[str, Any]:
    """Infers scenes of the run's test objects, and of digits drawn with a brush.

    All objects of a scene are equally large. Test objects are enlarged; scenes are
    those of the run's dataset in everything else. Digits drawn are those of
    `benchmarks.pen_digits`. Scenes are composed in memory.

    Args:
      run: of scenes that are composed of pictures of objects, such as digits.
      data_dir: of TFDS, for the pictures of objects; its own default if omitted.

    Returns:
      "run", "num_scenes" of a size, "sizes": for every size, the median "height" of
      the objects in pixels, "count_accuracy", and "by_count", the same for each count;
      "drawn": the last two for every height of digits drawn; and "shown": the same, as
      the page shows large drawings to the model.

    Raises:
      InputError: for a run of other scenes.
    """
    air = run.load_air()
    name, _, config = run.read_config().data.dataset.partition("/")
    builder = _builder(name, config, data_dir)
    scenes, pool = builder.builder_config.scenes, builder.object_pools()["test"]
    found = {}
    for size in _SIZES:
        settings = dataclasses.replace(scenes, enlarge=(size, size))
        composed = [
            compose_scene(pool, settings, i, split=SPLITS.index("test"))
            for i in range(_NUM_SCENES)
        ]
        images = np.stack([scene.image for scene in composed])
        counts = np.array([len(scene.boxes) for scene in composed])
        boxes = images.shape[1] * np.concatenate([scene.boxes for scene in composed])
        height = float(np.median(boxes[:, 2] - boxes[:, 0]))
        found[size] = {"height": height, **_accuracy(air, images, counts)}
    held_out = run.load_images(["test"], data_dir=data_dir)["test"]
    found_scenes = air.infer(held_out.head(NUM_MEASURED).images)
    usual = object_sizes(found_scenes.boxes[found_scenes.presence == 1])
    if usual is None:
        raise InputError("finds no object in test images", field="model_dir")
    limits = {
        "drawn": math.inf,
        "shown": drawn_size(usual, scenes.canvas_size),
    }
    drawings = {
        name: {
            height: _accuracy(
                air, *pen_scenes(height, _NUM_SCENES, scenes.canvas_size, limit)
            )
            for height in _HEIGHTS
        }
        for name, limit in limits.items()
    }
    return {
        "run": run.path.name,
        "num_scenes": _NUM_SCENES,
        "sizes": found,
        **drawings,
    }


def _accuracy(air: AIR, images: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    correct = air.infer(images).num_objects == counts
    return {
        "count_accuracy": float(correct.mean()),
        "by_count": {
            n: float(correct[counts == n].mean()) for n in np.unique(counts).tolist()
        },
    }


def _builder(name: str, config: str, data_dir: str | None) -> PoolBuilder:
    """The builder of a dataset, whose objects can be read."""
    try:
        found = importlib.import_module(f"air_tf.data.{name}").Builder
    except ModuleNotFoundError:
        found = None
    if found is None or not issubclass(found, PoolBuilder):
        raise InputError(
            f"is a run on {name}; expected one on scenes of pictures, such as digits",
            field="model_dir",
        )
    builder = found(data_dir=data_dir, config=config or None)
    if builder.ORIGIN is not None:
        origins.fetch(builder.ORIGIN, builder.data_dir_root, None)
    return builder


def format_sizes(results: dict[str, Any]) -> str:
    """Three Markdown tables of what `benchmark_sizes` returned."""
    sizes = results["sizes"]
    places = [[f"{size:g}", f"{one['height']:.0f}"] for size, one in sizes.items()]
    tables = [_table(["size", "height in pixels"], places, sizes.values())]
    for name in ("drawn", "shown"):
        drawn = results[name]
        heights = [[str(height)] for height in drawn]
        tables.append(_table(["height in pixels"], heights, drawn.values()))
    title = f"# {results['run']}, {results['num_scenes']} scenes of each size"
    names = (
        "Test objects",
        "Digits drawn with a brush",
        "The same, as the page shows large drawings to the model",
    )
    parts = [f"{name}:\n\n{table}" for name, table in zip(names, tables, strict=True)]
    return "\n\n".join([title, *parts]) + "\n"


def _table(
    headers: list[str], places: list[list[str]], found: Collection[dict[str, Any]]
) -> str:
    counts = next(iter(found))["by_count"]
    headers = [*headers, "count accuracy", *(f"of {n} objects" for n in counts)]
    rows = [
        [
            *place,
            f"{one['count_accuracy']:.1%}",
            *(f"{share:.1%}" for share in one["by_count"].values()),
        ]
        for place, one in zip(places, found, strict=True)
    ]
    return markdown_table(headers, rows)
