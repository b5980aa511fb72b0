"""What a method finds in pictures, compared with the truth, and kept in files."""

import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from air_tf.evaluation.label_metrics import (
    CountErrors,
    Detections,
    PictureScore,
    count_errors,
    match_boxes,
    score_labels,
)
from air_tf.files import read_json, replacing, write_json


class Pictures(NamedTuple):
    """Pictures of one size, with the truth."""

    names: Sequence[str]
    images: np.ndarray  # [N, H, W] uint8 or uint16
    labels: np.ndarray  # [N, H, W] uint16, 0 for the ground


class Found(NamedTuple):
    """What a method finds in N pictures."""

    labels: np.ndarray  # [N, H, W] uint16
    seconds: float  # a picture
    cpu_seconds: float  # a picture, of all threads; other programs don't change it


class Figures(NamedTuple):
    """Figures of a method over all pictures."""

    score: PictureScore
    counts: CountErrors
    f1_of_pictures: np.ndarray  # [N] F1 of boxes; 1 where nothing is and nothing found


def find_all(segment: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> Found:
    """Applies a method to each picture.

    Args:
      segment: from a picture [H, W] to a label image [H, W].
      images: [N, H, W].
    """
    segment(images[0])  # compiles, loads libraries
    start, start_cpu = time.perf_counter(), time.process_time()
    labels = [segment(image).astype(np.uint16) for image in images]
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - start_cpu
    return Found(np.stack(labels), seconds / len(images), cpu_seconds / len(images))


def measure(pictures: Pictures, labels: np.ndarray) -> Figures:
    """Compares label images, [N, H, W], with the truth."""
    scores = [score_labels(*pair) for pair in zip(pictures.labels, labels, strict=True)]
    total = scores[0]
    for one in scores[1:]:
        total = total.plus(one)
    f1 = [1.0 if one.boxes.f1 is None else one.boxes.f1 for one in scores]
    true = np.array([one.boxes.true for one in scores])
    found = np.array([one.boxes.found for one in scores])
    return Figures(total, count_errors(true, found), np.array(f1))


class Store:
    """What methods found, in a folder: a method that is there is not run again."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def get(
        self, name: str, run: Callable[[], tuple[Found, Mapping[str, Any]]]
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Label images of a method, and what is known about it.

        Args:
          name: of the method, which becomes that of two files.
          run: returns what it finds, and what else is to be kept, as JSON.
        """
        stem = "".join(c if c.isalnum() or c in "-." else "_" for c in name)
        file, labels_file = (self._folder / f"{stem}{end}" for end in (".json", ".npz"))
        if not file.exists():
            found, details = run()
            with replacing(labels_file) as path:
                np.savez_compressed(path, label=found.labels)
            write_json(
                file,
                {
                    "method": name,
                    "seconds": found.seconds,
                    "cpu_seconds": found.cpu_seconds,
                    **details,
                },
            )
        with np.load(labels_file, allow_pickle=False) as arrays:
            return arrays["label"], read_json(file)


def box_f1(true: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """F1 of boxes at IoU 0.5, over all pictures; 1 if nothing is and nothing is found.

    The same as that of `score_labels`, which takes far longer.

    Args:
      true: label images, [H, W] each.
      found: label images.
    """
    total = Detections()
    for one, other in zip(true, found, strict=True):
        total += match_boxes(one, other)
    return 1.0 if total.f1 is None else total.f1
