"""Objects as instances of COCO, https://cocodataset.org/#format-data."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from air_tf.files import replacing
from air_tf.inference.results.table import BOX

_CATEGORY = {"id": 1, "name": "object"}


def write_coco(
    path: str | os.PathLike,
    answers: Iterable[dict[str, Any]],
    read_labels: Callable[[str], np.ndarray],
) -> None:
    """Writes the objects of all pictures to a JSON file.

    Args:
      path: of the file.
      answers: of `describe_picture`.
      read_labels: gives the label image of a picture, [H, W], by its name.

    Raises:
      OutputError: if that fails.
    """
    images: list[dict[str, Any]] = []
    written = 0
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{{"categories": {json.dumps([_CATEGORY])}, "annotations": [')
        for answer in answers:
            image = {"id": len(images) + 1, "file_name": answer["image"]}
            images.append(image | {name: answer[name] for name in ("height", "width")})
            for instance in _instances(answer, read_labels(answer["image"])):
                written += 1
                entry = {"id": written, "image_id": image["id"], **instance}
                file.write(",\n" if written > 1 else "\n")
                file.write(json.dumps(entry))
        file.write(f'\n], "images": {json.dumps(images)}}}\n')


def _instances(answer: dict[str, Any], labels: np.ndarray) -> Iterator[dict[str, Any]]:
    """Entries of `annotations`; masks are runs of pixels, not compressed."""
    table = answer["objects"]
    columns = [table[name] for name in ("label", *BOX, "area", "probability")]
    for label, ymin, xmin, ymax, xmax, area, probability in zip(*columns, strict=True):
        inside = labels[ymin:ymax, xmin:xmax] == label
        yield {
            "category_id": _CATEGORY["id"],
            "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
            "area": area,
            "segmentation": {
                "size": list(labels.shape),
                "counts": _runs(inside, (ymin, xmin), labels.shape),
            },
            "iscrowd": 0,
            "score": probability,
        }


def _runs(
    inside: np.ndarray, corner: tuple[int, int], shape: tuple[int, ...]
) -> list[int]:
    """Lengths of runs outside and inside in turn, down the columns of the picture.

    Args:
      inside: [h, w] bool, the mask in its box.
      corner: (ymin, xmin) of the box.
      shape: (H, W) of the picture.
    """
    height, width = shape
    column, row = np.nonzero(inside.T)
    pixels = (column + corner[1]) * height + row + corner[0]
    last = np.flatnonzero(np.diff(pixels) > 1)
    starts = pixels[np.concatenate([[0], last + 1])]
    ends = pixels[np.concatenate([last, [-1]])] + 1
    borders = np.stack([starts, ends], axis=1).ravel()
    return np.diff(borders, prepend=0, append=height * width).tolist()
