"""Makes the trained models that come with the package."""

import dataclasses
import os
import pathlib
import tempfile
import zipfile

import numpy as np
from absl import logging

import air_tf
from air_tf.config import PRESETS
from air_tf.errors import InputError
from air_tf.evaluation.diagnosis import diagnose
from air_tf.evaluation.evaluate_model import evaluate_model
from air_tf.evaluation.evaluation import Evaluation
from air_tf.files import make_output_dir, replacing, write_json
from air_tf.model.air import AIR
from air_tf.runs import RunDir
from air_tf.training.train import train

# Bits of a weight, with its sign: as many as fit into a file of this size.
_BITS = (8, 7, 6)
_MAX_BYTES = 980_000
_CARD = "README.md"
# Test images that figures are measured on.
_NUM_IMAGES = 1000
# Of what the data are made of; what the package draws itself is under its own licence.
_LICENCES = {
    "multi_digits": "that of the digits in scikit-learn, by E. Alpaydin and C. Kaynak "
    "(CC BY 4.0)",
}
_OWN_LICENCE = "that of air_tf, which draws the data (Apache 2.0)"
# Of the files in the archive, so that the same weights give the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


def pretrain(
    name: str,
    output_dir: str | os.PathLike,
    runs_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> Evaluation:
    """Trains with a preset, stores the model with rounded weights, and evaluates it.

    Resumes an interrupted training.

    Args:
      name: of the preset.
      output_dir: of the model's folder, which is replaced.
      runs_dir: of the run's folder.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      The figures of the stored model on test images.

    Raises:
      InputError: for a folder that can't be used, or a model that stays too large.
      OutputError: if a file can't be written.
      TrainingDiverged: see `train`.
    """
    run = RunDir(pathlib.Path(runs_dir) / name)
    train(PRESETS[name].config, run.path, data_dir=data_dir)
    return store_run(name, run, output_dir, data_dir=data_dir)


def store_run(
    name: str,
    run: RunDir,
    output_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
) -> Evaluation:
    """Stores a run that is trained to its end, see `pretrain`."""
    stored = RunDir(make_output_dir(pathlib.Path(output_dir) / name))
    for bits in _BITS:
        store(run.load_air(), stored.model_file, bits)
        size = stored.model_file.stat().st_size
        if size <= _MAX_BYTES:
            break
    else:
        raise InputError(
            f"{stored.model_file} has {size} bytes; expected at most {_MAX_BYTES}: a "
            "preset with smaller networks"
        )
    config = {
        **run.read_config().to_dict(),
        "data_fingerprint": None,
        "versions": run.read_versions() | {"air_tf": air_tf.__version__},
    }
    write_json(stored.config_file, config)
    evaluation = _evaluate(stored, data_dir)
    write_json(stored.metrics_json, evaluation.to_dict())
    with replacing(stored.path / _CARD) as path:
        path.write_text(card(name, stored, bits, evaluation), encoding="utf-8")
    logging.info("%s has %d bytes", stored.model_file, size)
    return evaluation


def _evaluate(run: RunDir, data_dir: str | None) -> Evaluation:
    """The figures of the stored model, as at the end of a training."""
    test = run.load_images(["test"], data_dir=data_dir, with_details=["test"])["test"]
    evaluation = evaluate_model(run.load_air(), test.head(_NUM_IMAGES))
    return dataclasses.replace(
        evaluation,
        dataset=run.read_config().data.dataset,
        split="test",
        warnings=diagnose(evaluation),
    )


def store(air: AIR, path: str | os.PathLike, bits: int) -> None:
    """Writes a .keras file with rounded weights, compressed.

    Args:
      air: the model, whose weights are rounded.
      path: of the file.
      bits: see `rounded`.

    Raises:
      OutputError: if it can't be written.
    """
    for variable in air.variables:
        variable.assign(rounded(variable.numpy(), bits))
    with tempfile.TemporaryDirectory() as folder, replacing(path) as temporary:
        plain = pathlib.Path(folder) / "model.keras"
        air.save(plain)
        with zipfile.ZipFile(plain) as found, zipfile.ZipFile(temporary, "w") as made:
            for member in found.infolist():
                info = zipfile.ZipInfo(member.filename, _DATE)
                made.writestr(info, found.read(member), zipfile.ZIP_LZMA)


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Weights as whole multiples of a power of 2, which compress well.

    Args:
      values: [..., n]; the power is chosen for each of the n outputs. Vectors and
        numbers stay as they are: there are few of them.
      bits: of the multiples, with their sign.

    Returns:
      The rounded weights, with errors of at most 2 ** -(bits - 1) of the largest
      weight of the output; of the same shape and type.
    """
    if values.ndim < 2:
        return values
    largest = np.abs(values).max(axis=tuple(range(values.ndim - 1)))
    # 2 ** exponent is above the largest.
    _, exponent = np.frexp(largest)
    step = np.ldexp(1.0, exponent - (bits - 1))
    return (np.round(values / step) * step).astype(values.dtype)


def card(name: str, run: RunDir, bits: int, evaluation: Evaluation) -> str:
    """The model's card.

    Args:
      name: of the preset.
      run: the stored model.
      bits: of its weights.
      evaluation: its figures.
    """
    config, versions = run.read_config(), run.read_versions()
    dataset, training = config.data.dataset, config.training
    height, width, channels = config.model.image_shape
    licence = _LICENCES.get(dataset.partition("/")[0], _OWN_LICENCE)
    about = (
        f"Counts objects in pictures of {height} x {width} x {channels} numbers, at "
        f"most {config.model.max_objects}, locates and draws them. Learned without "
        "labels (Attend, Infer, Repeat, Eslami et al. 2016)."
    )
    figures = (
        f"count accuracy {evaluation.count_accuracy:.2%}, mean IoU of boxes "
        f"{evaluation.mean_iou:.3f}, AP at 0.5 {evaluation.ap_50:.3f}, ELBO "
        f"{evaluation.elbo:.1f} nats"
    )
    lines = [
        f"# pretrained:{name}\n",
        f"{about}\n",
        f"- Data: `{dataset}`.",
        f"- Preset: {PRESETS[name].reason}",
        f"- Training: {training.steps} training steps of {training.batch_size} images, "
        f"seed {training.seed}, with "
        f"{', '.join(f'{key} {one}' for key, one in versions.items())}.",
        f"- On {evaluation.num_images:,} held-out images: {figures}.",
        "- Limits: use it for pictures like the data. Answers for others mean nothing, "
        "and it does not warn about them.",
        f"- Licence: {licence}.\n",
        "Made by\n",
        f"    python scripts/pretrain.py --presets={name} "
        "--output_dir=air_tf/pretrained\n",
        f"which trains with `--preset={name}` and rounds each weight to {bits} bits.",
    ]
    return "\n".join(lines) + "\n"
