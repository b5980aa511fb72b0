"""Trains a model and writes the folder of the run."""

import dataclasses
import os
import shutil
import sys
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image

from air_tf.config import RunConfig
from air_tf.config.datasets import USER_SOURCES
from air_tf.data import sources
from air_tf.data.picture_windows import PictureSet, WindowSampler
from air_tf.data.scenes import SPLITS
from air_tf.errors import InputError, TrainingDiverged
from air_tf.evaluation.diagnosis import diagnose
from air_tf.evaluation.evaluate_model import evaluate_model
from air_tf.evaluation.evaluation import Evaluation
from air_tf.evaluation.picture_counts import picture_figures
from air_tf.files import reading_stored, replacing, write_json
from air_tf.inference.explain import explain, generated_canvases
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.pretrained import refuse_pretrained
from air_tf.renderers.renderer import renderer_errors
from air_tf.runs import RunDir, load_images, make_model
from air_tf.structs import ImageSet
from air_tf.training import callbacks
from air_tf.training.batches import training_batches, window_batches
from air_tf.training.distribute import Replicas, start
from air_tf.training.fit_priors import fit_priors
from air_tf.training.trainer import Trainer, make_optimizer, steps_per_execution
from air_tf.visualization import film, pictures

# Test images among which wrong counts are searched for pictures.
_MAX_SEARCHED = 1000
_NUM_PICTURES, _NUM_WRONG, _NUM_SAMPLES = 32, 8, 10
# Pictures whose median is compared with the empty table, and how much may differ.
_NUM_FOR_GROUND, _MAX_GROUND_DIFFERENCE = 200, 0.05


def train(
    config: RunConfig,
    model_dir: str | os.PathLike,
    *,
    data_dir: str | None = None,
    pictures: PictureSet | None = None,
    distribute: str = "none",
) -> Evaluation:
    """Trains a model, or resumes its training, and evaluates it on test images.

    A run that is already trained to its end is not trained again.

    Args:
      config: all settings. Unless the dataset is a folder of pictures, `image_shape`
        is replaced by the shape of the dataset's images.
      model_dir: the folder of the run, see `air_tf.runs`.
      data_dir: of TFDS; TFDS' default if omitted.
      pictures: in memory, for a config with `pictures`; read from its folder if
        omitted.
      distribute: which devices and workers train together, see `distribute.start`. Of
        several workers, only the chief uses `model_dir`.

    Returns:
      The figures on test images, as in metrics.json.

    Raises:
      InputError: for settings, images or a folder that can't be used.
      OutputError: if a file can't be written.
      ProcessKilled: if another worker ends before its work is done.
      RendererError: if a renderer's process ends and can't be started again.
      TrainingDiverged: if the objective or its gradient is NaN or infinite.
    """
    refuse_pretrained(model_dir)
    replicas = start(distribute, config)
    with replicas.lost_workers_named():
        data = replicas.together(partial(_load, config, data_dir, pictures))
        del pictures
        replicas.require_same(
            data.config,
            lambda: data.fingerprint or sources.fingerprint(data.splits["train"]),
        )
        return _train(data, RunDir(model_dir), replicas)


class _Data(NamedTuple):
    """The images of a run, and its settings, which may depend on them."""

    config: RunConfig
    splits: dict[str, ImageSet]
    fingerprint: str | None = None  # of the user's own images
    sampler: WindowSampler | None = None  # of windows to train on
    held_out: PictureSet | None = None


def _load(
    config: RunConfig, data_dir: str | None, pictures: PictureSet | None
) -> _Data:
    if config.pictures is not None:
        pictures = pictures or sources.load_pictures(config.data, config.pictures)
        shape = config.model.image_shape
        return _Data(
            dataclasses.replace(config, pictures=pictures.settings),
            sources.window_splits(pictures, SPLITS, shape),
            pictures.split("train").fingerprint(),
            WindowSampler(pictures.split("train"), shape[:2]),
            pictures.split("test"),
        )
    splits = load_images(config, SPLITS, data_dir=data_dir, with_details=["test"])
    config = config.with_image_shape(splits["train"].images.shape[1:])
    num = len(splits["train"].images)
    if config.training.batch_size > num:
        raise InputError(
            f"is {config.training.batch_size}; expected at most {num}, the number "
            "of training images",
            field="batch_size",
        )
    own = config.data.dataset in USER_SOURCES
    return _Data(config, splits, sources.fingerprint(splits["train"]) if own else None)


