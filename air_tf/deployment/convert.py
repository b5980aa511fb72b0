"""Converts a trained run to LiteRT (TFLite), and holds the result against Keras."""

import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import tempfile
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from air_tf.data import sources
from air_tf.deployment.edge import METADATA_NAME, EdgeModel
from air_tf.deployment.signatures import EdgeModule, in_float32
from air_tf.errors import InputError
from air_tf.evaluation.metrics import mean_iou
from air_tf.files import replacing
from air_tf.model import networks
from air_tf.model.air import AIR, to_float
from air_tf.runs import RunDir

# Bytes of a weight in the file; biases and small matrices stay float32.
FORMATS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
MIN_COUNT_AGREEMENT = 0.99
_NUM_CALIBRATION = 500
_NUM_COMPARED = 2000


class Agreement(NamedTuple):
    """A converted model held against Keras, on images that neither was made from."""

    num_images: int
    count_agreement: float  # share of images
    mean_iou: float  # of boxes, where counts agree; 1 if there are none
    code_error: float  # mean |difference| of z_what of present objects
    code_scale: float  # standard deviation of z_what of present objects


def convert(
    run: RunDir,
    output: str | os.PathLike,
    *,
    format: str,
    batch_size: int = 1,
    max_objects: int | None = None,
    data_dir: str | None = None,
    allow_disagreement: bool = False,
) -> Agreement:
    """Writes a .tflite file.

    Args:
      run: a run whose training has ended.
      output: the file; replaced if it is there.
      format: one of `FORMATS`. "int8" is calibrated on training images.
      batch_size: how many images the model takes at once; 0 for any number.
      max_objects: T; that of training if omitted.
      data_dir: of TFDS; its own default if omitted.
      allow_disagreement: writes the file however few counts agree.

    Returns:
      How it compares with Keras on test images.

    Raises:
      InputError: for a run that can't be used, a converter that fails, or a model
        that disagrees with Keras; nothing is written.
    """
    air = in_float32(run.load_model())
    steps = air.config.max_objects if max_objects is None else max_objects
    splits = sources.load_splits(
        run.read_config().data,
        ["train", "test"],
        image_shape=air.config.image_shape,
        data_dir=data_dir,
    )
    settings = {
        "format": format,
        "batch_size": batch_size,
        "max_objects": steps,
        # The quantiser of LiteRT can't do loops, see `to_tflite`.
        "loop": "unrolled" if format == "int8" else "while",
    }
    calibration = splits["train"].images[:_NUM_CALIBRATION]
    if format == "int8":
        content = _in_child(run, settings, calibration)
    else:
        content = to_tflite(air, settings, calibration)
    check_content(content, format, air.count_params())
    output = pathlib.Path(output)
    with replacing(output) as temporary:
        temporary.write_bytes(content)
        agreement = compare(
            air, EdgeModel(temporary), splits["test"].images[:_NUM_COMPARED], steps
        )
        if agreement.count_agreement < MIN_COUNT_AGREEMENT and not allow_disagreement:
            raise InputError(
                f"counts of the {format} model agree with Keras on "
                f"{agreement.count_agreement:.2%} of {agreement.num_images} test "
                f"images; expected at least {MIN_COUNT_AGREEMENT:.0%}, or "
                "--allow_disagreement"
            )
    return agreement


def to_tflite(air: AIR, settings: dict[str, Any], calibration: np.ndarray) -> bytes:
    """Converts a model, with built-in operations alone.

    "int8" quantises the matrix products of the networks, weights and activations:
    nearly all of the arithmetic. Windows and drawing stay in float32, since 8 bits
    place nothing to within a pixel. Its quantiser kills the process on a loop
    (tensorflow issue 75140), so T copies of the step take the loop's place.

    Args:
      air: in float32.
      settings: "format", "batch_size", "max_objects" and "loop".
      calibration: [N, H, W, C], images that int8 takes its ranges from.

    Raises:
      InputError: if the converter refuses.
    """
    format, batch = settings["format"], settings["batch_size"]
    module = EdgeModule(
        air,
        max_objects=settings["max_objects"],
        batch_size=batch or None,
        unroll=settings["loop"] == "unrolled",
    )
    try:
        if format == "int8":
            heads = networks.HEAD_OUTPUTS | {2 * air.config.z_what_size}
            content = _quantise(module, calibration, batch or 1, heads)
        else:
            converter = _converter(module)
            if format != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if format == "float16":
                converter.target_spec.supported_types = [tf.float16]
            content = converter.convert()
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(f"the converter refuses the model ({reason})") from None
    about = {**settings, "image_shape": list(air.config.image_shape)}
    return _with_metadata(content, about)


