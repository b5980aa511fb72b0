"""One short training, to notice when learning breaks."""

import numpy as np
import pytest

from air_tf.config import AIRConfig, DataConfig, RunConfig, TrainingConfig
from air_tf.runs import RunDir
from air_tf.training.train import train


@pytest.fixture(scope="module")
def air(digit_scenes, tmp_path_factory):
    """What 600 training steps with the defaults make."""
    folder = tmp_path_factory.mktemp("learning")
    images, counts = digit_scenes("train", 10_000)
    np.savez(folder / "scenes.npz", image=images, count=counts)
    config = RunConfig(
        model=AIRConfig(),
        data=DataConfig(dataset="file", data_file=str(folder / "scenes.npz")),
        training=TrainingConfig(steps=600),
    )
    train(config, folder / "run")
    return RunDir(folder / "run").load_model()


def test_it_learns_to_count(air, held_out_scenes):
    """Accuracy on scenes of digits held out.

    Measured: 97.8, 96.0 and 99.0 % with seeds 0, 1 and 2. Broken on purpose, with seed
    0: 34.3 % with the sign of the KL of z_what turned around, 34.3 % with the prefix
    canvases off by one, 78.7 % with the gradient stopped through z_where. Half as many
    steps do not tell these apart: 85.0 % with seed 1, and 85.2 % with that gradient
    stopped.
    """
    images, counts = held_out_scenes
    inferred = air.infer(images).num_objects
    assert (inferred == counts).mean() > 0.9


def test_generated_scenes_have_as_many_objects_as_the_data(air, held_out_scenes):
    """In total variation: 0.03 is the aim, and 1,000 scenes stray by 0.02."""
    _, counts = held_out_scenes
    generated = air.generate(4000).num_objects
    found, true = (np.bincount(c, minlength=4) / len(c) for c in (generated, counts))
    assert 0.5 * np.abs(found - true).sum() < 0.06