def _train(data: _Data, run: RunDir, replicas: Replicas) -> Evaluation:
    config, splits = data.config, data.splits
    with replicas.scope():
        air = make_model(config)

    def open_run() -> dict[str, Any] | None:
        """The figures of a run that has been trained to its end."""
        run.open(config, data.fingerprint, air.count_params())
        _warn_about_counts(config, splits["train"])
        _warn_about_ground(air, splits["train"])
        if not run.metrics_json.exists():
            return None
        logging.info("%s already holds this run, trained to its end.", run.path)
        return run.read_metrics_json()

    finished = replicas.in_chief(open_run)
    if finished is not None:
        with reading_stored(run.metrics_json):
            return Evaluation.from_dict(finished)

    trainer = Trainer(air, config.training, replicas)
    with replicas.scope():
        trainer.compile(
            optimizer=make_optimizer(config.training),
            jit_compile=config.training.jit_compile,
            steps_per_execution=steps_per_execution(config.training),
        )
        trainer.optimizer.build(air.trainable_variables)
    # A copy, because `_fit` frees the array.
    prior_images = splits["train"].images[: config.training.num_prior_images].copy()
    with renderer_errors():
        _fit(trainer, config, run, splits, data.sampler, replicas)

    def finish() -> dict[str, Any]:
        air.load_weights(run.best)
        with renderer_errors():
            if isinstance(air, AIR3D):
                air.fit_count_prior(prior_images)
            else:
                least = config.training.min_fitted_where_scale
                fit_priors(air, prior_images, min_scale=least)
            return _finish(air, config, run, splits["test"], data.held_out).to_dict()

    return Evaluation.from_dict(replicas.in_chief(finish))


def _warn_about_ground(air: AIR | AIR3D, images: ImageSet) -> None:
    """Most pictures of a table show the empty table in most pixels."""
    if not isinstance(air, AIR3D):
        return
    usual = np.median(to_float(images.images[:_NUM_FOR_GROUND]).numpy(), axis=0)
    difference = float(np.abs(usual - air.ground.numpy()).mean())
    if difference > _MAX_GROUND_DIFFERENCE:
        logging.warning(
            "The pictures differ from the empty table as the renderer draws it, by "
            "%.2f of the brightest value in a usual pixel. Check the camera, the light "
            "and the colours in `tabletop`.",
            difference,
        )


def _warn_about_counts(config: RunConfig, images: ImageSet) -> None:
    most = config.model.max_objects
    if images.counts is not None and images.counts.max() > most:
        logging.warning(
            "Images hold up to %d objects, but `max_objects` is %d, the largest count "
            "that can be inferred.",
            images.counts.max(),
            most,
        )


