"""Measures how well a run counts objects of other sizes than those of its training."""

import dataclasses
import importlib
from typing import Any

import numpy as np

from air_tf.data import origins
from air_tf.data.pool_builder import PoolBuilder
from air_tf.data.pool_scenes import compose_scene
from air_tf.data.scenes import SPLITS
from air_tf.errors import InputError
from air_tf.runs import RunDir
from benchmarks.tables import markdown_table

_SIZES = (0.5, 0.7, 1.0, 1.4, 2.0)
_NUM_SCENES = 300


def benchmark_sizes(run: RunDir, *, data_dir: str | None = None) -> dict[str, Any]:
    """Infers scenes of the run's test objects, all of a scene equally enlarged.

    Scenes are those of the run's dataset in everything else. They are composed in
    memory.

    Args:
      run: of scenes that are composed of pictures of objects, such as digits.
      data_dir: of TFDS, for the pictures of objects; its own default if omitted.

    Returns:
      "run", "num_scenes" of a size, and "sizes": for every size, the median "height" of
      the objects in pixels, "count_accuracy", and "by_count", the same for each count.

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
        correct = air.infer(images).num_objects == counts
        boxes = images.shape[1] * np.concatenate([scene.boxes for scene in composed])
        found[size] = {
            "height": float(np.median(boxes[:, 2] - boxes[:, 0])),
            "count_accuracy": float(correct.mean()),
            "by_count": {n: float(correct[counts == n].mean()) for n in scenes.counts},
        }
    return {"run": run.path.name, "num_scenes": _NUM_SCENES, "sizes": found}


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
    """A Markdown table of what `benchmark_sizes` returned."""
    sizes = results["sizes"]
    counts = next(iter(sizes.values()))["by_count"]
    headers = ["size", "height in pixels", "count accuracy"]
    headers += [f"of {n} objects" for n in counts]
    rows = [
        [
            f"{size:g}",
            f"{one['height']:.0f}",
            f"{one['count_accuracy']:.1%}",
            *(f"{share:.1%}" for share in one["by_count"].values()),
        ]
        for size, one in sizes.items()
    ]
    title = f"# {results['run']}, {results['num_scenes']} test scenes of each size"
    return f"{title}\n\n{markdown_table(headers, rows)}\n"
