import dataclasses

import numpy as np

from air_tf.config import RecurrentConfig
from air_tf.evaluation.evaluate import evaluate
from air_tf.evaluation.table import format_table
from air_tf.inference.steps import canvases_by_step, errors_by_step
from air_tf.model.air import AIR
from air_tf.structs import ImageSet


def test_canvases_grow_to_the_reconstruction(small_config):
    air = AIR(small_config)
    scenes = air.generate(5, num_objects=2)
    canvases = canvases_by_step(air, scenes)
    assert canvases.shape == (5, 4, 16, 16, 1)
    np.testing.assert_array_equal(canvases[:, 0], 0.0)
    one = air.decode(scenes.z_where, scenes.z_what, np.float32([[1, 0, 0]] * 5))
    np.testing.assert_allclose(canvases[:, 1], one, atol=1e-5)
    for after in (2, 3):  # nothing is there to add
        np.testing.assert_allclose(canvases[:, after], scenes.canvas, atol=1e-5)


def test_errors_begin_empty_and_end_as_reconstruction(small_config, images):
    config = dataclasses.replace(small_config, inference=RecurrentConfig())
    air = AIR(config)
    # The logit of presence: h stays near 0, so that every attend step finds an object.
    air.attend.search._where_head._mlp._output.bias.assign([9.0] + [0.0] * 6)
    scenes = air.infer(images, max_objects=2)
    errors = errors_by_step(air, images, scenes)
    assert errors.shape == (5, 3)
    result = evaluate(air, ImageSet(images), max_objects=2, batch_size=2, by_step=True)
    assert result.mean_num_objects == 2.0
    by_step = result.reconstruction_error_by_step
    assert len(set(by_step)) == 3
    np.testing.assert_allclose(by_step, errors.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(by_step[0], result.empty_canvas_error, rtol=1e-5)
    np.testing.assert_allclose(by_step[-1], result.reconstruction_error, rtol=1e-5)
    table = format_table(result)
    for step in (1, 2):
        assert f"  after attend step {step} " in table
        assert f"{by_step[step]:.5f}" in table
    assert evaluate(air, ImageSet(images)).reconstruction_error_by_step is None
