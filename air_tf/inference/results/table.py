"""What is known of each object of a picture: as a table, and as JSON."""

import csv
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from air_tf.extras import require_extra
from air_tf.files import replacing
from air_tf.structs import PictureObjects

if TYPE_CHECKING:
    import pandas as pd

BOX = ("bbox-0", "bbox-1", "bbox-2", "bbox-3")
# Without codes, which may have any number of dimensions.
_COLUMNS = (
    "label",
    *BOX,
    "centroid-0",
    "centroid-1",
    "area",
    "intensity_mean",
    "probability",
)


def table_of_objects(picture: np.ndarray, objects: PictureObjects) -> "pd.DataFrame":
    """Measures the objects of a picture, see `measure_objects`.

    Raises:
      InputError: if pandas is missing, of the extra `pictures`.
      ValueError: if the labels are not those of the objects.
    """
    require_extra("pictures")
    import pandas as pd

    return pd.DataFrame(measure_objects(picture, objects))


def measure_objects(
    picture: np.ndarray, objects: PictureObjects
) -> dict[str, np.ndarray]:
    """Measures the objects of a picture. Columns have the names of scikit-image.

    In numpy alone, for devices.

    Args:
      picture: [H, W] or [H, W, C].
      objects: found in it.

    Returns:
      A row for each object, with the columns `label` (its value in `objects.labels`),
      `bbox-0` to `bbox-3` (ymin, xmin, ymax, xmax in pixels; the last two are
      exclusive), `centroid-0` and `centroid-1` (y, x), `area` in pixels,
      `intensity_mean` (in the unit of `picture`; of colours, their mean),
      `probability`, and `z_what-0`, `z_what-1`, ...

    Raises:
      ValueError: if the labels are not those of the objects.
    """
    intensity = picture.mean(axis=-1) if picture.ndim == 3 else picture
    places = np.nonzero(objects.labels)
    owners = objects.labels[places]
    order = np.argsort(owners, kind="stable")
    labels, first, areas = np.unique(
        owners[order], return_index=True, return_counts=True
    )
    if labels.tolist() != list(range(1, len(objects.probability) + 1)):
        raise ValueError("expected pixels of every object in `labels`, and no others")
    found = {"label": labels.astype(int)}
    sides = [place[order] for place in places]
    for i, side in enumerate(sides):
        found[f"bbox-{i}"] = _reduced(np.minimum, side, first)
        found[f"bbox-{i + 2}"] = _reduced(np.maximum, side, first) + 1
    found = {name: found[name] for name in ("label", *BOX)}
    for i, side in enumerate(sides):
        found[f"centroid-{i}"] = _reduced(np.add, side, first) / areas
    found["area"] = areas.astype(int)
    light = intensity[places][order].astype(np.float64)
    found["intensity_mean"] = _reduced(np.add, light, first) / areas
    found["probability"] = objects.probability
    for i, code in enumerate(objects.z_what.T):
        found[f"z_what-{i}"] = code
    return found


def _reduced(function: np.ufunc, values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Of the values from each of `first` to the next."""
    return function.reduceat(values, first) if len(first) else values


def describe_picture(
    image: str, picture: np.ndarray, objects: PictureObjects
) -> dict[str, Any]:
    """The answer for one picture, for JSON.

    Args:
      image: name or path of the picture.
      picture: [H, W] or [H, W, C].
      objects: found in it.

    Returns:
      "image", "height" and "width" in pixels, "count", "count_low", "count_high",
      "count_probability", and "objects": the columns of `measure_objects` as lists.
    """
    height, width = objects.labels.shape
    return {
        "image": image,
        "height": height,
        "width": width,
        "count": len(objects.probability),
        "count_low": int(objects.count_low),
        "count_high": int(objects.count_high),
        "count_probability": float(objects.count_probability),
        "objects": {
            name: column.tolist()
            for name, column in measure_objects(picture, objects).items()
        },
    }


def write_counts(path: str | os.PathLike, answers: Iterable[dict[str, Any]]) -> None:
    """Writes a CSV file with a row for each picture; raises OutputError.

    Args:
      path: of the file.
      answers: of `describe_picture`.
    """
    columns = ("image", "count", "count_low", "count_high", "count_probability")
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow((*columns[:-1], "probability"))
        writer.writerows([answer[name] for name in columns] for answer in answers)


def write_objects(path: str | os.PathLike, answers: Iterable[dict[str, Any]]) -> None:
    """Writes a CSV file with a row for each object of all pictures.

    Args:
      path: of the file.
      answers: of `describe_picture`.

    Raises:
      OutputError: if that fails.
    """
    require_extra("pictures")
    import pandas as pd

    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        header = True
        for answer in answers:
            table = pd.DataFrame(answer["objects"])
            table.insert(0, "image", answer["image"])
            # Seven digits are those of float32.
            table.to_csv(file, index=False, header=header, float_format="%.7g")
            header = False
        if header:
            csv.writer(file).writerow(("image", *_COLUMNS))
