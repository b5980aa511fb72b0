"""From the outputs of an exported model to scenes. Needs numpy alone."""

from collections.abc import Mapping

import numpy as np

from air_tf.structs import Scenes

# Outputs of every exported model; some signatures have `canvas`, too.
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
    """Builds scenes from named outputs.

    Args:
      outputs: an array for each of `SCENE_OUTPUTS`, optionally `canvas`.

    Returns:
      Scenes with q(n >= t) added; `canvas` is None if the outputs have none.

    Raises:
      KeyError, TypeError: for other names.
    """
    count_probs = outputs["num_objects_probs"]
    at_least = np.cumsum(count_probs[:, ::-1], axis=1)[:, ::-1]  # [N, T + 1]
    return Scenes(
        presence_probs=at_least[:, 1:],
        canvas=outputs.get("canvas"),
        **{name: outputs[name] for name in outputs if name != "canvas"},
    )
