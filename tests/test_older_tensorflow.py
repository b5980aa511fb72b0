"""An export of this TensorFlow in that of TF Serving's newest release, 2.20."""

import json
import os
import pathlib
import subprocess
import sys
import venv

import numpy as np
import pytest
import tensorflow as tf

from air_tf.deployment.serving_files import IMAGE
from air_tf.deployment.session import ServedModel
from air_tf.deployment.signatures import ServingModule
from air_tf.model.air import AIR

pytestmark = pytest.mark.slow
_ROOT = pathlib.Path(__file__).parents[1]
_VERSION = IMAGE.rpartition(":")[2]
_NUM_IMAGES, _BATCH = 640, 64
_RUN = """
import sys
import numpy as np
import tensorflow as tf
from air_tf.deployment.session import ServedModel
version, given, found = sys.argv[1:]
images = np.load(given)
served = ServedModel(version)
answers = [served("reconstruct", {"image": batch}) for batch in images]
np.savez(found, **{k: np.stack([one[k] for one in answers]) for k in answers[0]})
print(tf.__version__)
"""


@pytest.fixture(scope="module")
def older_python(tmp_path_factory):
    """An environment with that TensorFlow alone."""
    folder = tmp_path_factory.mktemp("older")
    venv.create(folder)
    python = folder / "bin" / "python"
    command = [
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-compile", f"tensorflow-cpu=={_VERSION}"),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return python


def test_a_session_of_an_older_tensorflow_gives_the_same_bits(
    small_config, older_python, tmp_path
):
    air = AIR(small_config)
    layer = air.attend.search._cells._mlp._output
    weights, biases = layer.get_weights()
    weights[:, 0], biases[0] = np.linspace(-90, 90, len(weights)), 0.1
    layer.set_weights([weights, biases])
    module = ServingModule(air, 3)
    version = tmp_path / "air" / "1"
    tf.saved_model.save(module, str(version), signatures=module.signatures())
    shape = (_NUM_IMAGES // _BATCH, _BATCH, *small_config.image_shape)
    images = np.random.default_rng(0).random(shape, np.float32)
    np.save(tmp_path / "images.npy", images)
    served = ServedModel(version)
    wanted = [served("reconstruct", {"image": batch}) for batch in images]
    served.close()
    assert len(set(np.concatenate([one["num_objects"] for one in wanted]))) > 1

    command = [
        *(older_python, "-c", _RUN, version),
        *(tmp_path / "images.npy", tmp_path / "found.npz"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == _VERSION
    found = np.load(tmp_path / "found.npz")
    assert set(found) == set(wanted[0])
    differing = {
        name: int(np.sum(found[name] != np.stack([one[name] for one in wanted])))
        for name in found
    }
    assert not any(differing.values()), json.dumps(differing)
