import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import AIRConfig, DataConfig, RunConfig
from air_tf.errors import InputError
from air_tf.model.air import AIR
from air_tf.structs import ImageSet
from studies.few_labels import compare, contrastive, methods, networks
from studies.few_labels.config import FewLabelsConfig
from studies.few_labels.objects import FoundObjects, find_objects
from studies.few_labels.tasks import TASKS, answers
from studies.few_labels.warps import warp

_NUM_OBJECTS, _CODE = 3, 4
_SETTINGS = FewLabelsConfig()


def _pair(left, right, first="left"):
    """Boxes and labels of two digits side by side, in the order of placement."""
    boxes = np.array([[0.1, 0.0, 0.5, 0.3], [0.0, 0.2, 0.9, 0.9]])
    labels = np.array([left, right])
    return (boxes, labels) if first == "left" else (boxes[::-1], labels[::-1])


def _scenes(pairs):
    boxes, labels = map(np.stack, zip(*pairs, strict=True))
    num = len(pairs)
    images = np.zeros((num, 8, 8, 1), np.uint8)
    return ImageSet(images, np.full(num, 2), boxes, labels)


def test_answers():
    scenes = _scenes([_pair(3, 7), _pair(3, 7, "right"), _pair(9, 2), _pair(4, 4)])
    np.testing.assert_array_equal(answers("sum", scenes), [10, 10, 11, 8])
    np.testing.assert_array_equal(answers("ascending", scenes), [1, 1, 0, 0])


def test_answers_are_of_two_digits():
    scenes = _scenes([_pair(3, 7)])
    for wrong in (
        scenes._replace(counts=np.array([1])),
        scenes._replace(labels=None),
        scenes._replace(labels=np.array([[3, 10]])),
    ):
        with pytest.raises(InputError, match="two labelled digits"):
            answers("sum", wrong)


def test_contrastive_loss_of_orthogonal_pairs():
    """Cosine 1 with the partner and 0 with the two others, over temperature 1/2."""
    codes = tf.constant([[2.0, 0.0], [0.0, 5.0]])
    loss = contrastive.contrastive_loss(codes, 3.0 * codes, temperature=0.5)
    np.testing.assert_allclose(loss, -np.log(np.exp(2) / (np.exp(2) + 2)), rtol=1e-6)


def test_settings_are_checked():
    for wrong, message in (
        ({"task_min_steps": 0}, "task_min_steps is 0; expected a whole number of at"),
        ({"warp_shift": -0.1}, "warp_shift is -0.1; expected a number of at least 0"),
        ({"cnn_filters": ()}, r"cnn_filters is \(\); expected at least one"),
        ({"autoencoder_filters": (8,)}, "autoencoder_filters is .* expected 2 whole"),
        ({"contrastive_temperature": 0.0}, "contrastive_temperature is 0.0; expected"),
    ):
        with pytest.raises(InputError, match=message):
            FewLabelsConfig(**wrong)


_NO_WARPS = FewLabelsConfig(
    warp_rotation=0.0, warp_shear=0.0, warp_log_size=0.0, warp_shift=0.0
)


def test_warps_of_size_0_change_nothing():
    images = np.random.default_rng(0).random((3, 5, 7, 2), np.float32)
    np.testing.assert_allclose(warp(images, _NO_WARPS), images, atol=1e-5)


def test_warps_rotate_about_the_centre():
    """By up to 0.2: the centre stays, a pixel three away moves by less than one."""
    images = np.zeros((20, 9, 9, 1), np.float32)
    images[:, 4, 4], images[:, 4, 7] = 1.0, 1.0
    config = dataclasses.replace(_NO_WARPS, warp_rotation=0.2)
    warped = warp(images, config).numpy()
    np.testing.assert_allclose(warped[:, 4, 4], 1.0, atol=1e-5)
    rows = np.arange(9)[:, None]
    places = (warped[:, :, 6:, 0] * rows).sum((1, 2)) / warped[:, :, 6:, 0].sum((1, 2))
    assert 0.3 < np.abs(places - 4).max() < 3 * np.sin(0.2) + 0.1


def test_warps_shift_by_a_share_of_the_image():
    """By up to a tenth of 20 pixels, which no image is shifted beyond."""
    images = np.zeros((50, 20, 20, 1), np.float32)
    images[:, 10, 10] = 1.0
    config = dataclasses.replace(_NO_WARPS, warp_shift=0.1)
    warped = warp(images, config).numpy()[..., 0]
    shift = (warped * np.arange(20)).sum((1, 2)) / warped.sum((1, 2)) - 10
    assert 1.5 < np.abs(shift).max() <= 2.0