def _fit(
    trainer,
    config: RunConfig,
    run: RunDir,
    splits: dict[str, ImageSet],
    sampler: WindowSampler | None,
    replicas: Replicas,
) -> None:
    settings = config.training
    first_step = 0
    if replicas.in_chief(run.latest.exists):
        if replicas.is_chief:
            trainer.load_weights(run.latest)
        replicas.share(trainer.state)
        first_step = int(trainer.optimizer.iterations.numpy())
        logging.info(
            "Resuming %s after step %d of %d.", run.path, first_step, settings.steps
        )
    images = splits.pop("train").images
    if sampler is None:
        # Frees the array after the copy to TensorFlow: two copies need too much memory.
        images = tf.constant(images)
    all_callbacks: list[keras.callbacks.Callback] = [callbacks.StopOnNaN()]
    # Keras redraws the progress bar in place, which needs a terminal.
    verbose = 1 if sys.stdout.isatty() else 2
    if replicas.is_chief:
        validation = splits["validation"].head(settings.num_validation_images)
        held_out = callbacks.HeldOut(validation)
        log = callbacks.MetricsCsv(run, first_step)
        elbos = [row["val_elbo"] for row in log.rows]
        best = max((e for e in elbos if e is not None), default=-float("inf"))
        all_callbacks += [
            callbacks.Speed(),
            held_out,
            log,
            callbacks.Summaries(run, held_out),
            callbacks.Frames(run, held_out),
            callbacks.Checkpoints(run, best),
            callbacks.ProgressBar(settings.steps),
        ]
    else:
        verbose = 0
    every = settings.steps_per_evaluation
    num_epochs, remaining = divmod(settings.steps, every)

    def fit(start: int, **epochs) -> None:
        def batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
            given: dict[str, Any] = {
                "batch_size": settings.batch_size,
                "seed": settings.seed,
                "first_step": start,
                "replicas": context,
            }
            if sampler is None:
                return training_batches(images, **given)
            return window_batches(sampler, **given)

        trainer.fit(
            replicas.batches(batches),
            callbacks=all_callbacks,
            verbose=verbose,
            shuffle=False,
            **epochs,
        )

    try:
        if first_step < num_epochs * every:
            fit(
                first_step,
                initial_epoch=first_step // every,
                epochs=num_epochs,
                steps_per_epoch=every,
            )
        if remaining and first_step < settings.steps:
            fit(
                num_epochs * every,
                initial_epoch=num_epochs,
                epochs=num_epochs + 1,
                steps_per_epoch=remaining,
            )
    except TrainingDiverged as error:
        kept = f"the last good checkpoint is {run.latest}"
        raise TrainingDiverged(
            f"training diverged by {error}: the objective is NaN or infinite; "
            f"{kept if run.latest.exists() else 'there is no checkpoint yet'}; try a "
            "smaller `learning_rate` or another `seed`, in another `model_dir`"
        ) from None


def _finish(
    air: AIR | AIR3D,
    config: RunConfig,
    run: RunDir,
    test: ImageSet,
    held_out: PictureSet | None,
) -> Evaluation:
    """Writes the results of a run. metrics.json is last: it marks a complete run."""
    rows = run.read_metrics_csv()
    with replacing(run.model_file) as path:
        air.save(path)
    with replacing(run.training_curve) as path:
        pictures.save_training_curve(path, rows)
    _save_reconstructions(air, run, test)
    _save_film(run)
    with replacing(run.samples) as path:
        steps = config.model.max_objects
        rows_by_count = {"p(n)": generated_canvases(air, _NUM_SAMPLES)} | {
            f"n = {n}": generated_canvases(air, _NUM_SAMPLES, num_objects=n, seed=n)
            for n in range(1, steps + 1)
        }
        pictures.save_samples(
            path, rows_by_count, "Scenes from the prior, and with each count n"
        )
    evaluation = evaluate_model(air, test)
    evaluation = dataclasses.replace(
        evaluation,
        dataset=config.data.dataset,
        split="test",
        warnings=diagnose(evaluation),
        training_seconds=rows[-1]["seconds"],
        **(
            picture_figures(air, held_out, max_objects=config.prediction_steps())
            if held_out is not None and isinstance(air, AIR)
            else {}
        ),
    )
    write_json(run.metrics_json, evaluation.to_dict())
    return evaluation


def _save_film(run: RunDir) -> None:
    frames = [Image.open(path) for path in run.read_frames()]
    if not frames:
        return  # interrupted after this
    with replacing(run.film) as path:
        film.save_film(path, frames)
    with replacing(run.film_strip) as path:
        film.save_strip(path, frames)
    shutil.rmtree(run.frames)


def _save_reconstructions(air: AIR | AIR3D, run: RunDir, test: ImageSet) -> None:
    """Pictures of the first test images, then of images that are counted wrong."""
    candidates = test.head(_MAX_SEARCHED)
    chosen = list(range(min(_NUM_PICTURES, len(candidates.images))))
    if candidates.counts is not None:
        counts = air.infer(candidates.images).num_objects
        wrong = [
            i for i in (counts != candidates.counts).nonzero()[0] if i not in chosen
        ]
        chosen += wrong[:_NUM_WRONG]
    images = candidates.images[chosen]
    with replacing(run.reconstructions) as path:
        pictures.save_reconstructions(
            path,
            images,
            explain(air, images),
            None if candidates.counts is None else candidates.counts[chosen],
        )
