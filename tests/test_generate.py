import dataclasses

import numpy as np
import pytest
from PIL import Image

from air_tf.errors import InputError
from air_tf.images import to_uint8
from air_tf.inference.generate import generate_run
from air_tf.inference.variations import attend_steps, edits, interpolations, traversals
from air_tf.model.air import AIR


def _decoder(codes):
    """A picture of the code itself, one pixel per dimension."""
    import tensorflow as tf

    return tf.reshape(codes, [-1, 1, codes.shape[1], 1])


def test_traversals_change_one_dimension_each():
    codes = np.random.default_rng(0).normal(size=(9, 12)).astype(np.float32)
    codes *= np.arange(12)
    rows = traversals(_decoder, codes)
    widest = np.argsort(-codes.std(axis=0))[:8]
    assert list(rows) == [f"z_what[{d}]" for d in widest]
    for dimension, row in zip(widest, rows.values(), strict=True):
        line = row[:, 0, :, 0]
        np.testing.assert_allclose(line[:, dimension], np.linspace(-3, 3, 11))
        others = np.delete(line, dimension, axis=1)
        expected = np.delete(codes[:1], dimension, axis=1).repeat(11, axis=0)
        np.testing.assert_array_equal(others, expected)


def test_interpolations_go_straight_from_one_to_the_other():
    codes = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    rows = list(interpolations(_decoder, codes).values())
    assert len(rows) == 2
    line = rows[1][:, 0, :, 0]
    np.testing.assert_allclose(line[0], codes[2], rtol=1e-6)
    np.testing.assert_allclose(line[-1], codes[3], rtol=1e-6)
    np.testing.assert_allclose(line[5], (codes[2] + codes[3]) / 2, rtol=1e-5)


def test_edits_and_attend_steps_start_from_the_inferred_scenes(
    learnt_run, held_out_scenes
):
    air, images = learnt_run.load_model(), held_out_scenes[0][:40]
    scenes = air.infer(images)
    rows = edits(air, images, scenes)
    several = np.flatnonzero(scenes.num_objects >= 2)[:6]
    assert list(rows) == [f"image {i}" for i in several]
    for i, row in zip(several, rows.values(), strict=True):
        image, reconstruction, moved, removed, duplicated = row
        np.testing.assert_allclose(image, images[i] / 255.0, atol=1e-6)
        np.testing.assert_array_equal(reconstruction, scenes.canvas[i])
        first = reconstruction - removed  # what the first object adds
        assert first.min() > -1e-4 and first.max() > 0.5
        # The duplicate is where the moved object is; the original stays.
        np.testing.assert_allclose(
            duplicated - reconstruction, moved - removed, atol=1e-4
        )
    for row in attend_steps(air, images, scenes).values():
        assert len(row) == 1 + air.config.max_objects
    i, row = next(iter(attend_steps(air, images, scenes).items()))
    i = int(i.removeprefix("image "))
    np.testing.assert_allclose(row[0], images[i] / 255.0, atol=1e-6)
    np.testing.assert_allclose(row[-1], scenes.canvas[i], atol=1e-4)


def test_generate_run(learnt_run, tmp_path):
    made = generate_run(learnt_run, tmp_path / "drawn", num_scenes=300)
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == set(made)
    with np.load(tmp_path / "drawn" / "scenes.npz", allow_pickle=False) as scenes:
        assert scenes["image"].shape == (300, 50, 50, 1)
        assert scenes["image"].dtype == np.uint8
        assert scenes["ground"].shape == (300, 50, 50, 1) and not scenes["ground"].any()
        assert scenes["mask"].shape == (300, 3, 50, 50)
        assert (scenes["mask"][scenes["count"] == 0] == 0).all()
        counts = np.bincount(scenes["count"], minlength=4) / 300
    # The training scenes hold 0, 1 or 2 objects, equally often.
    np.testing.assert_allclose(counts, [1 / 3, 1 / 3, 1 / 3, 0], atol=0.12)
    for name in made:
        if name.endswith(".png"):
            with Image.open(tmp_path / "drawn" / name) as picture:
                assert min(picture.size) > 100
    with pytest.raises(InputError, match=r"scenes\.npz exists"):
        generate_run(learnt_run, tmp_path / "drawn", num_scenes=3)
    generate_run(
        learnt_run, tmp_path / "drawn", num_scenes=3, num_objects=2, overwrite=True
    )
    with np.load(tmp_path / "drawn" / "scenes.npz", allow_pickle=False) as scenes:
        assert scenes["count"].tolist() == [2, 2, 2]


def test_generated_scenes_have_as_many_objects_as_the_data(learnt_run, held_out_scenes):
    _, counts = held_out_scenes
    generated = learnt_run.load_model().generate(4000).num_objects
    found, true = (np.bincount(c, minlength=4) / len(c) for c in (generated, counts))
    # 0.03 is the aim; the rest is chance: 1,000 scenes stray by 0.02.
    assert 0.5 * np.abs(found - true).sum() < 0.06


def test_a_run_of_3d_scenes_is_refused_without_a_trace(tabletop_run, tmp_path):
    with pytest.raises(InputError, match="is a run of 3D scenes; expected one of two"):
        generate_run(tabletop_run, tmp_path / "drawn", num_scenes=3)
    assert not (tmp_path / "drawn").exists()


def test_light_that_adds_up_is_clipped_in_pictures(small_config):
    """A decoder that always draws white: two objects on a pixel are twice as bright."""
    air = AIR(dataclasses.replace(small_config, decoder_bias=9.0))
    canvas = air.generate(20, num_objects=3).canvas
    assert canvas.max() > 1.9
    with pytest.raises(InputError, match=r"to [12]\.\d+; expected float in"):
        air.infer(canvas)
    pictures = to_uint8(canvas)
    np.testing.assert_allclose(pictures / 255.0, np.minimum(canvas, 1.0), atol=0.002)
    assert pictures.max() == 255 and (air.infer(pictures).num_objects >= 0).all()
    assert to_uint8([-0.1, 0.0, 0.5, 1.7]).tolist() == [0, 0, 128, 255]
    assert to_uint8(pictures) is pictures
