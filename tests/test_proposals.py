"""Explanations of images that are tried beside the first one."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import AIRConfig
from air_tf.errors import InputError
from air_tf.images import batches
from air_tf.model import proposals
from air_tf.model.air import AIR
from air_tf.model.likelihood import count_bounds
from air_tf.model.proposals import Explained, bounds_of_means
from air_tf.structs import NormalParams


@pytest.fixture
def air(small_config):
    return AIR(small_config)


def _with_few(config, **changes):
    form = dataclasses.replace(config.inference, **changes)
    return dataclasses.replace(config, inference=form)


def test_samples_lose_half_a_nat_for_each_number_that_the_image_determines():
    """x ~ N(z, sigma^2) and z ~ N(0, 1): the posterior of z is normal.

    Its variance is s^2 = 1 / (1 + 1 / sigma^2). E_q log p(x | z) is smaller than
    log p(x | mean of q) by s^2 / (2 sigma^2) = 1/2 (1 - s^2).
    """
    config = AIRConfig(image_shape=(20, 20, 1), z_what_size=2)
    prior = AIR(config).generative.what_prior()
    sigma = np.array([0.1, 2.0])
    variances = 1 / (1 + 1 / sigma**2)
    lost = variances / (2 * sigma**2)
    scale = tf.sqrt(tf.constant(variances[None, None], tf.float32))
    found = proposals._spread(NormalParams(tf.zeros([1, 1, 2]), scale), prior)
    np.testing.assert_allclose(found, [[lost.sum()]], rtol=1e-5)


def test_what_is_wider_than_the_prior_loses_nothing(air):
    params = NormalParams(tf.zeros([1, 1, 3]), tf.fill([1, 1, 3], 5.0))
    assert float(proposals._spread(params, air.generative.where_prior())[0, 0]) == 0.0


def test_bounds_of_means_are_those_of_the_count_minus_the_spread(air, images):
    output = air(images)
    p = air.generative.densities()
    inference = output.inference
    spread = sum(
        0.5 * np.maximum(1 - np.square(q.scale / prior.stddev()), 0).sum(-1)
        for q, prior in (
            (inference.q_where_params, p.where_prior),
            (inference.q_what_params, p.what_prior),
        )
    )  # [B, T]
    expected = count_bounds(output, images, p).numpy()
    expected[:, 1:] -= np.cumsum(spread, axis=1)
    np.testing.assert_allclose(bounds_of_means(output, images, p), expected, rtol=1e-5)


def test_cells_are_apart_and_the_best_comes_first(air, images):
    search = air.attend.search._cells
    cells = air.attend.search.first_cells(images, tf.zeros_like(images), 4).numpy()
    logits = search._logits(images)[1].numpy()
    np.testing.assert_array_equal(cells[:, 0], logits.argmax(axis=1))
    chosen = np.take_along_axis(logits, cells, axis=1)
    assert np.all(np.diff(chosen, axis=1) <= 0)
    centres = search.centres[cells]  # [B, K, 2]
    distance = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    others = distance[:, ~np.eye(4, dtype=bool)]
    assert others.min() >= air.config.inference.proposal_distance


@pytest.mark.parametrize("loop", ["full", "unrolled", "early_stop"])
def test_the_first_step_looks_where_it_is_told_and_later_ones_where_they_want(
    air, images, loop
):
    free = air(images, loop="full")
    cells = air.attend.search.first_cells(images, free.ground, 2)
    told = air(images, loop=loop, first_cells=cells[:, 1])
    search = air.attend.search._cells
    centre = search.centres[cells[:, 1]]
    moved = np.abs(told.inference.z_where[:, 0, 1:] - centre)
    # By the cell's own reach, and by corrections of at most a window's size each.
    assert np.all(moved <= search.reach + 2 * told.inference.z_where[:, 0, :1])
    assert not np.allclose(told.inference.z_where[:, 0], free.inference.z_where[:, 0])
    same = air(images, loop=loop, first_cells=tf.fill([len(images)], -1))
    np.testing.assert_allclose(
        same.inference.z_where[:, 0], free.inference.z_where[:, 0], rtol=1e-5
    )


def test_there_are_no_cells_in_recurrent_inference(recurrent_config, images):
    with pytest.raises(ValueError, match="no cells"):
        AIR(recurrent_config)(images, first_cells=tf.zeros([len(images)], tf.int32))


def test_errors_are_those_of_the_worst_window(air):
    """One bright square of the size of a window: all of it is in some window."""
    height, width, channels = air.config.image_shape
    image = np.zeros((2, height, width, channels), np.float32)
    rows = air.proposals._rows[1] > 0
    columns = air.proposals._columns[-1] > 0
    image[0][np.ix_(rows, columns)] = 0.6
    image[1] = 0.6 * math.sqrt(rows.sum() * columns.sum() / (height * width))
    p = air.generative.densities()
    found = air.proposals.errors(tf.zeros_like(image), tf.constant(image), p).numpy()
    pixels = rows.sum() * columns.sum() * channels
    expected = pixels * 0.6**2 / (2 * p.likelihood_scale**2)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    # The same squares, spread over the image, count for less.
    assert found[1] < 0.5 * found[0]


@pytest.mark.parametrize("gather", [True, False])
def test_better_explanations_replace_what_was_examined(air, images, gather):
    """Images 1 and 3 are examined; the second of two proposals is better for 3 alone.

    Better means: its objects draw the image itself.
    """
    p = air.generative.densities()
    first = air(images)
    errors = np.array([1.0, 3.0, 1.0, 3.0, 1.0], np.float32)
    air.proposals._usual_error.assign(2.0)
    air.proposals.errors = lambda canvas, images, p: tf.constant(errors)
    seen = []

    def explain(few, cells):
        seen.append(len(few))
        output = air(few, first_cells=cells)
        is_3 = tf.reduce_all(few == images[3], axis=[1, 2, 3]) & (cells == 7)
        drawn = tf.concat(
            [few[:, tf.newaxis], tf.zeros_like(output.object_image[:, 1:])], axis=1
        )
        shape = [-1, 1, 1, 1, 1]
        return output._replace(
            object_image=tf.where(tf.reshape(is_3, shape), drawn, output.object_image)
        )

    found, log_probs = air.proposals.improve(
        first,
        images,
        p,
        explain=explain,
        revise=None,  # not without `revisions`
        other_cells=lambda few, ground: tf.tile([[4, 7]], [len(few), 1]),
        number=2,
        gather=gather,
    )
    assert seen == [2 if gather else 5] * 2
    np.testing.assert_allclose(found.canvas[3], images[3], atol=1e-6)
    assert int(tf.reduce_sum(found.inference.z_pres[3])) == 1
    assert int(tf.argmax(log_probs[3])) == 1
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(log_probs), axis=1), 1.0, rtol=1e-5)
    for same in (0, 2, 4):
        np.testing.assert_array_equal(found.canvas[same], first.canvas[same])
    trips = found.inference.num_trips.numpy() / first.inference.num_trips.numpy()
    np.testing.assert_array_equal(trips, [1, 3, 1, 3, 1])


@pytest.mark.parametrize("gain, replaced", [(-1.0, False), (1e-3, False), (0.2, True)])
def test_rounding_replaces_no_explanation(air, images, monkeypatch, gain, replaced):
    """The same objects in another order gain what rounding makes of them."""
    p = air.generative.densities()
    first = air(images)
    air.proposals._usual_error.assign(-1.0)
    bounds = iter([np.zeros((5, 4), np.float32), np.full((5, 4), gain, np.float32)])
    monkeypatch.setattr(proposals, "bounds_of_means", lambda *_: next(bounds))
    found, _ = air.proposals.improve(
        first,
        images,
        p,
        explain=lambda few, cells: first._replace(
            object_image=first.object_image[:, ::-1]
        ),
        revise=None,  # not without `revisions`
        other_cells=lambda few, ground: tf.zeros([len(few), 1], tf.int32),
        number=1,
        gather=False,
    )
    best = first.object_image[:, ::-1] if replaced else first.object_image
    np.testing.assert_array_equal(found.object_image, best)


def test_proposals_are_compared_after_their_objects_were_explained_again(air, images):
    """Of two bad proposals, the objects of the first draw the images once revised."""
    air = AIR(_with_few(air.config, revisions=1))
    air.proposals._usual_error.assign(-1.0)
    first = air(images)

    def explain(few, cells):
        # Drawn is where the first step looked: no image.
        output = air(few, first_cells=cells)
        value = tf.cast(cells, tf.float32)[:, np.newaxis, np.newaxis, np.newaxis]
        return output._replace(
            object_image=tf.zeros_like(output.object_image) + value[:, np.newaxis]
        )

    def revise(few, output, position, *, kind):
        of_first = output.object_image[:, :1] == 7.0
        drawn = tf.concat(
            [few[:, tf.newaxis], tf.zeros_like(output.object_image[:, 1:])], axis=1
        )
        return output._replace(
            object_image=tf.where(of_first, drawn, output.object_image)
        )

    found, _ = air.proposals.improve(
        first,
        images,
        air.generative.densities(),
        explain=explain,
        revise=revise,
        other_cells=lambda few, ground: tf.tile([[7, 8]], [len(few), 1]),
        number=2,
        gather=False,
    )
    np.testing.assert_allclose(found.object_image[:, 0], images, atol=1e-6)


def test_the_most_probable_count_is_that_of_the_best_explanation(air, images):
    """The bounds of a count are the best of all explanations that have it."""
    output = air(images[:2])
    one = Explained(output, tf.constant([[5.0, 1.0, 0.0, 0.0], [1.0, 9.0, 2.0, 0.0]]))
    two = Explained(output, tf.constant([[2.0, 7.0, 6.0, 0.0], [0.0, 3.0, 8.0, 0.0]]))
    best = proposals._better(one, two)
    gain = proposals._LEAST_GAIN
    np.testing.assert_allclose(
        best.bounds, [[5.0, 7.0 - gain, 6.0 - gain, 0.0], [1.0, 9.0, 8.0 - gain, 0.0]]
    )
    deviation = air.config.inference.bound_deviation
    odds = tf.nn.log_softmax(best.bounds / deviation)[1, 1:3].numpy()
    np.testing.assert_allclose(odds[0] - odds[1], (1 + gain) / deviation, rtol=1e-5)


def _fitted(air, images, share=0.4):
    """Examines this share of the images."""
    output = air(tf.constant(images))
    errors = air.proposals.errors(
        output.canvas, tf.constant(images), air.generative.densities()
    )
    air.proposals._usual_error.assign(np.quantile(errors, 1 - share))


def test_results_do_not_depend_on_the_batch(air, images):
    _fitted(air, images)
    together = air.infer(images, batch_size=5)
    assert len(set(together.num_trips.tolist())) > 1
    for part, batch in batches(images, 1):
        alone = air.infer(batch)
        for name in ("num_objects", "num_objects_probs", "z_where", "canvas"):
            np.testing.assert_allclose(
                getattr(alone, name), getattr(together, name)[part], atol=1e-5
            )
    static = air.scenes(tf.constant(images), max_objects=3, static_sizes=True)
    np.testing.assert_allclose(static.canvas, together.canvas, atol=1e-5)


def test_without_proposals_the_first_explanation_stays(air, images):
    _fitted(air, images, share=1.0)
    before = AIR(_with_few(air.config, proposals=0))
    for name in ("attend", "generative", "ground_encoder"):
        getattr(before, name).set_weights(getattr(air, name).get_weights())
    for found in (air.infer(images, proposals=0), air.with_proposals(0).infer(images)):
        for x, y in zip(found, before.infer(images), strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_copy_has_other_proposals_and_the_same_weights(air, images):
    _fitted(air, images, share=1.0)
    copy = air.with_proposals(2)
    assert copy.config.inference.proposals == 2
    assert air.with_proposals(air.config.inference.proposals) is air
    for x, y in zip(copy.infer(images), air.infer(images, proposals=2), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_proposals_that_a_model_can_not_have_are_refused(
    air, recurrent_config, small_config, table_config
):
    none = AIRConfig.from_dict(_with_few(small_config, proposals=0).to_dict())
    for config, number, expected in (
        (air.config, -1, "expected 0 to 100"),
        (air.config, 101, "expected 0 to 100"),
        (air.config, 1.5, "expected 0 to 100"),
        (recurrent_config, 1, "expected 0 for this model"),
        (none, 4, "expected 0 for this model"),
        (table_config, 1, "expected 0 for 3D scenes"),
    ):
        with pytest.raises(InputError, match=expected):
            config.num_proposals(number)
    assert recurrent_config.num_proposals() == none.num_proposals() == 0


def test_windows_cover_all_pixels():
    found = proposals._windows(50, 0.35)
    assert set(found.sum(axis=1)) == {18.0}
    assert found.sum(axis=0).min() > 0
    np.testing.assert_array_equal(proposals._windows(3, 0.9), np.ones((1, 3)))
