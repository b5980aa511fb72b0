"""Writes a trained run as a SavedModel that TF Serving serves."""

import errno
import os
import pathlib
import re
import shutil
import tempfile
import time

import numpy as np
import tensorflow as tf

from air_tf.deployment import serving_config, serving_files
from air_tf.deployment.session import read_meta_graph
from air_tf.deployment.signatures import MAX_BATCH_SIZE, ServingModule, in_float32
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.runs import RunDir
from air_tf.visualization.drawing import to_picture_bytes

# TF Serving reads this file, and nothing else below assets.extra.
WARM_UP = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
_RUN = pathlib.Path("assets.extra", "run")
_OURS = {*serving_files.SETTINGS, serving_files.CARD}
_ABANDONED_SECONDS = 3600
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def export(
    run: RunDir,
    export_dir: str | os.PathLike,
    *,
    version: int | None = None,
    max_objects: int | None = None,
) -> pathlib.Path:
    """Writes EXPORT_DIR/VERSION and, if missing, the files beside it.

    The version appears when it is complete: a server that polls never sees half
    a model. With it goes what `check_export` needs: the Keras model, the settings
    and the figures of the run, in assets.extra/run.

    Args:
      run: a run whose training has ended.
      export_dir: a new folder, or that of other versions of the model.
      version: the next free number if omitted.
      max_objects: T; that of training if omitted.

    Returns:
      The folder of the version.

    Raises:
      InputError: for a run or a folder that can't be used; nothing is written.
    """
    base = pathlib.Path(export_dir)
    found = _versions_in(base)
    if version is None:
        version = max(found, default=0) + 1
    if not _VERSION.fullmatch(str(version)):
        raise InputError(f"version is {version}; expected 1 to {10**18 - 1}")
    if version in found:
        raise InputError(
            f"version {version} is in {base} already; expected a new one, such as "
            f"{max(found) + 1}"
        )
    air = in_float32(run.load_model())
    steps = air.config.max_objects if max_objects is None else max_objects
    section = serving_files.card_section(
        version, run.read_config(), steps, run.read_metrics_json(), run.read_versions()
    )
    warm_up = _warm_up_requests(air, steps)
    try:
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        # Beside the versions, to be moved on one file system; not a number, so
        # that no server takes it for one.
        folder = tempfile.mkdtemp(prefix=".new-", dir=base)
    except OSError as error:
        raise InputError(
            f"export_dir {base} can't be written to ({error.strerror})"
        ) from None
    try:
        new = pathlib.Path(folder)
        new.chmod(0o755)
        module = ServingModule(air, steps)
        tf.saved_model.save(module, folder, signatures=module.signatures())
        run.copy_to(new / _RUN)
        with tf.io.TFRecordWriter(str(new / WARM_UP)) as writer:
            for request in warm_up:
                writer.write(request)
        try:
            os.rename(new, base / str(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise InputError(
                f"version {version} has come into export_dir {base} meanwhile, from "
                "another export; run this one again"
            ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in serving_files.write_settings(base):
        print(f"{base / name} was there and is kept")
    serving_files.append_card(base, section)
    return base / str(version)


def _remove_abandoned(base: pathlib.Path) -> None:
    """What an export that was killed has left, an hour ago or more."""
    for folder in base.glob(".new-*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def find_version(path: str | os.PathLike) -> pathlib.Path:
    """BASE/VERSION itself, or the largest version in BASE.

    Raises:
      InputError: if there is none.
    """
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; expected that of export.py")
    # Whole or not: it is what a server would take.
    found = [
        int(child.name) for child in path.iterdir() if _VERSION.fullmatch(child.name)
    ]
    if not found:
        raise InputError(f"{path} holds no version; expected the folder of export.py")
    return path / str(max(found))


def exported_run(version: pathlib.Path) -> RunDir:
    """The run that a version was exported from: model, config and figures.

    Raises:
      InputError: if the version has none.
    """
    if not (version / _RUN).is_dir():
        raise InputError(f"{version} holds no {_RUN}; expected an export of export.py")
    return RunDir(version / _RUN)


def _versions_in(base: pathlib.Path) -> list[int]:
    """Versions that are there; refuses a folder that holds something else."""
    if not base.exists():
        return []
    if not base.is_dir():
        raise InputError(f"export_dir {base} is a file; expected a folder")
    found = []
    for child in base.iterdir():
        if _VERSION.fullmatch(child.name):
            meta_graph = read_meta_graph(child)
            if "serve_image_bytes" in meta_graph.signature_def or (
                "reconstruct" in meta_graph.signature_def
            ):
                found.append(int(child.name))
                continue
        elif child.name in _OURS or child.name.startswith(".new-"):
            continue
        raise InputError(
            f"export_dir {base} holds {child.name}, which export.py did not write; "
            "expected a new folder or that of other versions"
        )
    return found


def _warm_up_requests(air: AIR, steps: int) -> list[bytes]:
    """PredictionLogs of every signature, for 1 and for the most images.

    Of scenes that the model draws itself: no picture leaves with it.
    """
    serving_config.require_serving_api()
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    scenes = air.generate(MAX_BATCH_SIZE, num_objects=steps, max_objects=steps)
    canvas = np.clip(scenes.canvas, 0.0, 1.0)
    inputs = {
        "serving_default": {"image": canvas},
        "reconstruct": {"image": canvas},
        "decode": {
            name: getattr(scenes, name) for name in ("z_where", "z_what", "presence")
        },
    }
    if air.config.image_shape[2] in (1, 3):
        inputs["serve_image_bytes"] = {
            "image_bytes": np.array([to_picture_bytes(c) for c in canvas], object)
        }
    logs = []
    for signature, arrays in inputs.items():
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