def test_objects_of_one_class_get_similar_codes():
    """Crosses and rings of different brightness, which z_what tells apart."""
    config = FewLabelsConfig(contrastive_steps=60, contrastive_batch_size=32)
    rng = np.random.default_rng(0)
    cross, ring = np.zeros((2, 8, 8))
    cross[3:5], cross[:, 3:5] = 1, 1
    ring[1:7, 1:7], ring[2:6, 2:6] = 1, 0
    kind = rng.integers(0, 2, 200)
    shade = rng.uniform(100, 255, 200)
    glimpses = np.stack([cross, ring])[kind] * shade[:, None, None]
    z_what = np.stack([10.0 * kind, shade / 100], axis=1)
    glimpses = glimpses[..., None].astype(np.uint8)
    network = contrastive.learn_codes(z_what, glimpses, config=config, seed=0)
    codes = network.predict(glimpses, verbose=0)
    assert codes.shape == (200, 64)
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=1e-3)
    centres = [codes[kind == k].mean(axis=0) for k in (0, 1)]
    far = np.linalg.norm(codes[:, None] - centres, axis=2)
    assert np.mean(far.argmin(axis=1) == kind) > 0.99


@pytest.fixture
def found():
    """Codes, z_where and presence of three, two and no objects."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(3, _NUM_OBJECTS, _CODE)).astype(np.float32)
    z_where = rng.normal(size=(3, _NUM_OBJECTS, 3)).astype(np.float32)
    presence = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]], np.float32)
    return codes, z_where, presence


def test_a_set_has_no_order(found):
    network = networks.SetNetwork(5, _SETTINGS)
    swapped = [x[:, [2, 0, 1]] for x in found]
    np.testing.assert_allclose(network(found), network(swapped), atol=1e-5)


def test_absent_objects_say_nothing(found):
    codes, z_where, presence = found
    network = networks.SetNetwork(5, _SETTINGS)
    before = network(found).numpy()
    absent = presence == 0
    codes[absent], z_where[absent] = 100.0, -100.0
    np.testing.assert_allclose(network((codes, z_where, presence)), before, atol=1e-5)


def test_which_of_two_lies_left_matters(found):
    codes, z_where, presence = found
    network = networks.SetNetwork(5, _SETTINGS)
    before = network(found).numpy()
    z_where[1, :2] = z_where[1, 1::-1]
    after = network((codes, z_where, presence)).numpy()
    assert np.abs(after - before)[1].max() > 1e-4


def test_found_objects(small_config, images):
    air = AIR(small_config)
    images = np.round(255 * images).astype(np.uint8)
    found = find_objects(air, images)
    scenes = air.infer(images)
    np.testing.assert_allclose(found.z_what, scenes.z_what, atol=1e-5)
    np.testing.assert_array_equal(found.presence, scenes.presence)
    assert found.glimpses.shape == (5, 3, 8, 8, 1)
    assert found.glimpses.dtype == np.uint8
    assert not found.glimpses[found.presence == 0].any()


@pytest.fixture
def telling(small_config, monkeypatch):
    """Makes `Methods` on scenes whose two objects show their digits, 1 or 2."""
    rng = np.random.default_rng(0)
    digits = rng.integers(1, 3, (64, 2))
    scenes = _scenes([_pair(*pair) for pair in digits])
    # As bright as their sum.
    images = np.zeros((64, 16, 16, 1), np.uint8)
    images += (60 * digits.sum(axis=1)).astype(np.uint8)[:, None, None, None]

    def find_objects(air, images):
        what = np.zeros((len(images), 3, 4), np.float32)
        what[:, :2] = digits[: len(images), :, None] + rng.normal(
            0, 0.1, (len(images), 2, 4)
        )
        where = np.zeros((len(images), 3, 3), np.float32)
        where[:, :2, 2] = [-0.5, 0.5]
        glimpses = np.clip(100 * what, 0, 255)[:, :, :, None, None].repeat(4, axis=3)
        return FoundObjects(
            z_what=what,
            z_where=where,
            presence=np.float32([[1, 1, 0]] * len(images)),
            glimpses=glimpses.astype(np.uint8),
        )

    monkeypatch.setattr(methods, "find_objects", find_objects)
    scenes = scenes._replace(images=images)

    def make(**settings):
        config = FewLabelsConfig(
            task_min_steps=200, contrastive_steps=20, autoencoder_steps=2, **settings
        )
        air = AIR(small_config)
        given = {"train": scenes, "test": scenes, "config": config, "seed": 0}
        return methods.Methods(air, images, **given), answers("sum", scenes)

    return make


def test_accuracy_from_codes(telling):
    of_scenes, right = telling()
    assert of_scenes.accuracy("codes", "sum", np.arange(64)) > 0.95
    assert np.bincount(right).max() < 40


def test_other_methods_answer(telling):
    """The majority class of three labels, and two networks."""
    of_scenes, right = telling()
    seen = right[:3]
    assert of_scenes.accuracy("majority", "sum", np.arange(3)) == np.mean(
        right == np.bincount(seen).argmax()
    )
    for method in ("cnn", "autoencoder"):
        # The moving averages of so few steps cost the first a fifth.
        assert of_scenes.accuracy(method, "sum", np.arange(64)) > 0.7


def test_fine_tuning_starts_from_contrastive_codes(telling, monkeypatch):
    """At learning rate 0 it answers as with frozen codes."""
    of_scenes, _ = telling(tuning_rate_share=0.0)
    seen = {}
    predict = networks.SetNetwork.predict

    def listen(name):
        def listening(self, *args, **kwargs):
            seen[name] = predict(self, *args, **kwargs)
            return seen[name]

        return listening

    monkeypatch.setattr(networks.SetNetwork, "predict", listen("contrastive"))
    monkeypatch.setattr(networks.EncodedSetNetwork, "predict", listen("fine_tuned"))
    for method in ("contrastive", "fine_tuned"):
        assert of_scenes.accuracy(method, "sum", np.arange(64)) > 0.95
    np.testing.assert_allclose(seen["fine_tuned"], seen["contrastive"], atol=1e-3)


def test_contrastive_codes_need_objects(telling, monkeypatch):
    of_scenes, _ = telling()

    def find_none(air, images):
        return FoundObjects(*np.zeros((4, len(images), 3)))

    monkeypatch.setattr(methods, "find_objects", find_none)
    with pytest.raises(InputError, match="finds 0 objects in 64 training images"):
        of_scenes.accuracy("contrastive", "sum", np.arange(64))


@pytest.fixture
def stubs(monkeypatch):
    """Replaces trainings: accuracies are a tenth of the number of labels."""
    asked = []

    class Methods:
        num_train = 9

        def __init__(self, air, unlabelled, *, train, test, config, seed):
            assert air in ("air", None)
            assert len(unlabelled) == min(config.num_unlabelled, 5)
            assert len(train.images) == 9 and train.segmentation is None
            self.seed = seed

        def accuracy(self, method, task, chosen):
            asked.append((self.seed, method, task, tuple(chosen)))
            return len(chosen) / 10

    def load_images(config, splits, **_):
        num = {"multi_digits": 5, "multi_digits/2": 9}[config.data.dataset]
        images = np.zeros((num, 8, 8, 1), np.uint8)
        return {split: ImageSet(images) for split in splits}

    def train_seeds(config, seeds, folder, *, data_dir):
        for seed in seeds:
            (folder / f"seed-{seed}").mkdir(parents=True, exist_ok=True)
            if seed < 2:  # others diverge
                (folder / f"seed-{seed}" / "model.keras").touch()

    monkeypatch.setattr(compare, "Methods", Methods)
    monkeypatch.setattr(compare, "load_images", load_images)
    monkeypatch.setattr(compare, "_num_labelled", lambda name, data_dir: 9)
    monkeypatch.setattr(compare, "train_seeds", train_seeds)
    monkeypatch.setattr(compare, "in_fresh_process", lambda f, *args: f(*args))
    monkeypatch.setattr(
        compare, "RunDir", lambda _: types.SimpleNamespace(load_air=lambda: "air")
    )
    return asked


_DIGITS = RunConfig(data=DataConfig(dataset="multi_digits"))


def _compare(seeds, folder, num_labels=None, **settings):
    settings = FewLabelsConfig(**settings)
    return compare.compare_labels(
        _DIGITS, seeds, folder, settings=settings, num_labels=num_labels
    )


def test_compare_labels(stubs, tmp_path):
    result = _compare(range(2), tmp_path, [2, 4], num_unlabelled=3)
    assert len(stubs) == 2 * len(methods.METHODS) * len(TASKS) * 2
    few, more = (
        next(c for s, m, t, c in stubs if (s, m, t, len(c)) == (1, "cnn", "sum", n))
        for n in (2, 4)
    )
    assert more[:2] == few and len(set(more)) == 4
    assert result["accuracies"]["1"]["contrastive"]["sum"] == {"2": 0.2, "4": 0.4}
    assert result["settings"]["cnn_filters"] == [16, 32, 64, 96]
    assert json.loads((tmp_path / "few_labels.json").read_text()) == result
    table = (tmp_path / "few_labels.md").read_text("utf-8")
    lines = [line.split("|")[1:-1] for line in table.splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert ["method", "2", "4"] in cells
    assert ["codes", "20.0% (20.0%)", "40.0% (40.0%)"] in cells
    assert (tmp_path / "few_labels.png").stat().st_size > 5000

    stubs.clear()
    _compare(range(2), tmp_path, [2, 4, 8], num_unlabelled=3)
    assert {len(chosen) for *_, chosen in stubs} == {8}  # the others are known


def test_results_of_other_settings_are_refused(stubs, tmp_path):
    _compare([0], tmp_path, [2])
    stubs.clear()
    message = r"differ in cnn_steps_share \(there 3.0, here 9.0\); expected the same"
    with pytest.raises(InputError, match=message):
        _compare([0], tmp_path, [2], cnn_steps_share=9.0)
    assert not stubs


def test_results_of_an_earlier_version_are_refused(stubs, tmp_path):
    (tmp_path / "downstream.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds downstream.json of an earlier"):
        _compare([0], tmp_path, [2])
    assert not stubs


def test_nothing_of_a_model_that_diverged_is_right(stubs, tmp_path):
    result = _compare([2], tmp_path, [4])
    assert {method for _, method, *_ in stubs} == set(methods.BASELINES)
    of_seed = result["accuracies"]["2"]
    assert of_seed["contrastive"]["sum"] == {"4": 0.0}
    assert of_seed["cnn"]["sum"] == {"4": 0.4}


def test_as_many_labels_as_there_are_scenes(stubs, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "NUM_LABELS", (3, 9, 27))
    result = _compare([0], tmp_path)
    assert list(result["accuracies"]["0"]["cnn"]["sum"]) == ["3", "9"]


@pytest.mark.parametrize(
    ("dataset", "steps", "num_labels", "message"),
    [
        ("multi_digits", 3, [10], "num_labels is 10; expected at most 9"),
        ("multi_digits", 1, [2], "max_objects is 1; expected at least 2"),
        ("sprites", 3, [2], "'sprites'; expected multi_digits"),
        ("multi_mnist/0-3", 3, [2], "'multi_mnist/0-3'; .* without a configuration"),
    ],
)
def test_what_can_not_be_compared(stubs, tmp_path, dataset, steps, num_labels, message):
    config = RunConfig(
        model=AIRConfig(max_objects=steps), data=DataConfig(dataset=dataset)
    )
    with pytest.raises(InputError, match=message):
        compare.compare_labels(
            config, [0], tmp_path, settings=_SETTINGS, num_labels=num_labels
        )
    assert not list(tmp_path.iterdir())  # before anything is trained


def test_a_folder_that_can_not_be_made(stubs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output_dir .*file can't be made"):
        _compare([0], tmp_path / "file")
    assert not stubs


def test_networks_for_pixels_and_codes():
    images = np.zeros((2, 10, 14, 3), np.uint8)
    assert networks.pixels_network((10, 14, 3), 19, _SETTINGS)(images).shape == (2, 19)
    assert networks.codes_network(6, 2, _SETTINGS)(np.zeros((2, 6))).shape == (2, 2)


# The program with a study that prints what it is given.
_PROGRAM = """
import sys, types
from studies import few_labels
def compare(config, seeds, folder, *, settings, num_labels, data_dir):
    print(settings.cnn_steps_share, settings.cnn_filters, num_labels)
sys.modules["studies.few_labels.compare"] = types.SimpleNamespace(
    compare_labels=compare, format_few_labels=lambda result: ""
)
import downstream
from air_tf import cli
cli.run(downstream.main)
"""


def test_settings_are_flags():
    root = pathlib.Path(__file__).parents[1]

    def run(*flags):
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM, "--output_dir=out", *flags],
            env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'scripts'}"},
            capture_output=True,
            text=True,
        )

    given = run("--cnn_steps_share=9", "--cnn_filters=4,8", "--num_labels=9,4")
    assert given.stdout.splitlines()[0] == "9.0 (4, 8) [4, 9]", given.stderr
    wrong = run("--cnn_steps_share=0")
    assert wrong.returncode == 1
    assert "error: --cnn_steps_share is 0.0; expected a number above 0" in wrong.stderr
