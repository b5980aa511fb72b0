"""Writes a trained run as a SavedModel that TF Serving serves."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.deployment import model_card, serving_files
from air_tf.deployment.answers import Answers, find_answers
from air_tf.deployment.exportable import Exportable, exportable
from air_tf.deployment.session import read_meta_graph
from air_tf.deployment.signatures import MAX_BATCH_SIZE, ServingModule, in_float32
from air_tf.deployment.versions import NUMBER, require_new_version
from air_tf.deployment.writing import writing
from air_tf.errors import InputError
from air_tf.extras import require_extra
from air_tf.files import reading
from air_tf.runs import RunDir
from air_tf.visualization.drawing import to_picture_bytes

# TF Serving reads this file, and nothing else below assets.extra.
WARM_UP = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
_RUN = pathlib.Path("assets.extra", "run")
_OURS = {*serving_files.SETTINGS, model_card.CARD}
_ABANDONED_SECONDS = 3600


def export(
    run: RunDir,
    export_dir: str | os.PathLike,
    *,
    version: int | None = None,
    max_objects: int | None = None,
    proposals: int | None = None,
) -> pathlib.Path:
    """Writes EXPORT_DIR/VERSION and, if missing, the files beside it.

    The version appears when it is complete: a server that polls the folder never sees
    half a model. It contains what `check_export` needs, in assets.extra/run: the
    run's Keras model, settings and metrics.

    Args:
      run: a run whose training has ended.
      export_dir: a new folder, or one with other versions of the model.
      version: the next free number if omitted.
      max_objects: T; that of training if omitted.
      proposals: K, see `AIR.with_proposals`; that of training if omitted.

    Returns:
      The folder of the version.

    Raises:
      InputError: for a run or a folder that can't be used; nothing is written.
      OutputError: if the folder can't be written to.
    """
    base = pathlib.Path(export_dir)
    found = _versions_in(base)
    if version is None:
        version = max(found, default=0) + 1
    require_new_version(base, version)
    loaded = run.load_model(proposals)
    air = in_float32(loaded)
    config = run.read_config()
    model = exportable(air, config.prediction_steps(max_objects), config.pictures)
    if found:
        _require_same_outputs(base / str(max(found)), model.answers)
    section = model_card.card_section(
        version,
        model,
        config,
        run.read_metrics_json(),
        run.read_versions(),
    )
    module = ServingModule(air, model.max_objects, config.pictures)
    signatures = module.signatures()
    warm_up = _warm_up_requests(model, signatures)
    with writing(base):
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        # On the same file system as the versions, so that it can be renamed, and with
        # a name that is no number, so that servers ignore it.
        folder = tempfile.mkdtemp(prefix=".new-", dir=base)
    try:
        with writing(base):
            new = pathlib.Path(folder)
            new.chmod(0o755)
            tf.saved_model.save(module, folder, signatures=signatures)
            run.copy_to(new / _RUN)
            if proposals is not None:
                loaded.save(new / _RUN / run.model_file.name)
            with tf.io.TFRecordWriter(str(new / WARM_UP)) as writer:
                for request in warm_up:
                    writer.write(request)
            _rename(new, base / str(version))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    with writing(base):
        for name in serving_files.write_settings(base):
            logging.info("%s differs from the default and is kept", base / name)
        model_card.append_card(base, model, section)
    return base / str(version)


def _rename(new: pathlib.Path, final: pathlib.Path) -> None:
    try:
        os.rename(new, final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise InputError(
            f"{final.name} has just been written to {final.parent} by another export; "
            "run this one again",
            field="version",
        ) from None


def _remove_abandoned(base: pathlib.Path) -> None:
    """Removes what killed exports left an hour ago or earlier."""
    for folder in base.glob(".new-*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def exported_run(version: pathlib.Path) -> RunDir:
    """The run that a version was exported from: model, settings and metrics.

    Args:
      version: BASE/VERSION.

    Raises:
      InputError: if the version holds none, or can't be read.
    """
    with reading(version):
        found = (version / _RUN).is_dir()
    if not found:
        raise InputError(f"{version} holds no {_RUN}; expected an export of export.py")
    return RunDir(version / _RUN)


def _versions_in(base: pathlib.Path) -> list[int]:
    """Versions in the folder; refuses a folder that holds anything else."""
    with reading(base, field="export_dir"):
        if not base.exists():
            return []
        if not base.is_dir():
            raise InputError(f"{base} is a file; expected a folder", field="export_dir")
        children = sorted(base.iterdir())
    found = []
    for child in children:
        if NUMBER.fullmatch(child.name):
            meta_graph = read_meta_graph(child)
            if "serve_image_bytes" in meta_graph.signature_def or (
                "reconstruct" in meta_graph.signature_def
            ):
                found.append(int(child.name))
                continue
        elif child.name in _OURS or child.name.startswith(".new-"):
            continue
        raise InputError(
            f"{base} holds {child.name}, which export.py did not write; expected a new "
            "folder or one with other versions",
            field="export_dir",
        )
    return found


def _require_same_outputs(version: pathlib.Path, answers: Answers) -> None:
    """Raises InputError if clients of an existing version could not read answers."""
    outputs = read_meta_graph(version).signature_def["serving_default"].outputs
    with contextlib.suppress(KeyError):
        existing = find_answers(outputs)
        if existing is not answers:
            raise InputError(
                f"{version.parent} holds versions of {existing.model}; expected a new "
                f"folder for {answers.model}",
                field="export_dir",
            )


def _warm_up_requests(model: Exportable, signatures: Iterable[str]) -> list[bytes]:
    """PredictionLogs for every signature, with 1 and with `MAX_BATCH_SIZE` images.

    The scenes are samples of the model, so that an export contains no training data.
    """
    require_extra("serving")
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    samples = model.samples(MAX_BATCH_SIZE)
    canvas = np.clip(samples["canvas"], 0.0, 1.0)
    pictures = np.array([to_picture_bytes(one) for one in canvas], object)
    inputs = {
        "serving_default": {"image": canvas},
        "reconstruct": {"image": canvas},
        "decode": {name: samples[name] for name in model.latents},
        "serve_image_bytes": {"image_bytes": pictures},
    }
    logs = []
    for signature in signatures:
        arrays = inputs[signature]
        for size in (1, MAX_BATCH_SIZE):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = serving_files.MODEL_NAME
            request.model_spec.signature_name = signature
            for name, array in arrays.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(array[:size]))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            logs.append(log.SerializeToString())
    return logs
