"""A web page that runs a trained run's model in the browser."""

import contextlib
import io
import os
import pathlib
import tempfile

import numpy as np
from absl import logging
from PIL import Image

from air_tf.config import AdditiveConfig, BlackConfig, DifferenceConfig
from air_tf.deployment import web_page
from air_tf.deployment.convert import FORMATS, convert
from air_tf.deployment.edge import EdgeModel
from air_tf.deployment.writing import TEMPORARY, writing
from air_tf.errors import InputError
from air_tf.files import make_output_dir, replacing
from air_tf.images import to_uint8
from air_tf.model.air import AIR
from air_tf.runs import RunDir
from air_tf.structs import ImageSet
from air_tf.visualization.drawing import STEP_COLOURS

# An int8 model can't draw what is moved.
PAGE_FORMATS = tuple(format for format in FORMATS if format != "int8")
_NUM_SAMPLES = 12
# Held-out images that sizes of objects are taken from.
NUM_MEASURED = 200
# Sizes that the page shows: beyond them are a few objects that are cut off or merged.
_QUANTILES = (0.05, 0.5, 0.95)
# Over the usual size. Strokes of a brush are sharper than the objects of many models:
# large ones are explained by several objects.
_DRAWN_SHARE = 0.9


def make_demo(
    run: RunDir,
    *,
    format: str,
    max_objects: int | None = None,
    proposals: int | None = None,
    data_dir: str | None = None,
) -> web_page.Page:
    """Makes the page of a run.

    Args:
      run: a run of two-dimensional scenes whose training has ended.
      format: one of `PAGE_FORMATS`.
      max_objects: see `convert`; so for the next two.
      proposals: see above.
      data_dir: see above.

    Returns:
      The page, which `air_tf.deployment.web_page` writes.

    Raises:
      InputError: for a run that can't be used, see `convert` as well; or another number
        of channels than 1 or 3.
      OutputError: if the converter's temporary files can't be written.
    """
    if format not in PAGE_FORMATS:
        raise InputError(
            f"is {format!r}; expected {', '.join(PAGE_FORMATS)}", field="format"
        )
    if run.read_config().pictures is not None:
        raise InputError(
            f"{run.path} is a run on pictures of any size, of which a page would show "
            "single windows; expected one on images of one size",
            field="model_dir",
        )
    air = run.load_air()
    channels = air.config.image_shape[2]
    if channels not in (1, 3):
        raise InputError(
            f"a page can show 1 or 3 channels, but the canvas has {channels}"
        )
    held_out = run.load_images(["test"], data_dir=data_dir)["test"].head(NUM_MEASURED)
    with contextlib.ExitStack() as stack:
        with writing(TEMPORARY):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        file = pathlib.Path(folder) / "air.tflite"
        agreement = convert(
            run,
            file,
            format=format,
            max_objects=max_objects,
            proposals=proposals,
            data_dir=data_dir,
        )
        logging.info(
            "Counts agree on %.2f %% of %d test images.",
            100.0 * agreement.count_agreement,
            agreement.num_images,
        )
        model = EdgeModel(file)
        content = file.read_bytes()
    return of_model(air, model, content, held_out, title=run.path.resolve().name)


def of_model(
    air: AIR, model: EdgeModel, content: bytes, held_out: ImageSet, *, title: str
) -> web_page.Page:
    """The page of a converted model.

    Args:
      air: the model in Keras.
      model: the converted one.
      content: of its file.
      held_out: images that the page offers, and that the size of objects is taken from.
      title: name of the model.
    """
    height, width, channels = air.config.image_shape
    scenes = model.infer(held_out.images)
    counts = scenes.num_objects if held_out.counts is None else held_out.counts
    blank = air.generative.usual_ground(1).numpy()
    samples = held_out.images[_of_all_counts(counts)]
    sizes = object_sizes(scenes.boxes[scenes.presence == 1])
    is_black = isinstance(air.config.background, BlackConfig)
    settings = {
        "height": height,
        "width": width,
        "channels": channels,
        "maxObjects": model.max_objects,
        "format": model.conversion.format,
        "objectSizes": sizes,
        "drawnSize": sizes and drawn_size(sizes, (height, width)),
        "colours": STEP_COLOURS,
        # Light that others added is not read again.
        "readsDifference": isinstance(air.config.inference, DifferenceConfig)
        and isinstance(air.config.composition, AdditiveConfig),
        "ink": "#ffffff" if blank.mean() < 0.5 else "#000000",
        "choosesInk": channels == 3 or not is_black,
    }
    strip = np.concatenate([to_uint8(blank), to_uint8(samples)])
    return web_page.Page(title, settings, content, _to_strip(strip))


def _of_all_counts(counts: np.ndarray) -> np.ndarray:
    """Indices of up to `_NUM_SAMPLES` images with objects, of each count in turn."""
    turns = np.zeros(len(counts), int)
    for count in set(counts):
        same = counts == count
        turns[same] = np.arange(same.sum())
    order = np.lexsort([counts, turns])
    return order[counts[order] > 0][:_NUM_SAMPLES]


def object_sizes(boxes: np.ndarray) -> list[list[float]] | None:
    """Height and width of a small, a usual and a large object, as shares of the canvas.

    Args:
      boxes: [n, 4], of objects of held-out images.

    Returns:
      [3, 2]; None if there is no object.
    """
    if not len(boxes):
        return None
    sizes = np.quantile(boxes[:, 2:] - boxes[:, :2], _QUANTILES, axis=0)
    return np.round(sizes.astype(float), 4).tolist()


def drawn_size(sizes: list[list[float]], canvas_size: tuple[int, int]) -> float:
    """The longest side of a stroke's ink that the page shows to the model, in pixels.

    Drawings with a longer one are shown smaller.

    Args:
      sizes: of `object_sizes`.
      canvas_size: (H, W).
    """
    return float(_DRAWN_SHARE * np.max(np.array(sizes[1]) * canvas_size))


def _to_strip(images: np.ndarray) -> bytes:
    """A PNG file with images [N, H, W, C] side by side."""
    strip = np.concatenate(list(images), axis=1)
    data = io.BytesIO()
    Image.fromarray(strip if strip.shape[2] == 3 else strip[..., 0]).save(data, "PNG")
    return data.getvalue()


def write_one_file(demo: web_page.Page, path: str | os.PathLike) -> None:
    """Writes the page as one HTML file; raises OutputError if that fails."""
    with replacing(path) as temporary:
        temporary.write_text(web_page.one_file(demo), encoding="utf-8")


def write_files(
    demo: web_page.Page, folder: str | os.PathLike, *, overwrite: bool = False
) -> None:
    """Writes the page as files for a web server.

    Args:
      demo: the page.
      folder: made if it does not exist.
      overwrite: whether the files may exist.

    Raises:
      InputError: if one of them exists without `overwrite`, or the folder can't be
        made.
      OutputError: if a file can't be written.
    """
    found = web_page.files(demo)
    path = make_output_dir(folder, found, overwrite=overwrite)
    for name, content in found.items():
        with replacing(path / name) as temporary:
            temporary.write_bytes(content)
