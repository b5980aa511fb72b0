"""Scores the counts of whole pictures, where they are known."""

import functools
from typing import Any

import numpy as np

from air_tf.data.picture_windows import PictureSet
from air_tf.inference.whole import TOGETHER, find_in_prepared
from air_tf.model.air import AIR


def picture_figures(
    air: AIR, pictures: PictureSet, *, max_objects: int
) -> dict[str, Any]:
    """Compares counts with those that are known.

    Args:
      air: the model.
      pictures: held-out pictures.
      max_objects: T.

    Returns:
      The figures of `Evaluation` for whole pictures; empty if no count is known.
    """
    infer = functools.partial(air.infer, max_objects=max_objects, batch_size=TOGETHER)
    errors = [
        len(
            find_in_prepared(
                infer, picture, pictures.settings, air.config.image_shape[:2]
            ).probability
        )
        - count
        for picture, count in zip(pictures.pictures, pictures.counts, strict=True)
        if count is not None
    ]
    if not errors:
        return {}
    return {
        "num_counted_pictures": len(errors),
        "picture_count_error": float(np.abs(errors).mean()),
        "picture_count_bias": float(np.mean(errors)),
    }
