"""Compares an exported model, run as a server runs it, with Keras and LiteRT."""

import contextlib
import json
import os
import pathlib
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tabulate import tabulate
from tensorflow.python.framework import op_def_registry

from air_tf.config import PictureConfig
from air_tf.deployment import serving_config
from air_tf.deployment.answers import dtype_of
from air_tf.deployment.convert import check_content, to_tflite
from air_tf.deployment.edge import Conversion, EdgeModel
from air_tf.deployment.export import WARM_UP, exported_run
from air_tf.deployment.exportable import Exportable, exportable
from air_tf.deployment.session import ServedModel, served_max_objects
from air_tf.deployment.signatures import MAX_BATCH_SIZE, in_float32
from air_tf.deployment.versions import find_version
from air_tf.deployment.writing import TEMPORARY, writing
from air_tf.errors import InputError
from air_tf.images import batches
from air_tf.inference.tabletop import kinds_of
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.visualization.drawing import to_picture_bytes

_NUM_IMAGES = 320
_SIZES = (1, 3, MAX_BATCH_SIZE)
# Runtimes add a thousand float32 products in different orders. Relative to the largest
# number of an output.
_TOLERANCE = 1e-3
_READERS: dict[str, Callable[[pathlib.Path], Any]] = {
    "models.config": serving_config.read_models,
    "batching_parameters.pbtxt": serving_config.read_batching,
    "monitoring.config": serving_config.read_monitoring,
}
# Operations that TF Serving refuses on a CPU, whose results depend on the batch that
# a request is put into, or that LiteRT does not have.
_FORBIDDEN = ("Random", "Xla", "PyFunc", "TensorArray", "Multinomial")


class Check(NamedTuple):
    """The result of one check."""

    name: str
    found: str
    passed: bool


def check_export(
    path: str | os.PathLike, *, data_dir: str | None = None
) -> Iterator[Check]:
    """Checks an exported version and the settings files beside it.

    Args:
      path: BASE/VERSION, or BASE for its largest version.
      data_dir: of TFDS, for held-out images of the run's dataset.

    Yields:
      Checks, passed or not.

    Raises:
      InputError: if there is nothing to check, or no held-out images.
      OutputError: if the folder of temporary files can't be written to.
    """
    version = find_version(path)
    run = exported_run(version)
    air = in_float32(run.load_model())
    with contextlib.closing(ServedModel(version)) as served:
        max_objects = served_max_objects(served.signatures)
        pictures = run.read_config().pictures
        model = exportable(air, max_objects, pictures)
        images = run.load_images(["test"], data_dir=data_dir)["test"].images
        images = images[:_NUM_IMAGES]
        if images.dtype != np.uint8:  # as in a PNG
            images = np.round(images * 255.0).astype(np.uint8)
        yield from _check_parity(model, served, images)
        yield from _check_litert(air, images, max_objects, pictures)
        yield from _check_signatures(served, images)
        yield from _check_operations(served)
        yield _check_bad_pixels(served, air)
        yield _check_warm_up(served, version)
    for name, read in _READERS.items():
        yield _check_settings(version.parent / name, read)


def _check_parity(
    model: Exportable, served: ServedModel, images: np.ndarray
) -> Iterator[Check]:
    """Every signature, in batches, against `infer` in the same batches."""
    scenes = model.air.infer(
        images, max_objects=model.max_objects, batch_size=MAX_BATCH_SIZE
    )
    constants = {
        name: np.tile(value, (len(images), 1))
        for name, value in model.constants.items()
    }
    wanted = types.SimpleNamespace(**model.with_canvas(scenes), **constants)
    image = to_float(images).numpy()
    inputs: dict[str, Mapping[str, np.ndarray]] = {
        "serving_default": {"image": image},
        "reconstruct": {"image": image},
    }
    if "serve_image_bytes" in served.signatures:
        pictures = np.array([to_picture_bytes(one) for one in images], object)
        inputs["serve_image_bytes"] = {"image_bytes": pictures}
    if model.latents:
        inputs["decode"] = {name: getattr(wanted, name) for name in model.latents}
    for signature, arrays in inputs.items():
        found = _in_batches(served, signature, arrays)
        yield from _compare(f"Keras and {signature}", wanted, found)