def _converter(module: EdgeModule) -> tf.lite.TFLiteConverter:
    """A new one, since a converter converts once."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.infer], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


def _quantise(
    module: EdgeModule, calibration: np.ndarray, batch: int, heads: set[int]
) -> bytes:
    """Matrix products in int8, but those of so many outputs as `heads`.

    One scale serves all outputs of a product, and those of the heads mean different
    things: beside logits of -20 to 20, 8 bits leave a window no position.
    """

    def representative_dataset():
        for start in range(0, len(calibration) - batch + 1, batch):
            yield [to_float(calibration[start : start + batch]).numpy()]

    converter = _converter(module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=[
                name for name in _builtin_operations() if name != "FULLY_CONNECTED"
            ],
            denylisted_nodes=_products(_converter(module).convert(), heads),
        ),
    )
    return debugger.get_nondebug_quantized_model()


def _builtin_operations() -> list[str]:
    return [name for name in vars(schema.BuiltinOperator) if name.isupper()]


def _products(content: bytes, num_outputs: set[int]) -> list[str]:
    """Names of the matrix products that have one of these numbers of outputs."""
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    found = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        result = graph.Tensors(operator.Outputs(0))
        if code == schema.BuiltinOperator.FULLY_CONNECTED and (
            result.Shape(result.ShapeLength() - 1) in num_outputs
        ):
            found.append(result.Name().decode())
    return found


def _in_child(run: RunDir, settings: dict[str, Any], calibration: np.ndarray) -> bytes:
    """`to_tflite` where a crash of the converter ends another process."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(pathlib.Path(folder) / "calibration.npy", calibration)
        pool = concurrent.futures.ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn")
        )
        with pool:
            try:
                return pool.submit(
                    _convert_child, str(run.path), settings, folder
                ).result()
            except concurrent.futures.process.BrokenProcessPool:
                raise InputError(
                    f"the converter crashed on the {settings['format']} model"
                ) from None


def _convert_child(run: str, settings: dict[str, Any], folder: str) -> bytes:
    calibration = np.load(pathlib.Path(folder) / "calibration.npy", allow_pickle=False)
    return to_tflite(in_float32(RunDir(run).load_model()), settings, calibration)


def _with_metadata(content: bytes, about: dict[str, Any]) -> bytes:
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(about).encode())
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operations(content: bytes) -> list[str]:
    """Names of the operations that a .tflite file needs; custom ones as "custom X"."""
    names = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int)
    }
    model = schema.Model.GetRootAs(content)
    found = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            found.append(f"custom {code.CustomCode().decode()}")
        else:
            found.append(names[number])
    return sorted(found)


def check_content(content: bytes, format: str, num_weights: int) -> None:
    """Refuses operations that LiteRT has not, and files without their weights.

    Raises:
      InputError: naming them.
    """
    foreign = [
        name
        for name in operations(content)
        if name.startswith("custom") or name.lower().startswith("flex")
    ]
    if foreign:
        raise InputError(
            f"the converted model needs {', '.join(foreign)}; expected built-in "
            "operations alone"
        )
    floor = FORMATS[format] * num_weights
    if len(content) < floor:
        raise InputError(
            f"the converted model has {len(content)} bytes; expected at least {floor} "
            f"for its {num_weights} weights"
        )


def compare(
    air: AIR, edge: EdgeModel, images: np.ndarray, max_objects: int
) -> Agreement:
    """Holds a converted model against Keras.

    Args:
      air: the Keras model.
      edge: the converted one.
      images: [N, H, W, C].
      max_objects: T of both.
    """
    # As many at a time as in the file: then loops stop at the same step.
    keras_scenes = air.infer(
        images, max_objects=max_objects, batch_size=edge.metadata["batch_size"] or 64
    )
    edge_scenes = edge.infer(images)
    same = keras_scenes.num_objects == edge_scenes.num_objects
    present = (keras_scenes.presence * edge_scenes.presence) == 1  # [N, T]
    in_both = present & same[:, np.newaxis]
    overlap = mean_iou(
        *(
            [scenes.boxes[i, : scenes.num_objects[i]] for i in np.flatnonzero(same)]
            for scenes in (keras_scenes, edge_scenes)
        )
    )
    codes = keras_scenes.z_what[in_both], edge_scenes.z_what[in_both]
    some = bool(in_both.any())
    return Agreement(
        num_images=len(images),
        count_agreement=float(same.mean()),
        mean_iou=1.0 if overlap is None else overlap,
        code_error=float(np.abs(codes[0] - codes[1]).mean()) if some else 0.0,
        code_scale=float(codes[0].std()) if some else 0.0,
    )
