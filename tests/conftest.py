"""What tests share.

TensorFlow is imported where it is used: the process that hands out the tests needs
none.
"""

import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Tests run in two processes, which would wait for each other's threads.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np
import pytest

from air_tf.config import (
    AIRConfig,
    DataConfig,
    DifferenceConfig,
    RecurrentConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.data.pool_scenes import compose_scene
from air_tf.data.scene_config import SceneConfig

# Beside those that use `learnt_run`.
_TRAINING_FILES = (
    "test_benchmark.py",
    "test_estimators.py",
    "test_few_labels.py",
    "test_generalisation.py",
    "test_scripts.py",
    "test_train.py",
)


# Fixtures that install packages.
_ENVIRONMENTS = {"kserve", "kserve_python", "small_python"}


# Before xdist reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A process gets a whole file, and one of them all that need the learnt run."""
    learnt = {
        item.path for item in items if "learnt_run" in getattr(item, "fixturenames", ())
    }
    for item in items:
        if item.path in learnt or item.path.name in _TRAINING_FILES:
            item.add_marker(pytest.mark.trains)
        fixtures = getattr(item, "fixturenames", ())
        if "kserve" in item.name or not _ENVIRONMENTS.isdisjoint(fixtures):
            item.add_marker(pytest.mark.installs)
        group = "learnt_run" if item.path in learnt else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def seed():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def small_config():
    """A model of a few thousand weights."""
    return AIRConfig(
        image_shape=(16, 16, 1),
        glimpse_size=(8, 8),
        z_what_size=4,
        inference=DifferenceConfig(look_units=(4, 8)),
        where_units=(8,),
        encoder_units=(8,),
        decoder_units=(8,),
    )


@pytest.fixture(scope="session")
def recurrent_config(small_config):
    """The same in the recurrent form."""
    form = RecurrentConfig(recurrent_units=8)
    return dataclasses.replace(small_config, inference=form)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 16, 16, 1), np.float32)


@pytest.fixture(scope="session")
def pools(tmp_path_factory):
    """Digits for the scenes of each split."""
    from air_tf.data.multi_digits import Builder

    return Builder(data_dir=tmp_path_factory.mktemp("data"))._object_pools()


def _scenes(pool, split, num):
    scenes = [
        compose_scene(pool, SceneConfig(), split=split, index=i) for i in range(num)
    ]
    counts = np.array([len(scene.boxes) for scene in scenes])
    return np.stack([scene.image for scene in scenes]), counts


@pytest.fixture(scope="session")
def held_out_scenes(pools):
    """1,000 images and counts, of digits that `learnt_run` has not seen."""
    return _scenes(pools["test"], 2, 1000)


@pytest.fixture(scope="session")
def learnt_run(pools, tmp_path_factory):
    """The folder of a short training with the defaults, which has learnt to count."""
    from air_tf.runs import RunDir
    from air_tf.training.train import train

    folder = tmp_path_factory.mktemp("learnt")
    images, counts = _scenes(pools["train"], 0, 10_000)
    np.savez(folder / "scenes.npz", image=images, count=counts)
    config = RunConfig(
        model=AIRConfig(),
        data=DataConfig(dataset="file", data_file=str(folder / "scenes.npz")),
        training=TrainingConfig(steps=600),
    )
    train(config, folder / "run")
    return RunDir(folder / "run")


@pytest.fixture(scope="session")
def exported(learnt_run, tmp_path_factory):
    """What export.py writes of it: the folder with the versions."""
    from air_tf.deployment.export import export

    base = tmp_path_factory.mktemp("exports") / "air"
    export(learnt_run, base)
    return base