def _in_batches(
    served: ServedModel, signature: str, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    first = next(iter(arrays.values()))
    parts = [
        served(signature, {key: array[batch] for key, array in arrays.items()})
        for batch, _ in batches(first, MAX_BATCH_SIZE)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _check_litert(
    air: AIR | AIR3D,
    images: np.ndarray,
    max_objects: int,
    pictures: PictureConfig | None,
) -> Iterator[Check]:
    conversion = Conversion(
        "float32",
        air.config.image_shape,
        max_objects,
        kinds=kinds_of(air.config),
        pictures=pictures,
    )
    content = to_tflite(air, conversion)
    check_content(content, "float32", air.count_params())
    with writing(TEMPORARY), tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "air.tflite")
        file.write_bytes(content)
        found = EdgeModel(file).infer(images)
    wanted = air.infer(images, max_objects=max_objects, batch_size=1)
    yield from _compare("Keras and LiteRT", wanted, found._asdict())


def _compare(
    what: str, wanted: Any, found: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    """Each of `found` with the field of that name; with canvases or masks in both."""
    for name in sorted(found):
        array = getattr(wanted, name)
        if not np.issubdtype(array.dtype, np.floating):
            equal = float(np.mean(array == found[name]))
            yield Check(f"{what}: {name}", f"equal {equal:.2%}", equal == 1)
            continue
        tolerance = _TOLERANCE * max(1.0, float(np.abs(array).max()))
        if name == "boxes":
            # Boxes end at whole pixels: rounding may move a pixel over the threshold.
            pixels = wanted.mask if hasattr(wanted, "mask") else wanted.canvas[..., 0]
            tolerance = 1.001 / min(pixels.shape[-2:])
        error = float(np.abs(array - found[name]).max())
        yield Check(
            f"{what}: {name}", f"largest difference {error:.1e}", error <= tolerance
        )


def _check_signatures(served: ServedModel, images: np.ndarray) -> Iterator[Check]:
    """Outputs have the batch first, known types, and numbers that JSON can hold."""
    image = to_float(images[:1]).numpy()
    scenes = served("reconstruct", {"image": image})
    examples = {"image": image, **scenes}
    if "serve_image_bytes" in served.signatures:
        examples["image_bytes"] = np.array([to_picture_bytes(images[0])], object)
    for name, signature in served.signatures.items():
        wrong = [
            key
            for key, output in signature.outputs.items()
            if tf.as_dtype(output.dtype).name != dtype_of(key)
            or not output.tensor_shape.dim
            or output.tensor_shape.dim[0].size != -1
        ]
        for size in _SIZES:
            inputs = {
                key: np.repeat(examples[key], size, axis=0) for key in signature.inputs
            }
            found = served(name, inputs)
            wrong += [key for key, array in found.items() if len(array) != size]
            try:
                json.dumps(
                    [
                        array.tolist()
                        for array in found.values()
                        if array.dtype != object
                    ],
                    allow_nan=False,
                )
            except ValueError:
                wrong.append("NaN or infinity, which JSON can't hold")
        sizes = ", ".join(map(str, _SIZES))
        yield Check(
            f"signature {name}",
            f"wrong: {', '.join(wrong)}" if wrong else f"rows for {sizes} images",
            not wrong,
        )


def _check_operations(served: ServedModel) -> Iterator[Check]:
    graph = served.graph_def
    nodes = [*graph.node]
    for function in graph.library.function:
        nodes += function.node_def
    found = {node.op for node in nodes}
    functions = {function.signature.name for function in graph.library.function}
    wrong = [op for op in found if any(part in op for part in _FORBIDDEN)]
    wrong += [
        f"unknown {op}" for op in found - functions if op_def_registry.get(op) is None
    ]
    wrong += [
        f"{node.op}, compiled by XLA"
        for node in nodes
        if node.attr["_XlaMustCompile"].b
    ]
    yield Check(
        "operations",
        f"forbidden: {', '.join(sorted(wrong))}"
        if wrong
        else f"{len(found)}, all known",
        not wrong,
    )
    loops = found & {"While", "StatelessWhile"}
    yield Check("the attend loop", ", ".join(loops) or "no loop", bool(loops))


def _check_bad_pixels(served: ServedModel, air: AIR | AIR3D) -> Check:
    shape = (1, *air.config.image_shape)
    bad = (np.nan, np.inf, -np.inf, 1e30)
    wrong = []
    for value in bad:
        image = np.full(shape, value, np.float32)
        clean = np.full(shape, 1.0 if value > 0 else 0.0, np.float32)
        found = served("reconstruct", {"image": image})
        wanted = served("reconstruct", {"image": clean})
        if any(not np.array_equal(found[key], wanted[key]) for key in found):
            wrong.append(str(value))
    return Check(
        "pixels that are NaN or out of range",
        f"not cleaned: {', '.join(wrong)}" if wrong else "cleaned",
        not wrong,
    )


def _check_warm_up(served: ServedModel, version: pathlib.Path) -> Check:
    from tensorflow_serving.apis import prediction_log_pb2

    replayed = set()
    try:
        for record in tf.data.TFRecordDataset(str(version / WARM_UP)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            name = request.model_spec.signature_name
            served(
                name,
                {key: tf.make_ndarray(value) for key, value in request.inputs.items()},
            )
            replayed.add(name)
    except (tf.errors.OpError, KeyError, ValueError) as error:
        return Check("warm-up requests", str(error).splitlines()[0], False)
    missing = set(served.signatures) - replayed
    return Check(
        "warm-up requests",
        f"none for {', '.join(missing)}" if missing else "replayed, every signature",
        not missing,
    )


def _check_settings(file: pathlib.Path, read: Callable[[pathlib.Path], Any]) -> Check:
    try:
        read(file)
    except InputError as error:
        return Check(file.name, str(error), False)
    return Check(file.name, "parses", True)


def format_table(checks: Sequence[Check]) -> str:
    """A line for every check."""
    rows = [("ok" if passed else "FAIL", name, found) for name, found, passed in checks]
    return tabulate(rows, tablefmt="plain", disable_numparse=True)
