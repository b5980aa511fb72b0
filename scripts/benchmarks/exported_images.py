"""Images for exported models: samples of the models themselves."""

import pathlib

import numpy as np

from air_tf.deployment.export import exported_run
from air_tf.deployment.session import read_meta_graph, served_max_objects
from air_tf.deployment.signatures import in_float32


def sampled_images(version: pathlib.Path, number: int) -> np.ndarray:
    """Scenes of 0, 1, ... T objects in turn, drawn by the model, [N, H, W, C] uint8.

    Args:
      version: BASE/VERSION.
      number: N.
    """
    air = in_float32(exported_run(version).load_air())
    steps = served_max_objects(read_meta_graph(version).signature_def)
    each = -(-number // (steps + 1))
    canvases = [
        air.generate(each, seed=count, num_objects=count, max_objects=steps).canvas
        for count in range(steps + 1)
    ]
    turns = np.stack(canvases, axis=1).reshape(-1, *canvases[0].shape[1:])[:number]
    # In 8 bits, so that pictures and arrays hold the same pixels.
    return np.round(np.clip(turns, 0, 1) * 255).astype(np.uint8)
