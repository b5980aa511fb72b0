"""Explaining one object again, from what the others leave."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import AlphaConfig, ConstantConfig
from air_tf.model.air import AIR
from air_tf.model.revision import revise, without_least


@pytest.fixture
def air(small_config):
    config = dataclasses.replace(
        small_config, composition=AlphaConfig(), background=ConstantConfig()
    )
    return AIR(config)


def _explained(air, images, count):
    """An explanation with the same count for all images."""
    output = air(images)
    z_pres = np.tile((np.arange(3) < count).astype(np.float32), (len(images), 1))
    inference = output.inference._replace(z_pres=tf.constant(z_pres))
    return output._replace(
        inference=inference,
        canvas=air.generative.compose(output.object_image, z_pres, output.ground),
    )


def _revised(air, images, output, position, *, kind="likely"):
    return revise(
        images,
        output,
        position,
        kind=kind,
        attend=air.attend,
        generative=air.generative,
    )


def _assert_same(found, expected):
    for x, y in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def _without_trips(output):
    return output._replace(inference=output.inference._replace(num_trips=()))


def test_the_last_object_saw_what_the_others_leave_already(air, images):
    output = _explained(air, images, 3)
    found = _revised(air, images, output, 2)
    _assert_same(_without_trips(found), _without_trips(output))
    np.testing.assert_array_equal(found.inference.num_trips, np.ones(5))


def test_one_more_object_is_that_of_the_next_attend_step(air, images):
    """One object is present, and the absent third one is removed."""
    found = _revised(air, images, _explained(air, images, 1), 2)
    expected = _explained(air, images, 2)
    np.testing.assert_allclose(found.canvas, expected.canvas, atol=1e-5)
    for name in ("presence_logits", "q_where_params", "z_what"):
        x, y = (getattr(each.inference, name) for each in (found, expected))
        first_two = tf.nest.map_structure(lambda values: values[:, :2], (x, y))
        _assert_same(*first_two)


def test_the_new_object_comes_after_the_others(air, images):
    output = _explained(air, images, 2)
    found = _revised(air, images, output, 0)
    # The second object is now the first, and the absent one stays the last.
    old, new = output.inference, found.inference
    np.testing.assert_allclose(new.z_where[:, 0], old.z_where[:, 1])
    np.testing.assert_allclose(new.z_what[:, 2], old.z_what[:, 2])
    np.testing.assert_allclose(found.object_image[:, 0], output.object_image[:, 1])
    assert np.abs(new.z_where[:, 1] - old.z_where[:, 1]).max() > 1e-4
    np.testing.assert_array_equal(new.z_pres[0], [1.0, 1.0, 0.0])
    canvas = air.generative.decode(new.z_where, new.z_what, new.z_pres, found.ground)
    np.testing.assert_allclose(found.canvas, canvas, atol=1e-5)


def test_a_revision_finds_what_the_search_overlooks(air, images):
    """The step looks at the cell with the largest error, whatever its presence."""
    canvas = np.zeros([2, *air.config.image_shape], np.float32)
    canvas[0, :3, :3], canvas[1, -3:, -3:] = 1.0, 1.0
    images = tf.constant(canvas)
    output = _explained(air, images, 0)
    nothing = tf.zeros_like(output.object_image)
    output = output._replace(object_image=nothing, ground=tf.zeros_like(images))
    search = air.attend.search
    seen = []

    def guesses(images, cells=None):
        seen.append(cells.numpy())
        return find(images, cells)

    find, search._cells.call = search._cells.call, guesses
    _revised(air, images, output, 0, kind="least_explained")
    centres = search._cells.centres[seen[0]]
    assert (centres[0] < 0.0).all() and (centres[1] > 0.0).all()


def _squares(*sides):
    """Layers [1, 3, H, W, L] of opaque white squares in the top left corner."""
    layers = np.zeros([1, 3, 16, 16, 2], np.float32)
    for layer, side in zip(layers[0], sides, strict=True):
        layer[:side, :side] = 1.0
    return tf.constant(layers)


def test_the_object_that_matters_least_is_removed(air, images):
    output = _explained(air, images[:1], 3)
    layers = _squares(2, 6, 4)  # the second one hides the third
    black = tf.zeros([1, 16, 16, 1])
    output = output._replace(object_image=layers, ground=black)
    white = tf.concat([tf.ones([1, 6, 6, 1]), tf.zeros([1, 6, 10, 1])], axis=2)
    white = tf.concat([white, tf.zeros([1, 10, 16, 1])], axis=1)
    left = without_least(white, output, air.generative)
    np.testing.assert_array_equal(left.inference.z_pres, [[1.0, 1.0, 0.0]])
    # The first two lose nothing alone; of equals, the first is removed.
    np.testing.assert_array_equal(
        left.object_image, tf.gather(layers, [1, 2, 0], axis=1)
    )
    old, new = output.inference.z_where, left.inference.z_where
    np.testing.assert_array_equal(new, tf.gather(old, [1, 2, 0], axis=1))
    np.testing.assert_allclose(left.canvas, white, atol=1e-6)


def test_an_absent_object_does_not_matter_less(air, images):
    output = _explained(air, images[:1], 1)
    output = output._replace(object_image=_squares(6, 2, 0))
    left = without_least(images[:1], output, air.generative)
    np.testing.assert_array_equal(left.inference.z_pres, [[0.0, 0.0, 0.0]])
    none = without_least(images[:1], left, air.generative)
    np.testing.assert_array_equal(none.inference.z_pres, [[0.0, 0.0, 0.0]])


def test_merging_explains_two_objects_by_one(air, images):
    output = _explained(air, images, 2)
    merged = _revised(air, images, output, 0, kind="merge")
    np.testing.assert_array_equal(merged.inference.z_pres, np.tile([1.0, 0, 0], (5, 1)))
    # No other object is drawn, so the step sees the image alone.
    alone = _revised(air, images, _explained(air, images, 0), 0, kind="least_explained")
    np.testing.assert_allclose(merged.canvas, alone.canvas, atol=1e-5)


@pytest.mark.parametrize("gather", [True, False])
def test_revisions_are_kept_where_their_bound_is_higher(air, images, gather):
    """A revision that draws the images themselves is better than all others."""
    form = dataclasses.replace(air.config.inference, revisions=7)
    air = AIR(dataclasses.replace(air.config, inference=form))
    air.proposals._usual_error.assign(-1.0)
    first = air(images)
    asked, turns = [], []

    def revise(few, output, position, *, kind):
        asked.append(output)
        turns.append((position, kind))
        drawn = tf.ones_like(output.object_image) * few[:, tf.newaxis, ..., :1]
        # What is drawn at the position asked for last is the image.
        better = float(position == 0)
        inference = output.inference._replace(num_trips=tf.ones([5], tf.int32))
        return output._replace(
            inference=inference,
            object_image=output.object_image * (1.0 - better) + drawn * better,
        )

    found, _ = air.proposals.improve(
        first,
        images,
        air.generative.densities(),
        explain=lambda few, cells: air(few, first_cells=cells),
        revise=revise,
        other_cells=lambda few, ground: tf.zeros([len(few), 1], tf.int32),
        number=1,
        gather=gather,
    )
    # One position after the other, of the proposal, and of the best explanation so far.
    likely = [(position, "likely") for position in range(3)]
    assert turns[:7] == [*likely, *likely, (0, "least_explained")]
    assert turns[9] == (0, "merge")
    trips = found.inference.num_trips - 2 * first.inference.num_trips
    np.testing.assert_array_equal(trips, np.full(5, 3 + 7))
    np.testing.assert_array_equal(asked[4].object_image, asked[6].object_image)
