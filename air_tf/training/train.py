"""The main job: from settings to a run's folder with a trained model in it."""

import os
import sys

import keras
import tensorflow as tf

from air_tf.config import RunConfig
from air_tf.data import sources
from air_tf.data.scenes import SPLITS
from air_tf.errors import InputError, TrainingDiverged
from air_tf.evaluation.diagnosis import diagnose
from air_tf.evaluation.evaluate import evaluate
from air_tf.files import replacing, write_json
from air_tf.model.air import AIR
from air_tf.runs import RunDir
from air_tf.structs import ImageSet
from air_tf.training import callbacks
from air_tf.training.batches import training_batches
from air_tf.training.fit_priors import fit_priors
from air_tf.training.trainer import Trainer, make_optimizer, steps_per_execution
from air_tf.visualization import pictures

# Held-out images are looked at often during training: a part of them will do.
_MAX_VALIDATION = 1000
_NUM_PICTURES, _NUM_WRONG, _NUM_SAMPLES = 32, 8, 10
_NUM_FOR_PRIORS = 10_000


def train(
    config: RunConfig, model_dir: str | os.PathLike, *, data_dir: str | None = None
) -> dict:
    """Trains, or resumes a training, evaluates on test images and writes the run.

    Args:
      config: all settings. For a dataset that is prepared or read, the canvas is
        that of its images.
      model_dir: the run's folder, see `air_tf.runs`.
      data_dir: of TFDS; its own default if omitted.

    Returns:
      What is in metrics.json.

    Raises:
      InputError: for settings, images or a folder that can't be used.
    """
    run = RunDir(model_dir)
    splits = sources.load_splits(
        config.data,
        SPLITS,
        image_shape=config.model.image_shape,
        data_dir=data_dir,
        with_details=["test"],
    )
    config = config.with_image_shape(splits["train"].images.shape[1:])
    num = len(splits["train"].images)
    if config.training.batch_size > num:
        raise InputError(
            f"batch_size is {config.training.batch_size}; expected at most {num}, the "
            "number of training images"
        )
    fingerprint = None
    if config.data.dataset in sources.USER_SOURCES:
        fingerprint = sources.fingerprint(splits["train"])

    keras.utils.set_random_seed(config.training.seed)
    policy = "mixed_bfloat16" if config.training.mixed_precision else "float32"
    air = AIR(config.model, dtype=policy)
    run.open(config, fingerprint, air.count_params())
    _warn_of_counts(config, splits["train"])
    if run.metrics_json.exists():
        print(f"{run.path} holds this run already, trained to its end.")
        return run.read_metrics_json()

    trainer = Trainer(air, config.training)
    trainer.compile(
        optimizer=make_optimizer(config.training),
        jit_compile=config.training.jit_compile,
        steps_per_execution=steps_per_execution(config.training),
    )
    trainer.optimizer.build(air.trainable_variables)
    # A copy: the array itself goes, see `_fit`.
    some = splits["train"].images[:_NUM_FOR_PRIORS].copy()
    _fit(trainer, config, run, splits)
    air.load_weights(run.best)
    fit_priors(air, some)
    return _finish(air, config, run, splits["test"])


def _warn_of_counts(config: RunConfig, images: ImageSet) -> None:
    most = config.model.max_objects
    if images.counts is not None and images.counts.max() > most:
        print(
            f"WARNING: images hold up to {images.counts.max()} objects, but "
            f"--max_objects is {most}: more are never counted."
        )


def _fit(trainer, config: RunConfig, run: RunDir, splits) -> None:
    settings = config.training
    first_step = 0
    if run.latest.exists():
        trainer.load_weights(run.latest)
        first_step = int(trainer.optimizer.iterations.numpy())
        print(f"Resuming {run.path} after step {first_step} of {settings.steps}.")
    # Once, and the array goes: two copies would be the peak of memory.
    images = tf.constant(splits.pop("train").images)
    validation = splits["validation"].head(_MAX_VALIDATION)
    held_out = callbacks.HeldOut(validation)
    log = callbacks.MetricsCsv(run, first_step)
    best = max((row["val_elbo"] for row in log.rows), default=-float("inf"))
    all_callbacks = [
        callbacks.StopOnNaN(),
        callbacks.Speed(),
        held_out,
        log,
        callbacks.Summaries(run, validation, held_out),
        callbacks.Checkpoints(run, best),
        callbacks.ProgressBar(),
    ]
    every = settings.steps_per_evaluation
    whole, rest = divmod(settings.steps, every)

    def fit(start: int, **epochs) -> None:
        batches = training_batches(
            images,
            batch_size=settings.batch_size,
            seed=settings.seed,
            first_step=start,
        )
        # The bar redraws its line, which only a terminal shows well.
        verbose = 1 if sys.stdout.isatty() else 2
        trainer.fit(
            batches, callbacks=all_callbacks, verbose=verbose, shuffle=False, **epochs
        )

    try:
        if first_step < whole * every:
            fit(
                first_step,
                initial_epoch=first_step // every,
                epochs=whole,
                steps_per_epoch=every,
            )
        if rest and first_step < settings.steps:
            fit(
                whole * every,
                initial_epoch=whole,
                epochs=whole + 1,
                steps_per_epoch=rest,
            )
    except TrainingDiverged as error:
        kept = f"the last good checkpoint is {run.latest}"
        raise TrainingDiverged(
            f"training diverged by {error}: the objective is not a number any more; "
            f"{kept if run.latest.exists() else 'there is no checkpoint yet'}; try a "
            "smaller --learning_rate or another --seed, in another --model_dir"
        ) from None


def _finish(air: AIR, config: RunConfig, run: RunDir, test: ImageSet) -> dict:
    """Writes what a run leaves behind; metrics.json last, the sign of its end."""
    rows = run.read_metrics_csv()
    with replacing(run.model_file) as path:
        air.save(path)
    with replacing(run.training_curve) as path:
        pictures.save_training_curve(path, rows)
    _save_reconstructions(air, run, test)
    with replacing(run.samples) as path:
        steps = config.model.max_objects
        rows_by_count = {"p(n)": air.generate(_NUM_SAMPLES).canvas} | {
            f"n = {n}": air.generate(_NUM_SAMPLES, num_objects=n, seed=n).canvas
            for n in range(1, steps + 1)
        }
        pictures.save_samples(
            path, rows_by_count, "Scenes drawn from the prior, and with each number n"
        )
    result = evaluate(air, test)
    result["dataset"] = config.data.dataset
    result["split"] = "test"
    result["warnings"] = diagnose(result)
    result["training_seconds"] = rows[-1]["seconds"]
    write_json(run.metrics_json, result)
    return result


def _save_reconstructions(air: AIR, run: RunDir, test: ImageSet) -> None:
    """Pictures of the first test images; wrong counts, where known, at the end."""
    looked_at = test.head(_MAX_VALIDATION)
    chosen = list(range(min(_NUM_PICTURES, len(looked_at.images))))
    if looked_at.counts is not None:
        counts = air.infer(looked_at.images).num_objects
        wrong = [
            i for i in (counts != looked_at.counts).nonzero()[0] if i not in chosen
        ]
        chosen += wrong[:_NUM_WRONG]
    images = looked_at.images[chosen]
    with replacing(run.reconstructions) as path:
        pictures.save_reconstructions(
            path,
            images,
            air.infer(images),
            None if looked_at.counts is None else looked_at.counts[chosen],
        )
