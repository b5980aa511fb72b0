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
from air_tf.deployment.exported import ExportedModel
from air_tf.deployment.signatures import MAX_BATCH_SIZE
from air_tf.deployment.versions import find_version
from air_tf.inference.results.table import describe_picture
from air_tf.inference.whole import find_objects
from air_tf.visualization.drawing import to_picture_bytes
from benchmarks.exported_images import sampled_images
from benchmarks.processes import in_fresh_process
from benchmarks.tables import markdown_table

_DISTINCT = 1024  # images; the others repeat them
_SIDE = 512  # of a whole picture, in pixels
_FEW = 10  # images of calls that show what does not depend on the number
_SECONDS = 1.0  # between two looks at the memory


def benchmark_beam(base: str | os.PathLike, num_images: int) -> dict[str, Any]:
    """Measures an export of images, or of pictures of any size.

    Of images, a pipeline with one worker reads as many PNG files; before and after it,
    the model alone takes as many images from the memory, 64 at a time. All in new
    processes with one thread each. Of pictures of any size, the parts of one picture of
    512 x 512 pixels are timed, which is full of discs.

    Args:
      base: the folder that export.py wrote.
      num_images: in the pipeline.

    Returns:
      For images, "alone" (twice) and "beam": "seconds" of the clock and "cpu_seconds",
      each of all and without what does not depend on the number of images, and
      "memory_mb" at each quarter. For pictures, "parts": the seconds of the CPU of
      each; "windows" and "objects".

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

    def infer(count: int) -> None:
        model = ExportedModel(version)
        for start in range(0, count, MAX_BATCH_SIZE):
            size = min(MAX_BATCH_SIZE, count - start)
            model.infer(images[np.arange(start, start + size) % len(images)])

    return _measured(infer, number)


def _in_beam(version: str, folder: str, number: int) -> dict[str, Any]:
    def run(count: int) -> None:
        names = "0000000?.png" if count == _FEW else "*.png"
        pattern = f"{folder}/pictures/{names}"
        with tempfile.TemporaryDirectory() as output:
            options = pipeline_options(LOCAL, [], field="runner")
            predict(version, [pattern], f"{output}/out", options=options)

    return _measured(run, number)


def _measured(run: Callable[[int], None], number: int) -> dict[str, Any]:
    """Calls `run` with a few images, again, and with all; times and memory of the last.

    What the second call takes is a constant, and what the first takes beyond it is the
    start of a process.
    """
    memory: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS):
            memory.append(_resident_mb())

    times = [(time.perf_counter(), time.process_time())]
    for count in (_FEW, _FEW, number):
        if count == number:
            threading.Thread(target=watch, daemon=True).start()
        run(count)
        times.append((time.perf_counter(), time.process_time()))
    ended.set()
    first, second, last = np.diff(times, axis=0)
    whole, without = last + (first - second), last - second
    quarters = [memory[len(memory) * k // 4 - 1] for k in (1, 2, 3, 4)]
    return {
        "seconds": (whole[0], without[0]),
        "cpu_seconds": (whole[1], without[1]),
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
    # The first calls trace and allocate.
    model.infer(np.zeros((MAX_BATCH_SIZE, *shape, 1), np.uint8), with_masks=True)
    picture = _discs(settings.sizes)
    windows, of_model = 0, 0.0
    parts: dict[str, float] = {}

    def infer(images: np.ndarray) -> Any:
        nonlocal windows, of_model
        start = time.process_time()
        scenes = model.infer(images, with_masks=True)
        of_model += time.process_time() - start
        windows += len(images)
        return scenes

    def timed(name: str, call: Callable[..., Any], *args: Any) -> Any:
        start = time.process_time()
        found = call(*args)
        parts[name] = time.process_time() - start
        return found

    def ready(pixels: np.ndarray) -> None:
        padded(domed(prepare(pixels, settings, what="picture"), settings), shape)

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "picture.png")
        Image.fromarray(picture).save(file)
        pixels = timed("decoding", read_pixels, file, settings)
        timed("preparing", ready, pixels)
        found = timed("merging", find_objects, infer, pixels, settings, shape)
        answer = timed("measuring", describe_picture, "picture", pixels, found)
        timed("rows", picture_rows, "picture", answer)
    # `find_objects` prepares the picture and calls the model, too.
    parts["merging"] -= parts["preparing"] + of_model
    parts["model"] = of_model
    return {"parts": parts, "windows": windows, "objects": len(found.probability)}


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
    headers = ["", "images/s", "without start", "for a CPU second", "without start"]
    first, second = results["alone"]
    runs = ("model alone", first), ("Beam", results["beam"]), ("model alone", second)
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
    megapixels, windows = _SIDE**2 / 1e6, results["windows"]
    rows = [
        [name, f"{s:.3f}", f"{s / total:.1%}", f"{s / megapixels:.2f}"]
        for name, s in sorted(parts.items(), key=lambda part: -part[1])
    ]
    headers = ["part", "CPU seconds", "share", "for a megapixel"]
    return (
        f"{markdown_table(headers, rows)}\n\nA picture of {_SIDE} x {_SIDE} pixels: "
        f"{windows} windows, {1e3 * parts['model'] / windows:.2f} ms of the model for "
        f"each, {results['objects']} objects, {total:.2f} s of one core."
    )
