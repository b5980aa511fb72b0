"""Times a session of an exported model by the number of images in a call.

Independent of any server: what a server adds is its own.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Mapping

import numpy as np

from air_tf.deployment.session import ServedModel
from air_tf.deployment.versions import find_version
from air_tf.images import batches
from benchmarks.exported_images import sampled_images
from benchmarks.tables import markdown_table

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_ROUNDS, _NUM_IMAGES = 3, 128


def benchmark_session(base: str | os.PathLike) -> dict[int, float]:
    """Milliseconds of this process' CPUs for a call of `serving_default`.

    Sizes take turns in short rounds, so that other load on the machine affects all of
    them. CPU time, since that of other programs is not counted then.

    Args:
      base: the folder that export.py wrote.

    Returns:
      The median over rounds, by the number of images.

    Raises:
      InputError: if there is no exported model.
    """
    version = find_version(base)
    # The same for all sizes: how long an image takes depends on what it shows.
    images = sampled_images(version, _NUM_IMAGES) / np.float32(255.0)
    rounds: dict[int, list[float]] = {size: [] for size in _SIZES}
    with contextlib.closing(ServedModel(version)) as served:
        for _ in range(_ROUNDS):
            for size, found in rounds.items():
                served("serving_default", {"image": images[:size]})
                start = time.process_time()
                for _, batch in batches(images, size):
                    served("serving_default", {"image": batch})
                calls = len(images) / size
                found.append(1e3 * (time.process_time() - start) / calls)
    return {size: statistics.median(found) for size, found in rounds.items()}


def format_session(results: Mapping[int, float]) -> str:
    """A Markdown table of what `benchmark_session` returned."""
    headers = ["images in a call", "ms", "ms for an image", "images/s"]
    rows = [
        [str(size), f"{ms:.2f}", f"{ms / size:.2f}", f"{1e3 * size / ms:.0f}"]
        for size, ms in results.items()
    ]
    return markdown_table(headers, rows)
