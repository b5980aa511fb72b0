"""Evaluates what a run's folder holds, on the run's data or on other."""

import dataclasses
import pathlib
from collections.abc import Mapping

from air_tf.config import DataConfig
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.evaluation.bounds import iwae_bound
from air_tf.evaluation.diagnosis import diagnose
from air_tf.evaluation.evaluate import evaluate
from air_tf.evaluation.probe import FIGURES, labelled_codes, linear_probe
from air_tf.evaluation.report import report
from air_tf.files import replacing
from air_tf.inference.steps import errors_by_step
from air_tf.runs import RunDir
from air_tf.structs import ImageSet

_NUM_FOR_PROBE = 10_000


def evaluate_run(
    run: RunDir,
    data: Mapping[str, str],
    *,
    split: str,
    data_dir: str | None = None,
    max_objects: int | None = None,
    num_samples: int | None = None,
    fitted_count: bool = False,
    report_file: str | None = None,
) -> dict:
    """Evaluates a trained run.

    Args:
      run: the run.
      data: fields of `DataConfig`; those of the run if there is no "dataset".
      split: of the dataset. A user's own images that the run was not trained on
        have no splits: all of them are held out, and are "test".
      data_dir: of TFDS; its own default if omitted.
      max_objects: T; that of training if omitted.
      fitted_count: bounds of p(n) as fitted, instead of that of training.
      num_samples: K of the importance-weighted bound; none if omitted.
      report_file: of the HTML page, see `air_tf.evaluation.report`; none if omitted.

    Returns:
      What `air_tf.evaluation.evaluate` returns, with the dataset and the split, with
      "reconstruction_error_by_step" as `errors_by_step` returns it, with "iwae" and
      "num_samples" if asked for, and with what `linear_probe` returns,
      fitted to training scenes: None where labels are not known.

    Raises:
      InputError: for a run or images that can't be used.
    """
    air = run.load_model()
    shape = air.config.image_shape
    if "dataset" not in data:
        data = {**dataclasses.asdict(run.read_config().data), **data}
    config = DataConfig(**data)
    train = None
    if config.dataset in sources.USER_SOURCES:
        images, split = _own_images(run, config, split, shape)
    else:
        wanted = {split, "train"}
        splits = sources.load_splits(
            config, wanted, image_shape=shape, data_dir=data_dir, with_details=wanted
        )
        images, train = splits[split], splits["train"].head(_NUM_FOR_PROBE)
    if images.images.shape[1:] != shape:
        raise InputError(
            f"images of {config.dataset} are {_by(images.images.shape[1:])}; the model "
            f"of {run.path} expects {_by(shape)}"
        )
    result = evaluate(air, images, max_objects=max_objects, fitted_count=fitted_count)
    result["reconstruction_error_by_step"] = errors_by_step(
        air, images.images, max_objects
    )
    if num_samples is not None:
        result["num_samples"] = num_samples
        result["iwae"] = iwae_bound(
            air,
            images.images,
            num_samples=num_samples,
            max_objects=max_objects,
            fitted_count=fitted_count,
        )
    result |= dict.fromkeys(FIGURES)
    if train is not None and split != "train":
        result |= linear_probe(
            *(labelled_codes(air, part, max_objects) for part in (train, images))
        )
    result["warnings"] = diagnose(result)
    if report_file is not None:
        title = f"{run.path.resolve().name} on {config.dataset}, {split}"
        with replacing(pathlib.Path(report_file)) as path:
            path.write_text(report(air, images, result, title), encoding="utf-8")
    return {"dataset": config.dataset, "split": split, **result}


def _own_images(run, config, split, shape) -> tuple[ImageSet, str]:
    """A split of a user's images if the run was trained on them, else all."""
    everything = sources.load_user_images(config, image_shape=shape)
    trained_on = sources.split_user_images(everything, "train")
    if sources.fingerprint(trained_on) == run.read_data_fingerprint():
        return sources.split_user_images(everything, split), split
    if split != "test":
        raise InputError(
            f"split is {split!r}, but the run was not trained on these images; "
            "expected test, which is all of them"
        )
    return everything, "all"


def _by(shape) -> str:
    return "x".join(str(size) for size in shape)
