"""Converts a trained run to LiteRT (TFLite) and compares the result with Keras."""

import concurrent.futures
import multiprocessing
import os
import pathlib
from collections.abc import Iterator, Set
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.deployment.agreement import Agreement, Agreement3D, compare
from air_tf.deployment.edge import METADATA_NAME, Conversion, EdgeModel
from air_tf.deployment.exportable import exportable
from air_tf.deployment.signatures import EdgeModule, in_float32
from air_tf.deployment.tflite_file import (
    add_metadata,
    builtin_operations,
    check_operations,
    operations_with,
)
from air_tf.deployment.writing import TEMPORARY, writing
from air_tf.errors import InputError, ProcessKilled
from air_tf.files import replacing
from air_tf.images import batches
from air_tf.inference.tabletop import kinds_of
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.runs import RunDir

# Bytes of a weight in the file; biases and small matrices stay float32.
FORMATS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
MIN_COUNT_AGREEMENT = 0.99
NUM_CALIBRATION_IMAGES = 500
_NUM_COMPARED = 2000


def convert(
    run: RunDir,
    output: str | os.PathLike,
    *,
    format: str,
    batch_size: int = 1,
    max_objects: int | None = None,
    proposals: int | None = None,
    num_calibration_images: int | None = None,
    data_dir: str | None = None,
    allow_disagreement: bool = False,
) -> Agreement | Agreement3D:
    """Writes a .tflite file.

    Args:
      run: a run whose training has ended.
      output: the file; replaced if it exists.
      format: one of `FORMATS`.
      batch_size: how many images the model takes at once; 0 for any number.
      max_objects: T; that of training if omitted.
      proposals: K, see `AIR.with_proposals`; that of training if omitted. A model in
        "int8" has none, because its quantiser does not support loops.
      num_calibration_images: training images from which "int8" takes its ranges;
        `NUM_CALIBRATION_IMAGES` if omitted, or all if there are fewer. Images that do
        not fill a batch are left out. Must be omitted for other formats.
      data_dir: of TFDS; its own default if omitted.
      allow_disagreement: writes the file even if too few counts agree.

    Returns:
      How it compares with Keras on test images.

    Raises:
      InputError: for an invalid argument, a run that can't be used, a model that the
        converter refuses, or one that disagrees with Keras; nothing is written, as
        with all errors.
      ProcessKilled: if the converter crashes.
      OutputError: if the file, or a temporary one, can't be written.
    """
    if format not in FORMATS:
        raise InputError(
            f"is {format!r}; expected {', '.join(FORMATS)}", field="format"
        )
    check_calibration(num_calibration_images, format=format, batch_size=batch_size)
    if format == "int8":
        if proposals:
            raise InputError(
                f"is {proposals}; expected 0 with `format` int8", field="proposals"
            )
        proposals = 0
    config, air = run.read_config(), in_float32(run.load_model(proposals))
    logging.info("Loading the images of %s.", config.data.dataset)
    splits = run.load_images(["train", "test"], data_dir=data_dir)
    calibration = None
    if format == "int8":
        calibration = _full_batches(
            splits["train"].images[: num_calibration_images or NUM_CALIBRATION_IMAGES],
            batch_size or 1,
        )
    conversion = Conversion(
        format=format,
        image_shape=air.config.image_shape,
        max_objects=config.prediction_steps(max_objects),
        batch_size=batch_size,
        num_calibration_images=None if calibration is None else len(calibration),
        kinds=kinds_of(air.config),
        pictures=config.pictures,
    )
    logging.info("Converting the model to %s.", format)
    if calibration is None:
        content = to_tflite(air, conversion)
    else:
        content = _in_child(run, conversion, calibration)
    check_content(content, format, air.count_params())
    output = pathlib.Path(output)
    with replacing(output) as temporary:
        temporary.write_bytes(content)
        compared = splits["test"].images[:_NUM_COMPARED]
        logging.info("Comparing it with Keras on %d test images.", len(compared))
        agreement = compare(air, EdgeModel(temporary), compared)
        if agreement.count_agreement < MIN_COUNT_AGREEMENT and not allow_disagreement:
            raise InputError(
                f"counts of the {format} model agree with Keras on "
                f"{agreement.count_agreement:.2%} of {agreement.num_images} test "
                f"images; expected at least {MIN_COUNT_AGREEMENT:.0%}, or "
                "`allow_disagreement`"
            )
    return agreement


