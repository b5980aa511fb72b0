"""From the outputs of an exported model to scenes."""

from collections.abc import Mapping

import numpy as np

from air_tf.structs import Scenes

# What every exported model says of images, under these names.
SCENE_OUTPUTS = (
    "num_objects",
    "num_objects_probs",
    "boxes",
    "presence",
    "z_where",
    "z_what",
    "num_trips",
)


def to_scenes(outputs: Mapping[str, np.ndarray]) -> Scenes:
    """Scenes of named outputs, which have no q(n >= t), and may have no canvas."""
    count_probs = outputs["num_objects_probs"]
    at_least = np.cumsum(count_probs[:, ::-1], axis=1)[:, ::-1]  # [N, T + 1]
    return Scenes(
        presence_probs=at_least[:, 1:],
        canvas=outputs.get("canvas"),
        **{name: outputs[name] for name in outputs if name != "canvas"},
    )
