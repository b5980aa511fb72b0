"""Models with masks and a ground: what is exported says where things are seen."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from air_tf.config import AlphaConfig, LearnedConfig, StripedConfig
from air_tf.deployment.answers import ANSWERS
from air_tf.deployment.convert import to_tflite
from air_tf.deployment.edge import Conversion, EdgeModel
from air_tf.deployment.exportable import exportable
from air_tf.deployment.signatures import ServingModule
from air_tf.inference.steps import canvases_by_step
from air_tf.model.air import AIR


@pytest.fixture(
    scope="module",
    params=[LearnedConfig(ground_waves=(3, 3)), StripedConfig()],
    ids=["learned", "striped"],
)
def air(small_config, plain_config, pictures, request):
    """A model whose masks are not faint, of pictures with three channels.

    One has proposals, which explain some images again, and so their ground.
    """
    learned = isinstance(request.param, LearnedConfig)
    config = dataclasses.replace(
        small_config if learned else plain_config,
        image_shape=(16, 16, 3),
        composition=AlphaConfig(),
        background=request.param,
        likelihood_scale="learned",
        decoder_bias=1.0,
    )
    model = AIR(config)
    # Counts differ between pictures: some of the first logits are above 0, some below.
    layer = model.attend.search._cells._mlp._output
    kernel, bias = layer.get_weights()
    kernel[:, 0] *= 3000.0
    layer.set_weights([kernel, bias])
    bias[0] = -np.median(model(pictures).inference.presence_logits[:, 0])
    layer.set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(3).random((6, 16, 16, 3), np.float32)


def _require_same(found, wanted):
    assert len(set(wanted.num_objects)) > 1
    np.testing.assert_array_equal(found["num_objects"], wanted.num_objects)
    for name in ("canvas", "mask", "ground", "z_where", "z_what"):
        np.testing.assert_allclose(found[name], getattr(wanted, name), atol=1e-4)


def test_the_served_model_gives_masks_and_the_ground(air, pictures):
    module = ServingModule(air, 3)
    signatures = module.signatures()
    assert "mask" not in signatures["serving_default"].structured_outputs
    found = signatures["reconstruct"](image=tf.constant(pictures))
    found = {name: value.numpy() for name, value in found.items()}
    _require_same(found, air.infer(pictures))
    # What is given draws the reconstruction again, on the same ground.
    names = ("z_where", "z_what", "presence", "ground")
    again = signatures["decode"](**{name: tf.constant(found[name]) for name in names})
    np.testing.assert_allclose(again["canvas"], found["canvas"], atol=1e-5)


def test_the_converted_model_gives_masks_and_the_ground(air, pictures, tmp_path):
    file = tmp_path / "air.tflite"
    conversion = Conversion("float32", air.config.image_shape, 3, batch_size=2)
    file.write_bytes(to_tflite(air, conversion))
    found = EdgeModel(file).infer(pictures)
    _require_same(found._asdict(), air.infer(pictures, batch_size=2))
    # What is given draws the reconstruction again; and its first n objects.
    decode = Interpreter(str(file)).get_signature_runner("decode")
    names = ("z_where", "z_what", "presence", "ground")
    first = {name: getattr(found, name)[:2] for name in names}
    again = decode(**first)
    for name in ("canvas", "mask", "boxes"):
        np.testing.assert_allclose(again[name], getattr(found, name)[:2], atol=1e-5)
    canvases = canvases_by_step(air, found)[:2]
    for n in range(4):
        some = first["presence"] * (np.arange(3) < n)
        drawn = decode(**{**first, "presence": some.astype(np.float32)})
        np.testing.assert_allclose(drawn["canvas"], canvases[:, n], atol=1e-5)


def test_int8_leaves_the_ground_in_float32(air):
    """Otherwise, the ground of 50 x 50 pixels would be wrong by up to 0.03."""
    heads = exportable(air, 3).heads
    if isinstance(air.config.background, LearnedConfig):
        assert heads >= {3, 16}  # waves and pixels
    else:
        assert heads >= {2 * 3 * (1 + 16 + 16), 3}


def test_answers_of_earlier_files_have_no_masks():
    answers = ANSWERS["AIR"]
    assert set(answers.required_names) - set(answers.names) == {"canvas"}
    outputs = dict.fromkeys(answers.required_names, np.zeros((1, 4)))
    scenes = answers.to_scenes(outputs)
    assert scenes.mask is None and scenes.ground is None
    assert scenes.canvas is not None
