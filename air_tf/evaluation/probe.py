"""A linear probe: classifies objects by their appearance codes."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from air_tf.evaluation.metrics import box_iou
from air_tf.images import batches
from air_tf.model.air import AIR
from air_tf.model.pixels import to_float
from air_tf.structs import ImageSet

_MIN_IOU = 0.5
_BATCH_SIZE = 250


class LabelledCodes(NamedTuple):
    """Inferred objects that match a true object."""

    z_what: np.ndarray  # [K, D]
    pixels: np.ndarray  # [K, h w C], of the glimpses that the codes are inferred from
    labels: np.ndarray  # [K], classes of the true objects


class Probe(NamedTuple):
    """Test accuracies of linear classifiers.

    Accuracies are None if the training objects have fewer than two classes, or if no
    test object has one of these classes.
    """

    accuracy: float | None  # from z_what
    accuracy_pixels: float | None  # from the pixels of the same glimpses
    num_train: int  # objects
    num_test: int  # objects


def labelled_codes(
    air: AIR, images: ImageSet, max_objects: int | None = None
) -> LabelledCodes:
    """Inferred objects that match a true object with an IoU of at least 0.5.

    The boxes of an image are matched one to one, so that the sum of IoUs is largest
    (Kuhn 1955).

    Args:
      air: the model.
      images: with counts, boxes and labels.
      max_objects: T; that of the model's config if omitted.
    """
    parts = []
    for part, batch in batches(images.images, _BATCH_SIZE):
        pictures = to_float(batch)
        scenes = air.infer(pictures, max_objects=max_objects, batch_size=_BATCH_SIZE)
        found, labels = [], []
        for i in range(len(scenes.num_objects)):
            num = images.counts[part][i]
            true = images.boxes[part][i, :num]
            iou = box_iou(true, scenes.boxes[i, : scenes.num_objects[i]])
            for a, b in zip(*linear_sum_assignment(iou, maximize=True), strict=True):
                if iou[a, b] >= _MIN_IOU:
                    found.append((i, b))
                    labels.append(images.labels[part][i, a])
        if found:
            image, step = np.transpose(found)
            glimpses = air.attend.read_glimpses(
                tf.gather(pictures, image), tf.constant(scenes.z_where[image, step])
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


def linear_probe(train: LabelledCodes, test: LabelledCodes) -> Probe:
    """Fits and tests linear classifiers of objects, from codes and from pixels.

    Logistic regression on standardised features (Alain and Bengio 2017).

    Args:
      train: objects that the classifiers are fitted to.
      test: objects that the classifiers are tested on.
    """
    num_train, num_test = len(train.labels), len(test.labels)
    classes = np.unique(train.labels)
    # A classifier can't predict classes that it was not fitted to.
    if len(classes) < 2 or not np.isin(test.labels, classes).any():
        return Probe(None, None, num_train, num_test)

    def accuracy(train_features: np.ndarray, test_features: np.ndarray) -> float:
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
        probe.fit(train_features, train.labels)
        return float(probe.score(test_features, test.labels))

    return Probe(
        accuracy=accuracy(train.z_what, test.z_what),
        accuracy_pixels=accuracy(train.pixels, test.pixels),
        num_train=num_train,
        num_test=num_test,
    )
