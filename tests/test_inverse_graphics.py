import dataclasses
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from air_tf.config import AIR3DConfig, DataConfig, RunConfig, TrainingConfig
from air_tf.config.objectives import KindEnumerationConfig
from air_tf.config.renderers import BlackBoxConfig
from air_tf.errors import InputError
from air_tf.model.air3d import AIR3D
from air_tf.structs import ImageSet, Inference3D, NormalParams
from studies.inverse_graphics import compare, measure, table
from studies.inverse_graphics.config import InverseGraphicsConfig
from studies.inverse_graphics.search import Poses, Rates, Search, all_choices
from studies.inverse_graphics.supervised import (
    Labels,
    assign,
    supervised_loss,
    train_supervised,
)

_CUBE, _SPHERE, _CYLINDER = range(3)
_SETTINGS = InverseGraphicsConfig(optimisation_steps=40)
_RATES = Rates(position=0.05, phase=0.2)


def _config(max_objects=1, **settings):
    return AIR3DConfig(
        max_objects=max_objects,
        look_channels=(4,),
        presence_units=(4,),
        glimpse_channels=(4,),
        glimpse_units=(8,),
        **settings,
    )


@pytest.fixture(scope="module")
def air():
    """A model of at most one object, whose networks have learnt nothing."""
    return AIR3D.of_table(_config())


@pytest.fixture(scope="module")
def cube(air):
    """A picture of one cube, [H, W, 3], turned by 20 degrees."""
    yaw = math.radians(20.0)
    return air.render([[_CUBE]], [[[0.275, 0.0]]], [[yaw]], [[1]])[0]


def _poses(position, phase):
    """One search with one slot, of the same phase for all kinds."""
    return Poses(tf.constant([[position]]), tf.fill([1, 1, 3], float(phase)))


def _evidence(search, image, poses):
    return tf.reduce_logsumexp(search.log_joint(image, poses, 0.3, 0.05))


def test_choices_of_two_slots():
    """None twice, one of three kinds in either slot, or two objects of three kinds."""
    config = _config(max_objects=2, count_decay=0.5)
    choices = all_choices(AIR3D(config))
    assert len(choices.kinds) == 16
    np.testing.assert_array_equal(np.bincount(choices.counts), [1, 6, 9])
    np.testing.assert_array_equal(choices.kinds[choices.of_count(0)], [[3, 3]])
    # p(n) = (4, 2, 1) / 7. One object is in either slot, and has one of three kinds.
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    place = 2 * (math.log(2.0) - entropy - math.log(config.min_position_scale))
    turn = math.log(2 * math.pi) - entropy - math.log(config.min_yaw_scale)
    expected = {
        (3, 3): math.log(4 / 7),
        (_SPHERE, 3): math.log(2 / 7 / 2 / 3) - place,
        (3, _CUBE): math.log(2 / 7 / 2 / 3) - place - turn,
        (_CUBE, _CYLINDER): math.log(1 / 7 / 9) - 2 * place - turn,
    }
    found = {
        tuple(kinds): log_prior
        for kinds, log_prior in zip(
            choices.kinds.tolist(), choices.log_prior, strict=True
        )
    }
    for kinds, log_prior in expected.items():
        np.testing.assert_allclose(found[kinds], log_prior, rtol=1e-5)


def test_log_joint_of_what_is_there(air, cube):
    """At the truth, the cube leaves no error; without it, its pixels are errors."""
    search = Search(air, _SETTINGS)
    truth = _poses([0.5, 0.0], 4 * math.radians(20.0))
    log_joint = search.log_joint(cube, truth, air.config.blur, 0.05)[0].numpy()
    constant = -cube.numpy().size * math.log(0.05 * math.sqrt(2 * math.pi))
    choices = all_choices(air)
    np.testing.assert_allclose(
        log_joint[_CUBE], constant + choices.log_prior[_CUBE], atol=0.05
    )
    error = np.sum((cube - air.ground.value).numpy() ** 2)
    np.testing.assert_allclose(
        log_joint[3], constant + choices.log_prior[3] - error / 2 / 0.05**2, rtol=1e-4
    )


