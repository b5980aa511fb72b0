"""Keras callbacks: evaluation on held-out images, logs, checkpoints.

They share Keras' `logs`. `Speed` and `HeldOut` have to come first: they add figures
that the others read.
"""

import math
import time

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.errors import TrainingDiverged
from air_tf.evaluation.diagnosis import WARM_UP_STEPS, diagnose
from air_tf.evaluation.evaluate_model import evaluate_model
from air_tf.evaluation.evaluation import Evaluation
from air_tf.files import replacing
from air_tf.inference.explain import explain
from air_tf.objectives.bound import TERMS
from air_tf.runs import RunDir
from air_tf.structs import Explanation, ImageSet
from air_tf.visualization import film, pictures

# Fields of `Evaluation` for the progress bar, metrics.csv and TensorBoard.
HELD_OUT = (
    "count_accuracy",
    "mean_num_objects",
    "reconstruction_error",
    *TERMS,
    "mean_iou",
    "kind_accuracy",
    "position_error",
)
# Images to show, and those that they are chosen from.
_NUM_PICTURES, _NUM_CANDIDATES = 8, 64


class StopOnNaN(keras.callbacks.Callback):
    """Stops a training that has diverged before it overwrites the checkpoint.

    Raises TrainingDiverged with the step; `train` adds what to do.
    """

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(logs["elbo"]) or not math.isfinite(logs["gradient_norm"]):
            raise TrainingDiverged(f"step {_step(self.model)}")


class Speed(keras.callbacks.Callback):
    """Measures training steps per second, without the callbacks that come after it."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._first_step = time.monotonic(), _step(self.model)

    def on_epoch_end(self, epoch, logs=None):
        elapsed = time.monotonic() - self._start
        logs["steps_per_second"] = (_step(self.model) - self._first_step) / elapsed


class HeldOut(keras.callbacks.Callback):
    """Evaluates on held-out images after every epoch; warns of collapses.

    Attributes:
      evaluation: the last one.
      images: [8, H, W, C], those that are shown in pictures.
      found: what is inferred in them, before the first step or after an epoch.
    """

    def __init__(self, images: ImageSet):
        super().__init__()
        self._images = images
        self.evaluation: Evaluation | None = None
        self.images = _not_empty(images.images[:_NUM_CANDIDATES])
        self.found: Explanation | None = None

    def on_train_begin(self, logs=None):
        # Without proposals, as below, so that inference is traced once.
        self.found = explain(self.model.air, self.images, proposals=0)

    def on_epoch_end(self, epoch, logs=None):
        self.found = explain(self.model.air, self.images, proposals=0)
        evaluation = self.evaluation = evaluate_model(
            self.model.air, self._images, proposals=0
        )
        if not math.isfinite(evaluation.elbo):
            raise TrainingDiverged(f"step {_step(self.model)}, on held-out images")
        for name in HELD_OUT:
            value = getattr(evaluation, name)
            if value is not None:
                logs[f"val_{name}"] = value
        if _step(self.model) >= WARM_UP_STEPS:
            for warning in diagnose(evaluation):
                logging.warning("at step %d: %s", _step(self.model), warning)


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, limited to figures that fit in a line of a terminal.

    Args:
      steps: of the whole training, for the time that is left. Keras' own is that of
        the epoch.
    """

    _SHOWN = (
        "elbo",
        "reconstruction_error",
        "mean_count",
        "val_elbo",
        "val_count_accuracy",
    )

    def __init__(self, steps: int):
        super().__init__()
        self._steps = steps

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._start, self._first_step = time.monotonic(), _step(self.model)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, self._shown(logs))

    def on_epoch_end(self, epoch, logs=None):
        step = _step(self.model)
        elapsed = time.monotonic() - self._start
        left = elapsed * (self._steps - step) / (step - self._first_step)
        super().on_epoch_end(epoch, self._shown(logs) | {"seconds_left": round(left)})

    def _shown(self, logs):
        return {name: logs[name] for name in self._SHOWN if name in logs}


