"""Holds an exported model against Keras and LiteRT, through the path of a server."""

import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from air_tf.data import sources
from air_tf.deployment import serving_config
from air_tf.deployment.convert import check_content, to_tflite
from air_tf.deployment.edge import EdgeModel
from air_tf.deployment.export import WARM_UP, exported_run, find_version
from air_tf.deployment.session import ServedModel, served_steps
from air_tf.deployment.signatures import MAX_BATCH_SIZE, in_float32
from air_tf.errors import InputError
from air_tf.model.air import AIR, to_float
from air_tf.structs import Scenes
from air_tf.visualization.drawing import to_picture_bytes

_NUM_IMAGES = 320
_SIZES = (1, 3, MAX_BATCH_SIZE)
# Sums of a thousand float32 products, in another order; of the largest number.
_TOLERANCE = 1e-3
_ALLOWED_TYPES = (tf.float32.as_datatype_enum, tf.int32.as_datatype_enum)
_READERS = {
    "models.config": serving_config.read_models,
    "batching_parameters.pbtxt": serving_config.read_batching,
    "monitoring.config": serving_config.read_monitoring,
}
# What TF Serving refuses on a CPU, what depends on the batch a request is served
# in, and what LiteRT has not.
_FORBIDDEN = ("Random", "Xla", "PyFunc", "TensorArray", "Multinomial")


class Check(NamedTuple):
    name: str
    found: str
    passed: bool


def check_export(
    path: str | os.PathLike, *, data_dir: str | None = None
) -> Iterator[Check]:
    """Checks what was exported.

    Args:
      path: BASE/VERSION, or BASE for its largest version.
      data_dir: of TFDS, for held-out images of the run's dataset.

    Yields:
      Checks, passed or not.

    Raises:
      InputError: if there is nothing to check, or no held-out images.
    """
    version = find_version(path)
    run = exported_run(version)
    air = in_float32(run.load_model())
    served = ServedModel(version)
    steps = served_steps(served.signatures)
    splits = sources.load_splits(
        run.read_config().data,
        ["test"],
        image_shape=air.config.image_shape,
        data_dir=data_dir,
    )
    images = splits["test"].images[:_NUM_IMAGES]
    if images.dtype != np.uint8:  # what a PNG can hold
        images = np.round(images * 255.0).astype(np.uint8)
    yield from _check_parity(air, served, images, steps)
    yield from _check_litert(air, images, steps)
    yield from _check_signatures(served, images)
    yield from _check_operations(served)
    yield _check_bad_pixels(served, air)
    yield _check_warm_up(served, version)
    for name, read in _READERS.items():
        yield _check_settings(version.parent / name, read)


def _check_parity(
    air: AIR, served: ServedModel, images: np.ndarray, steps: int
) -> Iterator[Check]:
    """Every signature, in batches, against `AIR.infer` in the same batches."""
    wanted = air.infer(images, max_objects=steps, batch_size=MAX_BATCH_SIZE)
    image = to_float(images).numpy()
    inputs = {"serving_default": {"image": image}, "reconstruct": {"image": image}}
    if "serve_image_bytes" in served.signatures:
        pictures = np.array([to_picture_bytes(one) for one in images], object)
        inputs["serve_image_bytes"] = {"image_bytes": pictures}
    inputs["decode"] = {
        name: getattr(wanted, name) for name in ("z_where", "z_what", "presence")
    }
    for signature, arrays in inputs.items():
        found = _in_batches(served, signature, arrays)
        yield from _compare(f"Keras and {signature}", wanted, found)


def _in_batches(served, signature, arrays: Mapping[str, np.ndarray]):
    num = len(next(iter(arrays.values())))
    parts = [
        served(
            signature,
            {key: array[i : i + MAX_BATCH_SIZE] for key, array in arrays.items()},
        )
        for i in range(0, num, MAX_BATCH_SIZE)
    ]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _check_litert(air: AIR, images: np.ndarray, steps: int) -> Iterator[Check]:
    settings = {
        "format": "float32",
        "batch_size": 1,
        "max_objects": steps,
        "loop": "while",
    }
    content = to_tflite(air, settings, images)
    check_content(content, "float32", air.count_params())
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "air.tflite")
        file.write_bytes(content)
        found = EdgeModel(file).infer(images)
    wanted = air.infer(images, max_objects=steps, batch_size=1)
    yield from _compare("Keras and LiteRT", wanted, found._asdict())


def _compare(
    what: str, wanted: Scenes, found: Mapping[str, np.ndarray]
) -> Iterator[Check]:
    height, width = wanted.canvas.shape[1:3]
    for name in sorted(found):
        array = getattr(wanted, name)
        if array.dtype == np.int32:
            equal = float(np.mean(array == found[name]))
            yield Check(f"{what}: {name}", f"equal {equal:.2%}", equal == 1)
            continue
        tolerance = _TOLERANCE * max(1.0, float(np.abs(array).max()))
        if name == "boxes":  # which end at a whole pixel, perhaps on its threshold
            tolerance = 1.001 / min(height, width)
        error = float(np.abs(array - found[name]).max())
        yield Check(
            f"{what}: {name}", f"largest difference {error:.1e}", error <= tolerance
        )


def _check_signatures(served: ServedModel, images: np.ndarray) -> Iterator[Check]:
    """Batch first, known types, and rows that JSON holds, at several sizes."""
    image = to_float(images[:1]).numpy()
    scenes = served("reconstruct", {"image": image})
    examples = {"image": image, **scenes}
    if "serve_image_bytes" in served.signatures:
        examples["image_bytes"] = np.array([to_picture_bytes(images[0])], object)
    for name, signature in served.signatures.items():
        wrong = [
            key
            for key, output in signature.outputs.items()
            if output.dtype not in _ALLOWED_TYPES
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
                to_rows(found)
            except ValueError:
                wrong.append("a number that JSON has not")
        sizes = ", ".join(map(str, _SIZES))
        yield Check(
            f"signature {name}",
            f"wrong: {', '.join(wrong)}" if wrong else f"rows for {sizes} images",
            not wrong,
        )


def to_rows(outputs: Mapping[str, np.ndarray]) -> str:
    """The row format of TF Serving's REST interface.

    Raises:
      ValueError: for NaN and infinity.
    """
    num = len(next(iter(outputs.values())))
    rows = [
        {key: array[i].tolist() for key, array in outputs.items()} for i in range(num)
    ]
    return json.dumps({"predictions": rows}, allow_nan=False)


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


def _check_bad_pixels(served: ServedModel, air: AIR) -> Check:
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


def _check_settings(file: pathlib.Path, read) -> Check:
    try:
        read(file)
    except InputError as error:
        return Check(file.name, str(error), False)
    return Check(file.name, "parses", True)


def format_table(checks: Sequence[Check]) -> str:
    width = max(len(check.name) for check in checks)
    return "\n".join(
        f"{'ok  ' if passed else 'FAIL'}  {name:{width}}  {found}"
        for name, found, passed in checks
    )