def test_search_ends_at_the_truth(air, cube):
    """From nearby: position, kind and yaw are found, and the evidence rises."""
    search = Search(air, _SETTINGS)
    first = _poses([0.3, 0.15], 4 * math.radians(8.0))
    last = tf.function(search.refine, autograph=False)(cube, first, _RATES)
    before, after = (_evidence(search, cube, poses) for poses in (first, last))
    assert after > before + 100.0
    np.testing.assert_allclose(last.position[0, 0], [0.5, 0.0], atol=0.005)
    log_joint = search.log_joint(cube, last, air.config.blur, 0.05)
    found = search._objects(Poses(*(one[0] for one in last)), log_joint[0])
    assert found.num_objects == [1] and found.kind == [[_CUBE]]
    np.testing.assert_allclose(found.position, [[[0.275, 0.0]]], atol=0.003)
    np.testing.assert_allclose(np.degrees(found.yaw), [[20.0]], atol=0.5)


def test_present_objects_come_first():
    """Three slots: none, a sphere without a yaw, and a cube, whose phase is 4 yaws."""
    air = AIR3D(_config(max_objects=3))
    search = Search(air, _SETTINGS)
    kinds = all_choices(air).kinds.tolist()
    log_joint = np.full(64, -1000.0, np.float32)
    log_joint[kinds.index([3, _SPHERE, _CUBE])] = 0.0
    # More probable than any other, but two objects are more probable than three.
    log_joint[kinds.index([_CUBE] * 3)] = -0.1
    poses = Poses(
        tf.constant([[0.1, 0.1], [0.2, 0.4], [-1.0, 0.6]]),
        tf.constant([[1.0] * 3, [1.2, 1.3, 1.4], [0.8, 0.9, 1.0]]),
    )
    found = search._objects(poses, tf.constant(log_joint))
    np.testing.assert_array_equal(found.num_objects, [2])
    np.testing.assert_array_equal(found.kind, [[_CUBE, _SPHERE, 0]])
    expected = [[[-0.55, 0.33], [0.11, 0.22], [0.0, 0.0]]]
    np.testing.assert_allclose(found.position, expected, atol=1e-6)
    np.testing.assert_allclose(found.yaw, [[0.2, 0.0, 0.0]], atol=1e-6)


def _labels():
    """A cube and a sphere; nothing. Each has three columns, as in the dataset."""
    segmentation = np.zeros((2, 32, 32), np.uint8)
    segmentation[0, 4:8, 4:8] = 1
    segmentation[0, 20:24, 20:24] = 2
    return Labels(
        counts=tf.constant([2, 0]),
        kinds=tf.one_hot([[_CUBE, _SPHERE, 0], [0, 0, 0]], 3),
        positions=tf.constant(
            [[[-0.5, 0.0], [0.5, 0.0], [0.0, 0.0]], [[0.0, 0.0]] * 3]
        ),
        yaws=tf.constant([[0.3, 0.7, 0.0], [0.0] * 3]),
        segmentation=tf.constant(segmentation),
    )


