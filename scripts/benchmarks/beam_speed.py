"""Measures a pipeline of Beam against the exported model alone, and its parts."""

import os
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from air_tf.data.picture_files import read_pixels
from air_tf.data.prepare import domed, padded, prepare
from air_tf.deployment.beam.options import LOCAL, pipeline_options
from air_tf.deployment.beam.predict import predict
from air_tf.deployment.beam.rows import picture_rows
from air_tf.deployment.export import find_version
from air_tf.deployment.exported import ExportedModel
from air_tf.deployment.signatures import MAX_BATCH_SIZE
from air_tf.inference.results.table import describe_picture
from air_tf.inference.whole import find_objects
from air_tf.visualization.drawing import to_picture_bytes
from benchmarks.exported_images import sampled_images
from benchmarks.processes import in_fresh_process
from benchmarks.tables import markdown_table

_DISTINCT = 1024  # images; the others repeat them
_SIDE = 2048  # of a whole picture, in pixels
_ROUNDS = 3
_SECONDS = 1.0  # between two looks at the memory


def benchmark_beam(base: str | os.PathLike, num_images: int) -> dict[str, Any]:
    """Measures an export of images, or of pictures of any size.

    Of images, a pipeline with one worker reads as many PNG files; before and after it,
    the model alone takes as many images from the memory, 64 at a time. All in new
    processes with one thread each. Of pictures of any size, the parts of one picture of
    2,048 x 2,048 pixels are timed, which is full of discs.

    Args:
      base: the folder that export.py wrote.
      num_images: in the pipeline.

    Returns:
      For images, "alone" (twice) and "beam": "seconds" of the clock and "cpu_seconds",
      each with the start and without it, and "memory_mb" at each quarter. For pictures,
      "parts": the seconds of the CPU of each; "windows" and "objects".

    Raises:
      InputError: if there is no exported model.
    """
    version = find_version(base)
    settings = ExportedModel(version).pictures
    if settings is not None:
        return _parts(version)
    with tempfile.TemporaryDirectory() as folder:
        images = sampled_images(version, min(num_images, _DISTINCT))
        np.save(pathlib.Path(folder, "images.npy"), images)
        pictures = pathlib.Path(folder, "pictures")
        pictures.mkdir()
        contents = [to_picture_bytes(image) for image in images]
        for i in range(num_images):
            (pictures / f"{i:08d}.png").write_bytes(contents[i % len(contents)])
        given = (str(version), folder, num_images)
        first = in_fresh_process(_alone, *given)
        beam = in_fresh_process(_in_beam, *given)
        second = in_fresh_process(_alone, *given)
    return {"images": num_images, "alone": [first, second], "beam": beam}


def _alone(version: str, folder: str, number: int) -> dict[str, Any]:
    images = np.load(pathlib.Path(folder, "images.npy"))

    def run(started: Callable[[], None]) -> None:
        model = ExportedModel(version)
        batch = images[np.arange(MAX_BATCH_SIZE) % len(images)]
        model.infer(batch)
        started()
        for start in range(0, number, MAX_BATCH_SIZE):
            size = min(MAX_BATCH_SIZE, number - start)
            model.infer(images[np.arange(start, start + size) % len(images)])

    return _measured(run)


def _in_beam(version: str, folder: str, number: int) -> dict[str, Any]:
    del number
    options = pipeline_options(LOCAL, [], field="runner")

    def run(started: Callable[[], None]) -> None:
        ExportedModel(version)  # as the other, so that the same is left out
        started()
        output = str(pathlib.Path(folder, "out"))
        predict(version, [f"{folder}/pictures/*.png"], output, options=options)

    return _measured(run)


