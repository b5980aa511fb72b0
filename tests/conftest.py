"""What tests share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

from air_tf.config import AIRConfig


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def small_config():
    """A model of a few thousand weights."""
    return AIRConfig(
        image_shape=(16, 16, 1),
        glimpse_size=(8, 8),
        z_what_size=4,
        recurrent_units=8,
        where_units=(8,),
        encoder_units=(8,),
        decoder_units=(8,),
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 16, 16, 1), np.float32)
