"""Compares a converted model with Keras, for each class of models."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from air_tf.deployment.edge import EdgeModel
from air_tf.evaluation.metrics import mean_iou
from air_tf.images import batches
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.progress import with_bar
from air_tf.structs import Scenes, Scenes3D

# Images, about, after which the bar moves.
_SHOWN = 64


class Agreement(NamedTuple):
    """How a converted model compares with Keras on held-out images."""

    num_images: int
    count_agreement: float  # share of images with the same count
    mean_iou: float  # of boxes, where counts agree; 1 if there are none
    code_error: float  # mean |difference| of z_what of present objects
    code_scale: float  # standard deviation of z_what of present objects

    def of_objects(self) -> str:
        """What is said of objects besides their boxes."""
        return (
            f"mean error of codes {self.code_error:.2g} (standard deviation of codes "
            f"{self.code_scale:.2g})"
        )


class Agreement3D(NamedTuple):
    """The same for objects on a table."""

    num_images: int
    count_agreement: float
    mean_iou: float
    # Where counts agree; without objects, 1 and 0.
    kind_agreement: float  # share of objects of the same kind
    position_error: float  # mean distance of positions, in units of the table's reach

    def of_objects(self) -> str:
        """What is said of objects besides their boxes."""
        return (
            f"kinds agree on {self.kind_agreement:.2%}, mean distance of positions "
            f"{self.position_error:.2g} of the table's reach"
        )


def compare(
    air: AIR | AIR3D, edge: EdgeModel, images: np.ndarray
) -> Agreement | Agreement3D:
    """Compares a converted model with Keras.

    Args:
      air: the Keras model.
      edge: the converted one.
      images: [N, H, W, C].
    """
    # In the same batches, so that both loops stop at the same attend step.
    size = edge.max_batch_size
    whole = max(_SHOWN // size, 1) * size
    settings = {"max_objects": edge.max_objects, "batch_size": size}
    parts = [
        (air.infer(part, **settings), edge.infer(part))
        for _, part in with_bar(batches(images, whole), len(images), "comparison")
    ]
    keras_scenes, edge_scenes = (_joined(scenes) for scenes in zip(*parts, strict=True))
    same = keras_scenes.num_objects == edge_scenes.num_objects
    overlap = mean_iou(
        *(
            [scenes.boxes[i, : scenes.num_objects[i]] for i in np.flatnonzero(same)]
            for scenes in (keras_scenes, edge_scenes)
        )
    )
    present = (keras_scenes.presence * edge_scenes.presence) == 1  # [N, T]
    in_both = present & same[:, np.newaxis]
    shared = (len(images), float(same.mean()), 1.0 if overlap is None else overlap)
    if isinstance(keras_scenes, Scenes3D):
        config: Any = air.config
        kinds, distance = _kinds_and_positions(keras_scenes, edge_scenes, in_both)
        return Agreement3D(*shared, kinds, distance / config.tabletop.reach)
    return Agreement(*shared, *_codes(keras_scenes, edge_scenes, in_both))


def _joined(parts: Sequence[Any]) -> Any:
    """The scenes of all images."""
    return type(parts[0])(
        *(
            None if arrays[0] is None else np.concatenate(arrays)
            for arrays in zip(*parts, strict=True)
        )
    )


def _codes(a: Scenes, b: Scenes, chosen: np.ndarray) -> tuple[float, float]:
    """Error and scale of the codes of the chosen objects, [N, T] bool."""
    if not chosen.any():
        return 0.0, 0.0
    codes = a.z_what[chosen]
    return float(np.abs(codes - b.z_what[chosen]).mean()), float(codes.std())


def _kinds_and_positions(
    a: Scenes3D, b: Scenes3D, chosen: np.ndarray
) -> tuple[float, float]:
    """Share of equal kinds, and mean distance, of the chosen objects, [N, T] bool."""
    if not chosen.any():
        return 1.0, 0.0
    move = a.position[chosen] - b.position[chosen]
    return (
        float((a.kind[chosen] == b.kind[chosen]).mean()),
        float(np.linalg.norm(move, axis=-1).mean()),
    )
