import numpy as np
import pytest
import tensorflow as tf

from air_tf.model import distributions
from air_tf.model.composition import Additive
from air_tf.objectives.blank_steps import without_blanks
from air_tf.objectives.enumeration import enumeration
from air_tf.structs import AIROutput, Densities, Inference, NormalParams

P = Densities(
    count_prior=distributions.count_prior(0.01, 3),
    where_prior=distributions.where_prior((0.35, 0.0, 0.0), (0.1, 0.5, 0.5)),
    what_prior=distributions.what_prior(2),
    ground_prior=distributions.what_prior(0),
    likelihood_scale=0.3,
    composition=Additive(),
)
# On a canvas of 6x6: an object at the top left and one at the bottom right.
A, B, NOTHING = (np.zeros((6, 6, 1), np.float32) for _ in range(3))
A[:3, :3], B[3:, 3:], NOTHING[0, 5] = 1.0, 1.0, 0.01


def _output(objects, presence_logits):
    """T = 3 steps that draw `objects`, each with a window of its own."""
    steps = len(objects)
    where = np.zeros((1, steps, 3), np.float32)
    where[0, :, 0] = 0.35
    where[0, :, 1] = 0.1 * np.arange(steps)
    what = np.zeros((1, steps, 2), np.float32)
    inference = Inference(
        presence_logits=tf.constant([presence_logits]),
        z_pres=tf.ones([1, steps]),
        q_where_params=NormalParams(tf.constant(where), tf.fill([1, steps, 3], 0.1)),
        z_where=tf.constant(where),
        q_what_params=NormalParams(tf.constant(what), tf.ones([1, steps, 2])),
        z_what=tf.constant(what),
        num_trips=tf.constant([steps]),
    )
    images = tf.constant(np.stack(objects))[tf.newaxis]
    canvas = tf.reduce_sum(images, axis=1)
    none = tf.zeros([1, 0])  # a black ground has no code
    return AIROutput(
        inference=inference,
        object_image=images,
        q_ground_params=NormalParams(none, none),
        z_ground=none,
        ground=tf.zeros_like(canvas),
        canvas=canvas,
    )


def _order(result):
    """The first window tells which step's object stands where."""
    return np.round(result.output.inference.z_where[0, :, 1] / 0.1).astype(int).tolist()


@pytest.mark.parametrize(
    "objects, image, order",
    [
        ([NOTHING, A, NOTHING], A, [1, 2, 0]),  # a blank before the object
        ([A, NOTHING, B], A + B, [0, 2, 1]),  # a blank between two
        ([A, B, NOTHING], A + B, [0, 1, 2]),  # nothing wrong
        ([A, NOTHING, NOTHING], A, [0, 1, 2]),  # nothing to explain any more
        ([A, A, NOTHING], A, [0, 1, 2]),  # twice the same: as good first
        ([NOTHING, NOTHING, NOTHING], NOTHING, [0, 1, 2]),
        ([NOTHING, NOTHING, NOTHING], A, [0, 1, 2]),  # nothing better at hand
    ],
)
def test_a_blank_goes_behind_the_object_after_it(objects, image, order):
    result = without_blanks(_output(objects, [3.0, 3.0, -3.0]), image[None], P)
    assert _order(result) == order
    moved = order != [0, 1, 2]
    assert result.blank.numpy().sum() == moved
    assert (result.auxiliary_loss.numpy()[0] > 0) == moved
    np.testing.assert_array_equal(
        result.output.object_image[0], np.stack([objects[t] for t in order])
    )


def test_the_better_order_has_the_better_bound():
    # q(2) is nearly 1: with the blank first the object needs two steps, without
    # it the second is the blank. What one object less saves shows at q(1).
    output = _output([NOTHING, A, NOTHING], [9.0, -9.0, 0.0])
    result = without_blanks(output, A[None], P)
    before = enumeration(output, A[None], P).elbo[0]
    after = enumeration(result.output, A[None], P).elbo[0]
    # 9 pixels of 1 at sigma 0.3 cost 9 / (2 * 0.09) = 50 nats if not drawn.
    np.testing.assert_allclose(after - before, 50.0, atol=0.1)


def test_the_loss_in_numbers():
    # KL between windows 0.1 apart, both of deviation 0.1: 0.5 nats. The count
    # was 2 and should be 1: - log q(1) with p = sigmoid(3), sigmoid(3).
    result = without_blanks(
        _output([NOTHING, A, NOTHING], [3.0, 3.0, -3.0]), A[None], P
    )
    p = 1 / (1 + np.exp(-3.0))
    np.testing.assert_allclose(
        result.auxiliary_loss[0], 0.5 - np.log(p * (1 - p)), rtol=1e-5
    )


def test_the_loss_moves_the_blank_window_and_not_its_teacher():
    logits = [3.0, 3.0, -3.0]
    output = _output([NOTHING, A, NOTHING], logits)
    loc = tf.Variable(output.inference.q_where_params.loc)
    logits = tf.Variable([logits])
    with tf.GradientTape() as tape:
        inference = output.inference._replace(
            q_where_params=NormalParams(
                loc + 0.0, output.inference.q_where_params.scale
            ),
            presence_logits=logits + 0.0,
        )
        result = without_blanks(output._replace(inference=inference), A[None], P)
        loss = tf.reduce_sum(result.auxiliary_loss)
    where, presence = tape.gradient(loss, [loc, logits])
    assert where[0, 0, 1] < 0  # down to where the second window is
    np.testing.assert_array_equal(where[0, 1:], np.zeros((2, 3)))
    assert presence[0, 0] < 0 and presence[0, 1] > 0  # one object, not two


def test_one_step_has_no_blanks():
    output = _output([A], [1.0])
    result = without_blanks(
        output, A[None], P._replace(count_prior=distributions.count_prior(0.01, 1))
    )
    assert result.auxiliary_loss.numpy().tolist() == [0.0]
    assert result.output is output