class MetricsCsv(keras.callbacks.Callback):
    """Writes a row for each epoch.

    When a run resumes, rows after `first_step` are dropped.
    """

    def __init__(self, run: RunDir, first_step: int):
        super().__init__()
        self._run = run
        self.rows = [
            row for row in run.read_metrics_csv() if (row["step"] or 0) <= first_step
        ]

    def on_train_begin(self, logs=None):
        # Called twice if `fit` is: for whole epochs, and for the remaining steps.
        self._before = (self.rows[-1]["seconds"] or 0.0) if self.rows else 0.0
        self._start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        elapsed = time.monotonic() - self._start
        row: dict[str, float | None] = {
            "step": _step(self.model),
            "seconds": self._before + elapsed,
        }
        row |= {k: v for k, v in logs.items() if not k.startswith("val_")}
        row |= {f"val_{name}": logs.get(f"val_{name}") for name in HELD_OUT}
        self.rows.append(row)
        self._run.write_metrics_csv(self.rows)


class Checkpoints(keras.callbacks.Callback):
    """Saves the weights with the best held-out ELBO, and the state to resume from."""

    def __init__(self, run: RunDir, best_elbo: float):
        super().__init__()
        self._run = run
        self._best_elbo = best_elbo

    def on_epoch_end(self, epoch, logs=None):
        if logs["val_elbo"] > self._best_elbo:
            self._best_elbo = logs["val_elbo"]
            with replacing(self._run.best) as path:
                self.model.air.save_weights(path)
        with replacing(self._run.latest) as path:
            self.model.save_weights(path)


class Summaries(keras.callbacks.Callback):
    """Writes scalars, the histogram of counts, and pictures for TensorBoard."""

    def __init__(self, run: RunDir, held_out: HeldOut):
        super().__init__()
        self._writer = tf.summary.create_file_writer(str(run.logs))
        self._held_out = held_out

    def on_epoch_end(self, epoch, logs=None):
        step = _step(self.model)
        # `HeldOut` comes first.
        assert self._held_out.evaluation is not None
        assert self._held_out.found is not None
        counts = self._held_out.evaluation.num_objects_histogram
        with self._writer.as_default(step):
            for name, value in logs.items():
                held_out = name.startswith("val_")
                group = "held_out" if held_out else "training"
                tf.summary.scalar(f"{group}/{name.removeprefix('val_')}", value)
            tf.summary.histogram(
                "held_out/num_objects",
                np.repeat(np.arange(len(counts)), counts),
                buckets=len(counts),
            )
            tf.summary.image(
                "input_with_boxes_and_reconstruction",
                pictures.side_by_side(self._held_out.images, self._held_out.found),
                max_outputs=_NUM_PICTURES,
            )
        self._writer.flush()


class Frames(keras.callbacks.Callback):
    """Saves a frame of the film for each epoch, and one before the first step.

    They are files, so that a run that resumes has those of its first part.
    """

    def __init__(self, run: RunDir, held_out: HeldOut):
        super().__init__()
        self._run = run
        self._held_out = held_out

    def on_train_begin(self, logs=None):
        if _step(self.model) == 0:
            self._save("before training")

    def on_epoch_end(self, epoch, logs=None):
        caption = f"step {_step(self.model)}"
        accuracy = logs.get("val_count_accuracy")
        if accuracy is not None:
            caption += f": {accuracy:.1%} of held-out images are counted right"
        self._save(caption)

    def _save(self, caption: str) -> None:
        assert self._held_out.found is not None  # `HeldOut` comes first
        frame = film.look(self._held_out.images, self._held_out.found, caption)
        with replacing(self._run.frame(_step(self.model))) as path:
            frame.save(path, format="PNG")


def _not_empty(images: np.ndarray) -> np.ndarray:
    """Images of those that vary most: empty ones, which vary least, show little."""
    order = np.argsort(images.std(axis=(1, 2, 3)), kind="stable")
    half = order[len(order) // 2 :]
    number = min(_NUM_PICTURES, len(half))
    return images[half[np.linspace(0, len(half) - 1, number).round().astype(int)]]


def _step(trainer) -> int:
    return int(trainer.optimizer.iterations.numpy())