def _measured(run: Callable[[Callable[[], None]], None]) -> dict[str, Any]:
    """Times and memory of a call; what it does before it calls its argument is the
    start."""
    memory: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS):
            memory.append(_resident_mb())

    begin = (time.perf_counter(), time.process_time())
    after_start: list[tuple[float, float]] = []

    def started() -> None:
        after_start.append((time.perf_counter(), time.process_time()))
        threading.Thread(target=watch, daemon=True).start()

    run(started)
    ended.set()
    end = (time.perf_counter(), time.process_time())
    quarters = [memory[len(memory) * k // 4 - 1] for k in (1, 2, 3, 4)]
    return {
        "seconds": (end[0] - begin[0], end[0] - after_start[0][0]),
        "cpu_seconds": (end[1] - begin[1], end[1] - after_start[0][1]),
        "memory_mb": quarters if memory else [],
    }


def _resident_mb() -> float:
    """Memory of this process, read from /proc, as Linux has it."""
    pages = pathlib.Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _parts(version: pathlib.Path) -> dict[str, Any]:
    model = ExportedModel(version)
    settings = model.pictures
    assert settings is not None, "a model of pictures"
    shape = model.image_shape[:2]
    picture = _discs(settings.sizes)
    windows: list[int] = []
    of_model: list[float] = []

    def infer(images: np.ndarray) -> Any:
        start = time.process_time()
        scenes = model.infer(images, with_masks=True)
        of_model[-1] += time.process_time() - start
        windows[-1] += len(images)
        return scenes

    rounds: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        found = call()
        rounds.setdefault(name, []).append(time.process_time() - start)
        return found

    def ready(pixels: np.ndarray) -> None:
        padded(domed(prepare(pixels, settings, what="picture"), settings), shape)

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "picture.png")
        Image.fromarray(picture).save(file)
        for _ in range(_ROUNDS):
            windows.append(0)
            of_model.append(0.0)
            pixels = timed("decoding", lambda: read_pixels(file, settings))
            timed("preparing", lambda pixels=pixels: ready(pixels))
            found = timed(
                "finding",
                lambda pixels=pixels: find_objects(infer, pixels, settings, shape),
            )
            answer = timed(
                "measuring",
                lambda pixels=pixels, found=found: describe_picture(
                    "picture", pixels, found
                ),
            )
            timed("rows", lambda answer=answer: picture_rows("picture", answer))
    parts = {name: statistics.median(found) for name, found in rounds.items()}
    parts["model"] = statistics.median(of_model)
    # `find_objects` prepares the picture and calls the model, too.
    parts["merging"] = parts.pop("finding") - parts["preparing"] - parts["model"]
    return {"parts": parts, "windows": windows[0], "objects": len(found.probability)}


def _discs(sizes: tuple[float, float]) -> np.ndarray:
    """A picture with noise and a disc in each square of twice the usual size."""
    rng = np.random.default_rng(0)
    picture = rng.normal(20.0, 3.0, (_SIDE, _SIDE))
    cell = round(2.0 * (sizes[0] * sizes[1]) ** 0.5)
    rows, columns = np.ogrid[:cell, :cell]
    for top in range(0, _SIDE - cell + 1, cell):
        for left in range(0, _SIDE - cell + 1, cell):
            radius = rng.uniform(*sizes) / 2.0
            y, x = rng.uniform(0.4 * cell, 0.6 * cell, 2)
            disc = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
            picture[top : top + cell, left : left + cell][disc] += 120.0
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def format_beam(results: dict[str, Any]) -> str:
    """A Markdown table of what `benchmark_beam` returned."""
    if "parts" in results:
        return _format_parts(results)
    number = results["images"]
    headers = ["", "images/s", "after the start", "per CPU second", "after the start"]
    runs = [*(("model alone", one) for one in results["alone"])]
    runs.insert(1, ("Beam", results["beam"]))
    rows = [
        [name, *(f"{number / s:.0f}" for s in (*one["seconds"], *one["cpu_seconds"]))]
        for name, one in runs
    ]
    ratios = []
    for field in ("seconds", "cpu_seconds"):
        for i in range(2):
            alone = statistics.mean(one[field][i] for one in results["alone"])
            ratios.append(f"{alone / results['beam'][field][i]:.2f}")
    memory = ", ".join(f"{mb:.0f}" for mb in results["beam"]["memory_mb"])
    return (
        f"{markdown_table(headers, [*rows, ['ratio', *ratios]])}\n\n{number} images. "
        f"Memory of the pipeline at each quarter: {memory} MB."
    )


def _format_parts(results: dict[str, Any]) -> str:
    parts, total = results["parts"], sum(results["parts"].values())
    rows = [
        [name, f"{seconds:.3f}", f"{seconds / total:.1%}"]
        for name, seconds in sorted(parts.items(), key=lambda part: -part[1])
    ]
    return (
        f"{markdown_table(['part', 'CPU seconds', 'share'], rows)}\n\nA picture of "
        f"{_SIDE} x {_SIDE} pixels: {results['windows']} windows, "
        f"{results['objects']} objects, {total:.2f} s of one core."
    )
