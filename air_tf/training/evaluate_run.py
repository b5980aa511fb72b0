"""Evaluates what a run's folder holds, on the run's data or on other."""

import dataclasses
from collections.abc import Mapping

from air_tf.config import DataConfig
from air_tf.data import sources
from air_tf.errors import InputError
from air_tf.evaluation.bounds import iwae_bound
from air_tf.evaluation.evaluate import evaluate
from air_tf.structs import ImageSet
from air_tf.training.run_dir import RunDir


def evaluate_run(
    run: RunDir,
    data: Mapping[str, str],
    *,
    split: str,
    data_dir: str | None = None,
    max_steps: int | None = None,
    num_samples: int | None = None,
    fitted_count: bool = False,
) -> dict:
    """Evaluates a trained run.

    Args:
      run: the run.
      data: fields of `DataConfig`; those of the run if there is no "dataset".
      split: of the dataset. A user's own images that the run was not trained on
        have no splits: all of them are held out, and are "test".
      data_dir: of TFDS; its own default if omitted.
      max_steps: T; that of training if omitted.
      fitted_count: bounds of p(n) as fitted, instead of that of training.
      num_samples: K of the importance-weighted bound; none if omitted.

    Returns:
      What `air_tf.evaluation.evaluate` returns, with the dataset and the split, and
      with "iwae" and "num_samples" if asked for.

    Raises:
      InputError: for a run or images that can't be used.
    """
    air = run.load_model()
    shape = air.config.image_shape
    if "dataset" not in data:
        data = {**dataclasses.asdict(run.read_config().data), **data}
    config = DataConfig(**data)
    if config.dataset in sources.USER_SOURCES:
        images, split = _own_images(run, config, split, shape)
    else:
        splits = sources.load_splits(
            config, [split], image_shape=shape, data_dir=data_dir
        )
        images = splits[split]
    if images.images.shape[1:] != shape:
        raise InputError(
            f"images of {config.dataset} are {_by(images.images.shape[1:])}; the model "
            f"of {run.path} expects {_by(shape)}"
        )
    result = evaluate(air, images, max_steps=max_steps, fitted_count=fitted_count)
    if num_samples is not None:
        result["num_samples"] = num_samples
        result["iwae"] = iwae_bound(
            air,
            images.images,
            num_samples=num_samples,
            max_steps=max_steps,
            fitted_count=fitted_count,
        )
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
