"""Figures of 3D scenes, by hand and of a model."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from air_tf.config.tabletop import TABLETOPS
from air_tf.evaluation.evaluate3d import evaluate3d
from air_tf.evaluation.evaluate_model import evaluate_model
from air_tf.evaluation.evaluation import Evaluation
from air_tf.evaluation.metrics3d import match
from air_tf.model.air3d import AIR3D
from air_tf.objectives.kind_enumeration import plain_bound
from air_tf.structs import ImageSet, Scenes3D

_CUBE, _SPHERE, _CYLINDER = range(3)
_TABLE = TABLETOPS["one"]  # symmetries 4, 0 and 2


def _objects(*rows):
    """True and inferred objects of images: each row two lists of (kind, x, y, yaw)."""
    counts = np.array([[len(side) for side in row] for row in rows])
    values = np.zeros((2, len(rows), max(1, counts.max()), 4))
    for i, row in enumerate(rows):
        for side, objects in enumerate(row):
            values[side, i, : len(objects)] = np.reshape(objects, (-1, 4))
    true, found = values
    images = ImageSet(
        images=None,
        counts=counts[:, 0],
        labels=true[..., 0].astype(np.int64),
        positions=true[..., 1:3],
        yaws=true[..., 3],
    )
    scenes = Scenes3D(*[None] * len(Scenes3D._fields))._replace(
        num_objects=counts[:, 1],
        kind=found[..., 0].astype(np.int32),
        position=found[..., 1:3],
        yaw=found[..., 3],
    )
    return images, scenes


def test_objects_are_matched_so_that_the_sum_of_distances_is_smallest():
    """The nearest pair first would leave a distance of 0.5 for the other."""
    images, scenes = _objects(
        ([(0, 0.0, 0, 0), (1, 0.2, 0, 0)], [(1, 0.1, 0, 0), (0, -0.3, 0, 0)])
    )
    found = match(images, scenes, _TABLE)
    np.testing.assert_allclose(np.sort(found.distance), [0.1, 0.3])
    np.testing.assert_array_equal(found.is_right, [True, True])
    assert found.num_true == 2


@pytest.mark.parametrize(
    "kind, true, inferred, degrees",
    [
        (_CUBE, 0, 30, 30),
        (_CUBE, 0, 80, 10),  # a quarter turn is none
        (_CUBE, -170, 170, 20),
        (_CUBE, 10, -35, 45),
        (_CYLINDER, 0, 80, 80),
        (_CYLINDER, 5, -170, 5),
        (_SPHERE, 0, 77, 0),
    ],
)
def test_angles_know_the_symmetry(kind, true, inferred, degrees):
    images, scenes = _objects(
        (
            [(kind, 0.1, 0.2, np.radians(true))],
            [(kind, 0.1, 0.2, np.radians(inferred))],
        )
    )
    np.testing.assert_allclose(match(images, scenes, _TABLE).angle, degrees, atol=1e-6)


def test_counts_may_differ():
    one, two = (_CUBE, 0.0, 0.0, 0.0), (_SPHERE, 0.3, 0.4, 0.0)
    images, scenes = _objects(
        ([one], [two, one]),  # more than true
        ([one, two], [(_CYLINDER, 0.3, 0.4, 0.0)]),  # fewer
        ([one], []),
        ([], [one]),
        ([], []),
    )
    found = match(images, scenes, _TABLE)
    np.testing.assert_array_equal(found.image, [0, 1])
    np.testing.assert_array_equal(found.kind, [_CUBE, _SPHERE])
    np.testing.assert_array_equal(found.is_right, [True, False])
    np.testing.assert_allclose(found.distance, [0.0, 0.0])
    assert found.num_true == 4
    images, scenes = _objects(([one], []))
    found = match(images, scenes, _TABLE)
    assert found.distance.shape == (0,) and found.num_true == 1


@pytest.fixture(scope="module")
def air(table_config):
    keras.utils.set_random_seed(0)
    return AIR3D.of_table(dataclasses.replace(table_config, max_objects=2))


@pytest.fixture(scope="module")
def images(air, table_scenes):
    return table_scenes(air.config, 8, counts=(0, 1, 2), split=2)


@pytest.fixture
def perfect(air, images, monkeypatch):
    """What is true, which the model is made to infer; may be changed before."""
    present = np.arange(2) < images.counts[:, np.newaxis]
    shown = images.segmentation[:, np.newaxis] == np.arange(1, 3)[:, None, None]
    scenes = Scenes3D(
        num_objects=images.counts.astype(np.int32),
        num_objects_probs=np.eye(3, dtype=np.float32)[images.counts],
        boxes=images.boxes,
        presence=present.astype(np.float32),
        presence_probs=present.astype(np.float32),
        kind=images.labels.astype(np.int32),
        kind_probs=np.eye(3, dtype=np.float32)[images.labels],
        position=images.positions.copy(),
        position_scale=np.zeros_like(images.positions),
        yaw=images.yaws.copy(),
        yaw_scale=np.zeros_like(images.yaws),
        mask=shown.astype(np.float32),
        num_trips=np.full(8, 2),
    )

    def infer(batch, **options):
        rows = [
            next(i for i in range(8) if np.array_equal(images.images[i], one))
            for one in batch
        ]
        return Scenes3D(*(field[rows] for field in scenes))

    monkeypatch.setattr(air, "infer", infer)
    return scenes


def test_figures_of_perfect_inference(air, images, perfect):
    assert sorted(set(images.counts)) == [0, 1, 2]
    result = evaluate3d(air, images, batch_size=5)
    assert (result.num_images, result.max_objects) == (8, 2)
    assert result.count_accuracy == result.kind_accuracy == 1.0
    assert result.foreground_ari == result.mean_iou == result.ap_50_95 == 1.0
    assert result.position_error == result.position_error_mean == 0.0
    assert set(result.yaw_error) == {"cube", "cylinder"}
    assert max(result.yaw_error.values()) < 1e-3
    # Only the rounding of the images is left: uniform within 1 / 255.
    assert result.reconstruction_error < (1 / 255) ** 2 / 4
    difference = images.images / 255.0 - air.ground.numpy()
    np.testing.assert_allclose(
        result.empty_canvas_error, np.square(difference).mean(), rtol=1e-4
    )
    again = Evaluation.from_dict(result.to_dict())
    assert again == result


def test_figures_of_wrong_objects(air, images, perfect):
    """One kind is wrong, one object is missing, and all are moved and turned."""
    two, one = (int(np.flatnonzero(images.counts == n)[0]) for n in (2, 1))
    perfect.kind[two, 0] = (perfect.kind[two, 0] + 1) % 3
    perfect.num_objects[one] = 0
    perfect.presence[one] = 0.0
    perfect.position[..., 0] += 0.03
    perfect.position[..., 1] -= 0.04
    perfect.yaw[...] += np.radians(7)
    result = evaluate3d(air, images)
    num = images.counts.sum()
    np.testing.assert_allclose(result.kind_accuracy, (num - 2) / num)
    # 0.05 of a table of 1.1.
    np.testing.assert_allclose(result.position_error, 0.05 / 1.1, rtol=1e-4)
    np.testing.assert_allclose(result.position_error_mean, 0.05 / 1.1, rtol=1e-4)
    for error in result.yaw_error.values():
        np.testing.assert_allclose(error, 7.0, atol=1e-3)
    np.testing.assert_allclose(result.count_accuracy, 7 / 8)
    assert result.reconstruction_error > 1e-4


def test_masks_share_pixels_where_none_is_sure(air, images, perfect):
    """A pixel belongs to the largest mask above a half, else to the table."""
    two = int(np.flatnonzero(images.counts == 2)[0])
    perfect.mask[two] *= 0.4
    everything = evaluate3d(air, images)
    one = images._replace(
        **{
            name: getattr(images, name)[two : two + 1]
            for name in images._fields
            if getattr(images, name) is not None
        }
    )
    assert evaluate3d(air, one).foreground_ari < 0.1
    assert everything.foreground_ari < 1.0


def test_images_of_which_nothing_is_known(air, images, perfect):
    result = evaluate3d(air, ImageSet(images=images.images))
    for name in ("count_accuracy", "mean_iou", "foreground_ari", "kind_accuracy"):
        assert getattr(result, name) is None
    assert result.position_error is None and result.yaw_error is None
    assert result.num_objects_histogram == np.bincount(images.counts).tolist()
    counted = ImageSet(images=images.images, counts=images.counts)
    assert evaluate3d(air, counted).count_accuracy == 1.0


def test_images_of_the_empty_table(air, images, perfect):
    empty = np.flatnonzero(images.counts == 0)
    some = ImageSet(*(None if field is None else field[empty] for field in images))
    result = evaluate3d(air, some)
    assert result.count_accuracy == 1.0
    assert result.kind_accuracy is None and result.position_error is None


def test_the_bound_is_that_of_the_objective(air, images):
    """With the model's own inference."""
    result = evaluate_model(air, images)
    batch = tf.constant(images.images / 255.0, tf.float32)
    bound, _ = plain_bound(air, batch, seed=tf.constant([0, 0]), max_objects=2)
    for name in ("elbo", "log_likelihood", "kl_num_objects", "kl_where", "kl_what"):
        expected = tf.reduce_mean(getattr(bound, name))
        np.testing.assert_allclose(getattr(result, name), expected, rtol=1e-4)
    canvas = air.reconstruct(images.images)
    error = np.square(images.images / 255.0 - canvas).mean()
    np.testing.assert_allclose(result.reconstruction_error, error, rtol=1e-4)
    # log p(x | z) of a perfect reconstruction of 16 x 16 x 3 values.
    constant = -768 * np.log(0.2 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(result.likelihood_constant, constant, rtol=1e-5)


def test_the_bound_with_the_fitted_prior(air, images):
    air._fitted_count_probs.assign([0.2, 0.3, 0.5])
    result = evaluate_model(air, images, fitted_count=True)
    assert result.count_prior == "fitted"
    training = evaluate_model(air, images)
    np.testing.assert_allclose(
        training.log_likelihood, result.log_likelihood, rtol=1e-5
    )
    assert training.kl_num_objects != result.kl_num_objects
    # The counts of generated scenes against the true ones.
    true = np.bincount(images.counts, minlength=3) / 8
    distance = 0.5 * np.abs(true - [0.2, 0.3, 0.5]).sum()
    np.testing.assert_allclose(result.generated_count_distance, distance, rtol=1e-4)
    more = evaluate_model(air, images, max_objects=3)
    assert more.max_objects == 3 and len(more.num_objects_histogram) == 4
