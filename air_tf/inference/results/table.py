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

_MEASURED = ("label", "bbox", "centroid", "area", "intensity_mean")
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
    """Measures the objects of a picture. Columns have the names of scikit-image.

    Args:
      picture: [H, W] or [H, W, C].
      objects: found in it.

    Returns:
      A row for each object, with the columns `label` (its value in `objects.labels`),
      `bbox-0` to `bbox-3` (ymin, xmin, ymax, xmax in pixels; the last two are
      exclusive), `centroid-0` and `centroid-1` (y, x), `area` in pixels,
      `intensity_mean` (in the picture's unit; of colours, their mean), `probability`,
      and `z_what-0`, `z_what-1`, ...

    Raises:
      InputError: if a package of the extra `pictures` is missing.
      ValueError: if the labels are not those of the objects.
    """
    require_extra("pictures")
    import pandas as pd
    from skimage.measure import regionprops_table

    intensity = picture.mean(axis=-1) if picture.ndim == 3 else picture
    table = pd.DataFrame(
        regionprops_table(objects.labels, intensity, properties=_MEASURED)
    )
    if table["label"].tolist() != list(range(1, len(objects.probability) + 1)):
        raise ValueError("expected pixels of every object in `labels`, and no others")
    codes = [f"z_what-{i}" for i in range(objects.z_what.shape[1])]
    found = pd.DataFrame(objects.z_what, columns=codes)
    found.insert(0, "probability", objects.probability)
    return pd.concat([table.astype({"area": int}), found], axis=1)


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
      "count_probability", and "objects": the columns of `table_of_objects` as lists.
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
        "objects": table_of_objects(picture, objects).to_dict("list"),
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