def check_calibration(num_images: int | None, *, format: str, batch_size: int) -> None:
    """Checks `num_calibration_images` of `convert`; raises InputError."""
    field = "num_calibration_images"
    if format != "int8":
        if num_images is not None:
            raise InputError(
                f"is {num_images}; expected nothing unless `format` is int8",
                field=field,
            )
        return
    given = NUM_CALIBRATION_IMAGES if num_images is None else num_images
    if given < max(batch_size, 1):
        raise InputError(
            f"is {given}; expected a whole number of at least {max(batch_size, 1)}, "
            "one batch",
            field=field,
        )


def _full_batches(images: np.ndarray, batch: int) -> np.ndarray:
    num_images = len(images) // batch * batch
    if not num_images:
        raise InputError(
            f"is {batch}; expected at most {len(images)}, the number of training "
            "images to calibrate int8 on",
            field="batch_size",
        )
    return images[:num_images]


def to_tflite(
    air: AIR | AIR3D, conversion: Conversion, calibration: np.ndarray | None = None
) -> bytes:
    """Converts a model, using built-in operations only.

    "int8" quantises weights and activations of the networks' matrix products and
    convolutions, nearly all of the arithmetic. Cropping glimpses and drawing objects
    stay in float32: 8 bits can't represent positions to within a pixel.

    Args:
      air: in float32.
      conversion: the settings.
      calibration: [N, H, W, C], images from which int8 takes its ranges, in full
        batches; other formats need none.

    Returns:
      The contents of a .tflite file.

    Raises:
      InputError: if the converter refuses the model.
      OutputError: if the converter's temporary files can't be written.
    """
    format, batch = conversion.format, conversion.batch_size
    module = EdgeModule(
        air,
        max_objects=conversion.max_objects,
        batch_size=batch or None,
        loop=conversion.loop,
        decodes=conversion.decodes,
    )
    try:
        with writing(TEMPORARY):
            if format == "int8":
                assert calibration is not None
                model = exportable(air, conversion.max_objects)
                content = _quantise(
                    module,
                    calibration,
                    batch or 1,
                    operations=model.quantised,
                    heads=model.heads,
                )
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
    return add_metadata(content, METADATA_NAME, conversion.to_json())


def _converter(module: EdgeModule) -> tf.lite.TFLiteConverter:
    """A new converter, since each converts only once."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        module.functions, module
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


def _quantise(
    module: EdgeModule,
    calibration: np.ndarray,
    batch: int,
    *,
    operations: Set[str],
    heads: Set[int],
) -> bytes:
    """Converts with the networks' layers in int8, except the heads.

    All outputs of a layer share one scale, and a head's outputs differ in meaning:
    with logits from -20 to 20 among them, 8 bits are too coarse for a position.

    Args:
      module: the function to convert.
      calibration: see `to_tflite`.
      batch: images in a call.
      operations: names of those to quantise.
      heads: numbers of outputs of the layers to leave in float32.
    """

    def representative_dataset() -> Iterator[list[np.ndarray]]:
        for _, images in batches(calibration, batch):
            yield [to_float(images).numpy()]

    converter = _converter(module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=[
                name for name in builtin_operations() if name not in operations
            ],
            denylisted_nodes=operations_with(
                _converter(module).convert(), operations, heads
            ),
        ),
    )
    return debugger.get_nondebug_quantized_model()


def _in_child(run: RunDir, conversion: Conversion, calibration: np.ndarray) -> bytes:
    """`to_tflite` in another process: a crash of the converter ends only that one."""
    pool = concurrent.futures.ProcessPoolExecutor(
        max_workers=1, mp_context=multiprocessing.get_context("spawn")
    )
    with pool:
        try:
            return pool.submit(
                _convert_child, run.path, conversion, calibration
            ).result()
        except BrokenProcessPool:
            raise ProcessKilled(
                f"the converter crashed on the {conversion.format} model, or was killed"
            ) from None


def _convert_child(
    run: pathlib.Path, conversion: Conversion, calibration: np.ndarray
) -> bytes:
    air = in_float32(RunDir(run).load_model(proposals=0))
    return to_tflite(air, conversion, calibration)


def check_content(content: bytes, format: str, num_weights: int) -> None:
    """Checks that a .tflite file runs on LiteRT alone and holds all its weights.

    Raises:
      InputError: naming the operations that are not built in, or the sizes.
    """
    check_operations(content)
    smallest = FORMATS[format] * num_weights
    if len(content) < smallest:
        raise InputError(
            f"the converted model has {len(content)} bytes; expected at least "
            f"{smallest} for its {num_weights} weights"
        )
