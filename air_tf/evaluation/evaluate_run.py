"""Evaluates a run on its own dataset or on another."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from absl import logging

from air_tf.config import AIR3DConfig, DataConfig, RunConfig
from air_tf.config.datasets import USER_SOURCES
from air_tf.data import sources
from air_tf.data.picture_windows import window_set
from air_tf.errors import InputError
from air_tf.evaluation.bounds import iwae_bound
from air_tf.evaluation.diagnosis import diagnose
from air_tf.evaluation.evaluate_model import evaluate_model
from air_tf.evaluation.evaluation import Evaluation
from air_tf.evaluation.picture_counts import picture_figures
from air_tf.evaluation.probe import labelled_codes, linear_probe
from air_tf.evaluation.report import report
from air_tf.files import replacing
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.renderers.renderer import renderer_errors
from air_tf.runs import RunDir, load_images
from air_tf.structs import ImageSet

# Number of training images whose objects the linear probe is fitted to.
_NUM_FOR_PROBE = 10_000


def evaluate_run(
    run: RunDir,
    data: Mapping[str, str] | None = None,
    *,
    split: str = "test",
    data_dir: str | None = None,
    max_objects: int | None = None,
    proposals: int | None = None,
    num_samples: int | None = None,
    fitted_count: bool = False,
    report_file: str | os.PathLike | None = None,
) -> Evaluation:
    """Evaluates a trained run.

    Args:
      run: the run.
      data: fields of `DataConfig`. Without "dataset", they override fields of the
        run's data.
      split: of the dataset. The user's own images that the run was not trained on
        have no splits: with "test", all of them are evaluated.
      data_dir: of TFDS; TFDS' default if omitted.
      max_objects: T; that of training if omitted.
      proposals: K, see `AIR.with_proposals`; that of training if omitted.
      num_samples: K of the importance-weighted bound, which is not computed if
        omitted.
      fitted_count: whether bounds use p(n) as fitted to the training images, instead
        of the p(n) of training.
      report_file: HTML file for `report`, which is not written if omitted.

    Returns:
      All figures except `training_seconds`. Those of the linear probe are None for
      the user's own images, which have no labels, and for the training split.

    Raises:
      InputError: for a run or images that can't be used.
      OutputError: if the report can't be written.
    """
    air = run.load_model(proposals)
    shape = air.config.image_shape
    config = run.read_config().with_data(data or {})
    dataset = config.data.dataset
    train, whole = None, dict[str, Any]()
    logging.info("Loading the images of %s.", dataset)
    if config.pictures is not None:
        steps = config.prediction_steps(max_objects)
        images, split, whole = _own_windows(run, config.data, air, split, steps)
    elif dataset in USER_SOURCES:
        images, split = _own_images(run, config, split, shape)
    else:
        wanted = list(dict.fromkeys((split, "train")))
        splits = load_images(config, wanted, data_dir=data_dir, with_details=wanted)
        images, train = splits[split], splits["train"].head(_NUM_FOR_PROBE)
    if images.images.shape[1:] != shape:
        raise InputError(
            f"images of {dataset} are {_by(images.images.shape[1:])}; the model of "
            f"{run.path} expects {_by(shape)}"
        )
    if num_samples is not None and isinstance(air, AIR3D):
        raise InputError("is iwae; expected elbo for 3D scenes", field="bound")
    logging.info("Evaluating %d images of %s, %s.", len(images.images), dataset, split)
    with renderer_errors():
        evaluation = evaluate_model(
            air,
            images,
            max_objects=max_objects,
            fitted_count=fitted_count,
            by_step=True,
            show_progress=True,
        )
    added: dict[str, Any] = {"dataset": dataset, "split": split}
    if num_samples is not None and isinstance(air, AIR):
        logging.info("Computing the bound with %d samples.", num_samples)
        added["num_samples"] = num_samples
        added["iwae"] = iwae_bound(
            air,
            images.images,
            num_samples=num_samples,
            max_objects=max_objects,
            fitted_count=fitted_count,
        )
    if train is not None and split != "train" and isinstance(air, AIR):
        logging.info("Fitting the linear probe to %d images.", len(train.images))
        probe = linear_probe(
            *(labelled_codes(air, part, max_objects) for part in (train, images))
        )
        added |= {f"probe_{name}": value for name, value in probe._asdict().items()}
    added |= whole
    evaluation = dataclasses.replace(evaluation, **added, warnings=diagnose(evaluation))
    if report_file is not None:
        logging.info("Writing the report.")
        title = f"{run.path.resolve().name} on {dataset}, {split}"
        with replacing(report_file) as path:
            path.write_text(report(air, images, evaluation, title), encoding="utf-8")
    return evaluation


def _own_images(
    run: RunDir, config: RunConfig, split: str, shape: tuple[int, int, int]
) -> tuple[ImageSet, str]:
    """A split of the user's images if the run was trained on them, else all images."""
    everything = sources.load_user_images(
        config.data,
        image_shape=shape,
        of_one_camera=isinstance(config.model, AIR3DConfig),
    )
    trained_on = sources.split_user_images(everything, "train")
    if sources.fingerprint(trained_on) == run.read_data_fingerprint():
        return sources.split_user_images(everything, split), split
    _require_test(split)
    return everything, "all"


def _own_windows(
    run: RunDir, config: DataConfig, air: AIR | AIR3D, split: str, max_objects: int
) -> tuple[ImageSet, str, dict[str, Any]]:
    """As `_own_images`, of a run that cuts windows from pictures; and their figures."""
    settings = run.read_config().pictures
    assert settings is not None and isinstance(air, AIR)
    pictures = sources.load_pictures(config, settings)
    chosen = "all"
    if pictures.split("train").fingerprint() == run.read_data_fingerprint():
        pictures, chosen = pictures.split(split), split
    else:
        _require_test(split)
    windows = window_set(pictures, air.config.image_shape[:2])
    return windows, chosen, picture_figures(air, pictures, max_objects=max_objects)


def _require_test(split: str) -> None:
    if split != "test":
        raise InputError(
            f"is {split!r}, but the run was not trained on these images; expected "
            "test, which evaluates all of them",
            field="split",
        )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
