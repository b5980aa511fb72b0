"""What appearance codes say of the objects."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from air_tf.evaluation.metrics import box_iou
from air_tf.model import spatial
from air_tf.model.air import AIR, to_float
from air_tf.structs import ImageSet

# What `linear_probe` finds out.
FIGURES = (
    "probe_accuracy",
    "probe_accuracy_pixels",
    "probe_num_train",
    "probe_num_test",
)
_MIN_IOU = 0.5
_BATCH_SIZE = 250


class LabelledCodes(NamedTuple):
    """Objects that were found where there is one."""

    z_what: np.ndarray  # [K, D]
    pixels: np.ndarray  # [K, h w C], of the glimpses they were read from
    labels: np.ndarray  # [K]


def labelled_codes(
    air: AIR, images: ImageSet, max_objects: int | None = None
) -> LabelledCodes:
    """Found objects whose box overlaps a true one's by IoU 0.5 or more.

    Boxes of an image are matched one to one for the largest sum (Kuhn 1955).

    Args:
      air: the model.
      images: with counts, boxes and labels.
      max_objects: T; that of the model's config if omitted.
    """
    parts = []
    for start in range(0, len(images.images), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        pictures = to_float(images.images[batch])
        scenes = air.infer(pictures, max_objects=max_objects, batch_size=_BATCH_SIZE)
        found, labels = [], []
        for i in range(len(scenes.num_objects)):
            num = images.counts[start + i]
            true = images.boxes[start + i, :num]
            iou = box_iou(true, scenes.boxes[i, : scenes.num_objects[i]])
            for a, b in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
                if iou[a, b] >= _MIN_IOU:
                    found.append((i, b))
                    labels.append(images.labels[start + i, a])
        if found:
            image, step = np.transpose(found)
            glimpses = spatial.extract_glimpses(
                tf.gather(pictures, image),
                tf.constant(scenes.z_where[image, step]),
                air.config.glimpse_size,
            ).numpy()
            parts.append(
                LabelledCodes(
                    z_what=scenes.z_what[image, step],
                    pixels=glimpses.reshape(len(glimpses), -1),
                    labels=np.array(labels),
                )
            )
    if not parts:
        none = np.zeros((0, 1), np.float32)
        return LabelledCodes(none, none, np.zeros(0, np.int64))
    return LabelledCodes(*map(np.concatenate, zip(*parts, strict=True)))


def linear_probe(
    train: LabelledCodes, test: LabelledCodes
) -> dict[str, float | int | None]:
    """How well a linear classifier tells labels, from codes and from pixels.

    Logistic regression on standardised features (Alain and Bengio 2017).

    Returns:
      "probe_accuracy" of z_what and "probe_accuracy_pixels" of the glimpses it was
      read from, both on the test objects, or None where there are too few, or none of
      a kind in `train`;
      "probe_num_train" and "probe_num_test", how many objects.
    """
    result = dict.fromkeys(FIGURES) | {
        "probe_num_train": len(train.labels),
        "probe_num_test": len(test.labels),
    }
    classes = np.unique(train.labels)
    # Of objects of other kinds than those it is fitted to, a probe knows nothing.
    if len(classes) < 2 or not np.isin(test.labels, classes).any():
        return result

    def accuracy(fitted_to, tried_on):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        probe.fit(fitted_to, train.labels)
        return float(probe.score(tried_on, test.labels))

    return result | {
        "probe_accuracy": accuracy(train.z_what, test.z_what),
        "probe_accuracy_pixels": accuracy(train.pixels, test.pixels),
    }
