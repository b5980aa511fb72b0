"""The exported graph, run in a session as a server runs it."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from air_tf.data.user_images import fit_picture, read_picture
from air_tf.deployment import signatures
from air_tf.deployment.session import ServedModel
from air_tf.errors import InputError
from air_tf.model.air import AIR


@pytest.fixture(scope="module")
def served(exported):
    model = ServedModel(exported / "1")
    yield model
    model.close()


def _bytes(picture, form="PNG"):
    data = io.BytesIO()
    picture.save(data, form)
    return data.getvalue()


def test_the_four_signatures(served):
    outputs = {
        "num_objects",
        "num_objects_probs",
        "boxes",
        "presence",
        "z_where",
        "z_what",
        "num_trips",
    }
    found = {name: set(one.outputs) for name, one in served.signatures.items()}
    assert found == {
        "serving_default": outputs,
        "serve_image_bytes": outputs,
        "reconstruct": outputs | {"canvas", "mask", "ground"},
        "decode": {"canvas"},
    }


def test_a_session_and_keras_agree(served, learnt_run, held_out_scenes):
    images = held_out_scenes[0][:64]
    wanted = learnt_run.load_model().infer(images)
    found = served("reconstruct", {"image": images.astype(np.float32) / 255})
    assert len(set(found["num_objects"])) >= 3  # of 0, 1 and 2 objects
    np.testing.assert_array_equal(found["num_objects"], wanted.num_objects)
    np.testing.assert_array_equal(found["num_trips"], wanted.num_trips)
    for name in ("num_objects_probs", "boxes", "z_where", "z_what", "canvas"):
        np.testing.assert_allclose(found[name], getattr(wanted, name), atol=1e-5)
    # Drawing the answer again is the reconstruction.
    latents = {name: found[name] for name in ("z_where", "z_what", "presence")}
    canvas = served("decode", latents)["canvas"]
    np.testing.assert_allclose(canvas, found["canvas"], atol=1e-6)


def test_the_loop_stops_early(served, held_out_scenes):
    images, counts = held_out_scenes
    empty = images[counts == 0][:4].astype(np.float32) / 255
    trips = served("serving_default", {"image": empty})["num_trips"]
    np.testing.assert_array_equal(trips, 1)
    full = images[counts == 2][:4].astype(np.float32) / 255
    trips = served("serving_default", {"image": full})["num_trips"]
    # Once, or nine times if the first explanation leaves more than usual.
    assert {3} <= set(trips.tolist()) <= {3, 27}


@pytest.mark.parametrize(
    "value, as_if", [(np.nan, 0), (np.inf, 1), (-np.inf, 0), (7.0, 1), (-0.1, 0)]
)
def test_bad_pixels_are_cleaned(served, value, as_if):
    image = np.zeros((1, 50, 50, 1), np.float32)
    image[0, 10:20, 10:14] = 0.8
    bad, clean = image.copy(), image.copy()
    bad[0, 30:40, 30:34], clean[0, 30:40, 30:34] = value, as_if
    found = served("reconstruct", {"image": bad})
    wanted = served("reconstruct", {"image": clean})
    for name in found:
        np.testing.assert_array_equal(found[name], wanted[name])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_latents_are_drawn_finite(served, value):
    canvas = served(
        "decode",
        {
            "z_where": np.full((2, 3, 3), value, np.float32),
            "z_what": np.full((2, 3, 50), value, np.float32),
            "presence": np.ones((2, 3), np.float32),
        },
    )["canvas"]
    assert np.isfinite(canvas).all()


@pytest.mark.parametrize(
    "shape", [(2, 50, 49, 1), (2, 25, 100, 1), (50, 50), (), (1, 50, 50, 3)]
)
def test_other_shapes_are_refused_by_the_graph(served, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected shape"):
        served("serving_default", {"image": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("size", [0, signatures.MAX_BATCH_SIZE + 1])
def test_other_batches_are_refused(served, size):
    image = np.zeros((size, 50, 50, 1), np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected 1 to 64 images"):
        served("serving_default", {"image": image})


@pytest.mark.parametrize(
    "form, mode",
    [
        ("PNG", "L"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("PNG", "LA"),
        ("JPEG", "L"),
        ("JPEG", "RGB"),
    ],
)
@pytest.mark.parametrize("shape", [(50, 50, 1), (20, 30, 3)])
def test_pictures_are_read_as_by_pillow(form, mode, shape, tmp_path):
    """To within three levels of 255: Pillow rounds after every step.

    A JPEG decoder may round otherwise, too, and Pillow's is another one.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 6, 4)).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((77, 123)).convert(mode)
    picture.save(tmp_path / "a", form)
    wanted = fit_picture(read_picture(tmp_path / "a"), shape) / 255
    contents = tf.constant((tmp_path / "a").read_bytes())
    found = signatures.decode_picture(contents, shape)
    np.testing.assert_allclose(found, wanted, atol=(4 if form == "JPEG" else 3) / 255)


def test_bytes_that_are_no_picture_are_refused(served):
    good = _bytes(Image.new("L", (60, 60), 99))
    jpeg = _bytes(Image.new("L", (60, 60), 99), "JPEG")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 255
    for bad in (
        b"",
        b"no picture",
        good[:20],
        good[:-12],
        bytes(flipped),
        jpeg[: len(jpeg) // 2],
        jpeg[:-2],
        _bytes(Image.new("L", (9, 9)), "GIF"),
        _bytes(Image.new("L", (10_000, 10_000))),  # small as a file
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            served("serve_image_bytes", {"image_bytes": np.array([good, bad], object)})
    found = served("serve_image_bytes", {"image_bytes": np.array([good, jpeg], object)})
    assert len(found["num_objects"]) == 2


def test_weights_that_are_not_finite_are_refused(small_config):
    air = AIR(small_config)
    weights = air.get_weights()
    weights[0][0] = np.nan
    air.set_weights(weights)
    with pytest.raises(InputError, match="holds NaN or infinity"):
        signatures.in_float32(air)


def test_a_model_of_half_precision_is_exported_in_float32(small_config, images):
    air = AIR(small_config, dtype="mixed_bfloat16")
    copy = signatures.in_float32(air)
    assert copy.dtype_policy.name == "float32"
    for one, other in zip(air.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