def test_nearest_object_that_is_left():
    """Both first steps are nearest to the sphere, which the first one gets."""
    position = tf.constant(
        [[[0.4, 0.1], [0.3, 0.0], [0.5, 0.0]], [[0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]]
    )
    np.testing.assert_array_equal(
        assign(position, _labels()),
        [[[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.zeros((3, 3))],
    )


def _truth(labels):
    """What is found if the sphere is found first, with certainty."""
    shape = [2, 3]
    mask = np.zeros((2, 3, 32, 32), np.float32)
    mask[0, 0] = labels.segmentation[0] == 2
    mask[0, 1] = labels.segmentation[0] == 1
    position = tf.constant([[[0.5, 0.0], [-0.5, 0.0], [0.9, 0.9]], [[0.1, 0.1]] * 3])
    kind = tf.one_hot([[_SPHERE, _CUBE, 0], [0, 0, 0]], 3)
    # A whole turn more is the same; what the phases of other kinds are plays no role.
    cube = tf.constant([[0.0, 4 * 0.3 + 2 * math.pi, 0.0], [0.0] * 3])
    phase = tf.stack([cube, tf.ones(shape), tf.ones(shape)], axis=-1)
    logits = tf.constant([[50.0, 50.0, -50.0], [-50.0, 0.0, 0.0]])
    return Inference3D(
        presence_logits=logits,
        z_pres=tf.cast(logits > 0, tf.float32),
        q_position_params=NormalParams(position, tf.ones_like(position)),
        position=position,
        kind_logits=50.0 * kind,
        q_phase_params=NormalParams(phase, tf.ones_like(phase)),
        phase=phase,
        mask=tf.constant(mask),
        num_trips=tf.constant([3, 3]),
    )


def test_supervised_loss_is_zero_at_the_truth(air):
    labels = _labels()
    loss = supervised_loss(_truth(labels), labels, *air.folds, _SETTINGS)
    np.testing.assert_allclose(loss, [0.0, 0.0], atol=1e-5)


def test_terms_of_the_supervised_loss(air):
    labels, settings = _labels(), _SETTINGS
    near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    truth = _truth(labels)

    def loss(**fields):
        wrong = truth._replace(**fields)
        return supervised_loss(wrong, labels, *air.folds, settings).numpy()

    def added(field, index, value):
        array = getattr(truth, field).numpy()
        array[index] += value
        return {field: tf.constant(array)}

    # The sphere is 0.1 and 0.2 off; the third step has no object.
    move = loss(**added("position", (0, 0), [0.1, -0.2]))
    near(move, [settings.position_loss_weight * 0.05, 0.0])
    near(loss(**added("position", (0, 2), 0.1)), 0.0)
    # The cube's phase is a third of a turn off; that of a sphere can't be seen.
    turn = loss(**added("phase", (0, 1, _CUBE), 2 * math.pi / 3))
    near(turn, [settings.phase_loss_weight * 1.5, 0.0])
    turn = loss(**added("phase", (0, 0, _SPHERE), 1.0))
    near(turn, 0.0)
    # Three pixels are missed by a half each.
    mask = loss(**added("mask", (0, 1, 0, slice(0, 3)), 0.5))
    near(mask, [settings.mask_loss_weight * 0.75, 0.0])
    # All kinds are equally probable in two steps with objects.
    kind = loss(kind_logits=tf.zeros([2, 3, 3]))
    near(kind, [2 * math.log(3), 0.0])
    # q(n) = 1/2, 1/4, 1/8, 1/8: of 2 objects, and of none.
    count = loss(presence_logits=tf.zeros([2, 3]))
    near(count, [math.log(8), math.log(2)])


def _scenes(air, number):
    """Scenes of nothing, or a sphere on the left or on the right."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, number)
    positions = np.zeros((number, 1, 2), np.float32)
    positions[:, 0, 0] = rng.choice([-0.3, 0.3], number) * counts
    kinds = np.full((number, 1), _SPHERE) * counts[:, np.newaxis]
    yaws = np.zeros((number, 1), np.float32)
    images = air.render(kinds, positions, yaws, counts[:, np.newaxis]).numpy()
    shown = np.abs(images - air.ground.numpy()).max(axis=-1) > 0.05
    return ImageSet(
        images=np.round(255 * images).astype(np.uint8),
        counts=counts,
        boxes=np.zeros((number, 1, 4), np.float32),
        labels=kinds.astype(np.int64),
        segmentation=shown.astype(np.uint8),
        positions=positions,
        yaws=yaws,
    )


def _run_config(model, **training):
    return RunConfig(
        model=model,
        data=DataConfig(dataset="tabletop/primitives"),
        training=TrainingConfig(objective=KindEnumerationConfig(), **training),
    )


def test_training_with_labels(air):
    scenes = _scenes(air, 64)
    config = _run_config(
        air.config, steps=7, batch_size=32, learning_rate=0.01, jit_compile=False
    )
    settings = dataclasses.replace(_SETTINGS, supervised_steps=60)
    network = train_supervised(config, scenes, settings)
    assert network.count_params() == air.count_params()
    found = measure.measure_network(network, scenes)
    assert found["count_accuracy"] == 1.0 and found["kind_accuracy"] == 1.0
    assert found["position_error"] < 0.05
    with pytest.raises(InputError, match="expected a dataset with kinds, positions"):
        train_supervised(config, scenes._replace(segmentation=None), settings)


def test_search_from_random_starts(air):
    """A sphere is found, and its figures are measured."""
    scenes = _scenes(air, 3)
    assert scenes.counts.sum() > 0
    settings = dataclasses.replace(
        _SETTINGS, position_rates=(1e-6, 0.1), phase_rates=(0.2,), validation_starts=8
    )
    tried = measure.choose_rates(Search(air, settings), scenes)
    assert [one["position"] for one in tried] == [0.1, 1e-6]
    assert tried[0]["kind_accuracy"] == 1.0 > tried[1]["kind_accuracy"]


def _row(milliseconds, kind_accuracy):
    return {
        "milliseconds": milliseconds,
        "count_accuracy": 0.75,
        "kind_accuracy": kind_accuracy,
        "position_error": 0.0123,
        "yaw_error": {"cube": 2.04},
    }


def _result(*accuracies):
    return {
        "machine": {"cpus": 2, "python": "3.11"},
        "settings": InverseGraphicsConfig(starts=(1, 4)).to_dict(),
        "dataset": "tabletop/primitives",
        "num_images": 20,
        "most_objects": 3,
        "learning_rates": [{"position": 0.1, "phase": 0.3, "kind_accuracy": 0.9}] * 6,
        "rows": {
            "AIR3D": _row(4.0, 0.9),
            "optimisation, 4 starts": _row(1000.0, accuracies[1]),
            "optimisation, 1 start": _row(300.0, accuracies[0]),
        },
    }


def test_table():
    text = table.format_inverse_graphics(_result(0.5, 0.95))
    lines = [line.split("|")[1:-1] for line in text.splitlines()]
    cells = [[cell.strip() for cell in line] for line in lines if line]
    figures = ["1.23%", "cube 2.0°"]
    assert cells[2:] == [
        ["AIR3D", "75.0%", "90.0%", *figures, "4", "1"],
        ["optimisation, 1 start", "75.0%", "50.0%", *figures, "300", "75"],
        ["optimisation, 4 starts", "75.0%", "95.0%", *figures, "1e+03", "250"],
    ]
    assert "90.0%, is reached by optimisation, 4 starts, which takes 250 times" in text
    assert "the learning rates 0.1 for positions and 0.3 for phases" in text
    text = table.format_inverse_graphics(_result(0.5, 0.8))
    assert "is not reached by optimisation with up to 4 starts" in text


def test_plot(tmp_path):
    table.save_plot(tmp_path / "plot.png", _result(0.5, 0.95))
    assert (tmp_path / "plot.png").stat().st_size > 5000


@pytest.fixture
def stubs(air, monkeypatch):
    """Replaces the run, training and measuring; lists what is measured."""
    asked = []
    scenes = _scenes(air, 8)

    class Run:
        config = _run_config(air.config)

        def __init__(self, path):
            self.path = pathlib.Path(path)

        def read_config(self):
            return self.config

        def load_model(self):
            return air

        def load_images(self, splits, *, data_dir, with_details=()):
            return dict.fromkeys(splits, scenes)

    def measure_search(search, images, *, rates, num_starts):
        asked.append((rates, num_starts, len(images.images)))
        return _row(100.0 * num_starts, num_starts / 10)

    def train(config, images, settings):
        asked.append("train")
        return air

    def choose_rates(search, images):
        asked.append(len(images.images))
        return [{"position": 0.1, "phase": 0.3, "kind_accuracy": 0.9}]

    monkeypatch.setattr(compare, "RunDir", Run)
    monkeypatch.setattr(compare, "train_supervised", train)
    monkeypatch.setattr(compare.measure, "measure_search", measure_search)
    monkeypatch.setattr(compare.measure, "choose_rates", choose_rates)
    return types.SimpleNamespace(asked=asked, run=Run)


def _compare(folder, **settings):
    few = {"num_images": 6, "num_validation_images": 2, "starts": (1, 4)}
    settings = InverseGraphicsConfig(**{**few, **settings})
    return compare.compare_inference("run", folder, settings=settings)


def test_compare_inference(stubs, tmp_path):
    result = _compare(tmp_path)
    chosen = Rates(0.1, 0.3)
    assert stubs.asked == ["train", 2, (chosen, 1, 6), (chosen, 4, 6)]
    rows = result["rows"]
    assert list(rows) == [
        "AIR3D",
        "AIR3D, batches of 64",
        "the network, trained with labels",
        "optimisation, 1 start",
        "optimisation, 4 starts",
    ]
    for name in list(rows)[:3]:
        assert rows[name]["milliseconds"] > 0
    assert (
        rows["AIR3D"]["kind_accuracy"]
        == (rows["the network, trained with labels"]["kind_accuracy"])
    )
    assert json.loads((tmp_path / "inverse_graphics.json").read_text()) == result
    assert "optimisation, 4 starts" in (tmp_path / "inverse_graphics.md").read_text()
    assert (tmp_path / "inverse_graphics.png").stat().st_size > 5000

    # Starts can be added; nothing else is measured again.
    stubs.asked.clear()
    again = _compare(tmp_path, starts=(1, 4, 16))
    assert stubs.asked == [(chosen, 16, 6)]
    assert again["rows"]["AIR3D"] == rows["AIR3D"]


def test_results_of_other_settings_are_refused(stubs, tmp_path):
    _compare(tmp_path)
    stubs.asked.clear()
    with pytest.raises(InputError, match=r"differ in initial_blur \(there 4.0, here 1"):
        _compare(tmp_path, initial_blur=1.0)
    assert not stubs.asked


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"max_objects": 4}, "with `max_objects` 4; expected at most 3"),
        ({"renderer": BlackBoxConfig()}, "renderer black_box; expected analytic"),
    ],
)
def test_runs_that_can_not_be_compared(stubs, tmp_path, model, message):
    config = dataclasses.replace(stubs.run.config.model, **model)
    stubs.run.config = _run_config(config, jit_compile=False)
    with pytest.raises(InputError, match=message):
        _compare(tmp_path)
    assert not list(tmp_path.iterdir())


def test_as_many_images_as_there_are(stubs, tmp_path):
    with pytest.raises(InputError, match="num_images is 9; expected at most 8, the te"):
        _compare(tmp_path, num_images=9)


def test_settings_are_checked():
    for wrong, message in (
        ({"num_images": 0}, "num_images is 0; expected a whole number of at least 1"),
        ({"starts": (4, 1)}, "in rising order"),
        ({"starts": ()}, "at least one number"),
        ({"position_rates": (0.1, -1.0)}, "position_rates is .* at least one number"),
        ({"explore_share": 0.0}, "explore_share is 0.0; expected a number above 0"),
        ({"initial_blur": -1.0}, "initial_blur is -1.0; expected a number above 0"),
        ({"supervised_steps": 0}, "supervised_steps is 0; expected a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            InverseGraphicsConfig(**wrong)


# The program with a study that prints what it is given.
_PROGRAM = """
import sys, types
def compare(model_dir, folder, *, settings, data_dir):
    print(model_dir, folder, settings.starts, settings.supervised_steps)
sys.modules["studies.inverse_graphics.compare"] = types.SimpleNamespace(
    compare_inference=compare
)
sys.modules["studies.inverse_graphics.table"] = types.SimpleNamespace(
    format_inverse_graphics=lambda result: ""
)
import inverse_graphics
from air_tf import cli
cli.run(inverse_graphics.main)
"""


def _run(*flags):
    root = pathlib.Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *flags],
        cwd=root / "scripts",
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'scripts'}"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_program():
    result = _run("--model_dir=pretrained:default", "--output_dir=out", "--starts=1,16")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("pretrained:default out (1, 16) None\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--output_dir=out"], "--model_dir is missing"),
        (["--model_dir=run"], "--output_dir is missing"),
        (["--model_dir=run", "--starts=1,x"], "--starts is '1,x'; expected whole"),
        (["--model_dir=run", "--num_images=0"], "--num_images is 0; expected a whole"),
        (["run"], "argument 'run' is not a flag"),
    ],
)
def test_flags_are_refused_in_one_line(given, message):
    result = _run(*given)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    assert message in line
