import numpy as np
import pytest

from air_tf.evaluation.probe import LabelledCodes, labelled_codes, linear_probe
from air_tf.model.air import AIR
from air_tf.structs import ImageSet


def _codes(num, rng, *, informative):
    labels = rng.integers(0, 3, num)
    noise = rng.normal(size=(num, 4))
    separable = noise + 8.0 * np.eye(3, 4)[labels]
    return LabelledCodes(separable if informative else noise, noise, labels)


def test_accuracy_is_high_where_classes_are_linear_in_the_features_only():
    rng = np.random.default_rng(0)
    train, test = (_codes(n, rng, informative=True) for n in (600, 300))
    result = linear_probe(train, test)
    assert result.accuracy == 1.0
    assert 0.2 < result.accuracy_pixels < 0.5  # chance is a third
    assert result.num_train == 600 and result.num_test == 300


@pytest.mark.parametrize("num_train, num_test", [(0, 5), (5, 0)])
def test_probe_of_too_few_objects_is_none(num_train, num_test):
    rng = np.random.default_rng(0)
    result = linear_probe(
        _codes(num_train, rng, informative=True),
        _codes(num_test, rng, informative=True),
    )
    assert result.accuracy is None
    assert result.num_test == num_test


def test_probe_of_classes_that_it_was_not_fitted_to_is_none():
    rng = np.random.default_rng(0)
    train, test = (_codes(n, rng, informative=True) for n in (60, 30))
    result = linear_probe(train, test._replace(labels=test.labels + 3))
    assert result.accuracy is None


def test_codes_are_those_of_the_matched_objects(learnt_run, pools):
    """Scenes with known labels: a learnt model finds nearly all objects."""
    from air_tf.data.pool_scenes import compose_scene
    from air_tf.data.scene_config import SceneConfig

    config = SceneConfig(counts=(1, 2))
    scenes = [compose_scene(pools["test"], config, split=2, index=i) for i in range(60)]
    boxes, labels = np.zeros((60, 2, 4), np.float32), np.zeros((60, 2), np.int64)
    for i, scene in enumerate(scenes):
        boxes[i, : len(scene.boxes)] = scene.boxes
        labels[i, : len(scene.labels)] = scene.labels
    counts = np.array([len(scene.boxes) for scene in scenes])
    images = ImageSet(np.stack([s.image for s in scenes]), counts, boxes, labels)
    air = learnt_run.load_model()
    found = labelled_codes(air, images)
    assert 0.8 * counts.sum() < len(found.labels) <= counts.sum()
    assert found.z_what.shape == (len(found.labels), air.config.z_what_size)
    assert found.pixels.shape == (len(found.labels), 28 * 28)
    one = images._replace(images=images.images[:1], counts=counts[:1])
    first = labelled_codes(air, one)
    assert set(first.labels) <= set(labels[0, : counts[0]])


def test_no_match_gives_no_code(small_config, images):
    air = AIR(small_config)
    empty = ImageSet(
        np.zeros_like(images),
        np.zeros(5, np.int64),
        np.zeros((5, 1, 4), np.float32),
        np.zeros((5, 1), np.int64),
    )
    assert len(labelled_codes(air, empty).labels) == 0
