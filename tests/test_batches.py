import numpy as np
import pytest

from air_tf.training.batches import training_batches

# Image i is filled with i, so that a batch shows which images are in it.
_IMAGES = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1) * np.ones(
    (1, 2, 2, 1), np.uint8
)


def _batches(num, **settings):
    dataset = training_batches(_IMAGES, **{"seed": 0, "first_step": 0, **settings})
    return [b[:, 0, 0, 0] for b in dataset.take(num).as_numpy_iterator()]


def test_an_epoch_holds_every_image_once():
    for epoch in np.concatenate(_batches(10, batch_size=5)).reshape(5, 10):
        assert sorted(epoch) == list(range(10))


def test_epochs_differ_and_a_rest_is_left_out():
    batches = _batches(30, batch_size=4)  # two of 4 from each 10
    epochs = np.reshape(batches, (15, 8))
    assert all(len(set(epoch)) == 8 for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 15


@pytest.mark.parametrize("first_step", [1, 2, 3, 7])
@pytest.mark.parametrize("batch_size", [3, 5, 10])
def test_resumed_batches_are_those_of_an_uninterrupted_run(first_step, batch_size):
    whole = _batches(12, batch_size=batch_size)
    rest = _batches(12 - first_step, batch_size=batch_size, first_step=first_step)
    np.testing.assert_array_equal(whole[first_step:], rest)


def test_the_seed_decides_the_order():
    one, same = _batches(4, batch_size=5), _batches(4, batch_size=5)
    other = _batches(4, batch_size=5, seed=1)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_bytes_stay_bytes():
    dataset = training_batches(_IMAGES, batch_size=2, seed=0, first_step=0)
    assert next(iter(dataset)).dtype == "uint8"
