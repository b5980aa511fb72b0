"""What pictures of results show, for a model of either form."""

import numpy as np
import numpy.typing as npt

from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.structs import Explanation


def explain(
    air: AIR | AIR3D,
    images: npt.ArrayLike,
    max_objects: int | None = None,
    proposals: int | None = None,
) -> Explanation:
    """Counts, boxes and canvases of images [N, H, W, C]; T objects at most.

    `proposals` are those of `AIR.infer`; a model of 3D scenes has none.
    """
    if isinstance(air, AIR3D):
        found = air.infer(images, max_objects=max_objects)
        return Explanation(found.num_objects, found.boxes, air.draw(found))
    scenes = air.infer(images, max_objects=max_objects, proposals=proposals)
    return Explanation(scenes.num_objects, scenes.boxes, scenes.canvas)


def generated_canvases(
    air: AIR | AIR3D, n: int, *, seed: int = 0, num_objects: int | None = None
) -> np.ndarray:
    """Canvases of scenes from the prior, with p(n) as fitted: [n, H, W, C]."""
    if isinstance(air, AIR3D):
        return air.draw(air.generate(n, seed=seed, num_objects=num_objects))
    return air.generate(n, seed=seed, num_objects=num_objects).canvas
