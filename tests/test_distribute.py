"""Training on several devices, and by several workers."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from programs import Programs

from air_tf.config import (
    AlphaConfig,
    ConcreteConfig,
    EnumerationConfig,
    IWAEConfig,
    LearnedConfig,
    NVILConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.config.cluster import Cluster, cluster_of, read_cluster
from air_tf.config.objectives import (
    KindEnumerationConfig,
    KindNVILConfig,
    ReinforceConfig,
    VIMCOConfig,
)
from air_tf.errors import InputError
from air_tf.runs import RunDir

_PAIR = {"worker": ["a:1", "b:2"]}


def _tf_config(cluster, job="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


def test_the_chief_is_the_first_of_the_workers():
    assert read_cluster(_tf_config(_PAIR, index=1)) == Cluster(("a:1", "b:2"), 1)
    both = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    assert read_cluster(_tf_config(both, "chief")).number == 0
    assert read_cluster(_tf_config(both, index=1)) == Cluster(("c:3", "a:1", "b:2"), 2)


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {}, "task": {}}'])
def test_no_cluster_is_a_process_alone(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster_of("auto") is None
    with pytest.raises(InputError, match="is multi_worker; expected TF_CONFIG in"):
        cluster_of("multi_worker")


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "TF_CONFIG is not JSON"),
        ("[1]", "is malformed; expected an object with cluster and task"),
        ('{"cluster": ["a:1"]}', "is malformed"),
        (_tf_config({"ps": ["a:1"], **_PAIR}), "names ps tasks; expected only chief"),
        (_tf_config({"worker": "a:1"}), 'has "a:1" as cluster.worker; expected a list'),
        (_tf_config({"worker": ["a"]}), 'a list of "HOST:PORT"'),
        (_tf_config({"worker": ["a:0"]}), 'a list of "HOST:PORT"'),
        (_tf_config({"worker": ["a:1", "a:1"]}), "names one address twice"),
        (_tf_config({"chief": ["a:1", "b:1"]}, "chief"), "or two chiefs"),
        (_tf_config(_PAIR, index=2), "index 2 as its task; .* has 2 of type worker"),
        (_tf_config(_PAIR, index=-1), "index -1"),
        (_tf_config(_PAIR, index="1"), 'index "1"'),
        (_tf_config(_PAIR, "chief"), 'type "chief"'),
        (json.dumps({"cluster": _PAIR}), "has type null and index null"),
    ],
)
def test_what_tf_config_must_not_be(text, message, monkeypatch):
    with pytest.raises(InputError, match=message):
        read_cluster(text)
    # What is not asked for is not read.
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster_of("none") is None


def _contexts(workers, replicas):
    import tensorflow as tf

    return [tf.distribute.InputContext(workers, i, replicas) for i in range(workers)]


def _parts(make, context, steps):
    """What the replicas of a worker get: [steps, replicas of the worker, part, ...]."""
    own = context.num_replicas_in_sync // context.num_input_pipelines
    found = list(make(context).take(steps * own).as_numpy_iterator())
    return np.reshape(found, (steps, own, *found[0].shape))


@pytest.mark.parametrize("workers, replicas", [(2, 2), (3, 3), (2, 6), (1, 2)])
def test_parts_of_all_replicas_are_the_batch(workers, replicas):
    from air_tf.training.batches import training_batches, window_batches

    class Sampler:
        """Windows that show the seed and their row."""

        shape = (2, 2)

        def windows(self, seed, num):
            rows = np.arange(num, dtype=np.uint8) + 10 * seed[1]
            return np.tile(rows[:, None, None, None], (1, 2, 2, 1))

    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    given = {"batch_size": 6, "seed": 3, "first_step": 2}

    def from_images(context):
        return training_batches(images, replicas=context, **given)

    def from_windows(context):
        return window_batches(Sampler(), replicas=context, **given)

    for make in (from_images, from_windows):
        whole = list(make(None).take(4).as_numpy_iterator())
        parts = [_parts(make, c, 4) for c in _contexts(workers, replicas)]
        together = np.concatenate(parts, axis=1)  # [steps, replicas, part, ...]
        np.testing.assert_array_equal(together.reshape(np.shape(whole)), whole)


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """Trains on one and on two devices; returns how far they are apart."""
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("devices") / "images.npz"
    flat = np.zeros((24, 16, 16, 1), np.uint8)
    flat[::2, 2:7, 3:8] = flat[::3, 8:13, 9:14] = 255
    scenes = rng.integers(0, 256, (24, 16, 16, 3)).astype(np.uint8)
    np.savez(file, flat=flat, scenes=scenes)
    program = pathlib.Path(__file__).with_name("two_devices.py")
    process = subprocess.Popen(
        [sys.executable, program, file],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def compare(model, objective, images, *, eagerly=True, jit_compile=False, steps=1):
        training = TrainingConfig(
            objective=objective, steps=10, batch_size=8, jit_compile=jit_compile
        )
        job = {
            "config": RunConfig(model=model, training=training).to_dict(),
            "images": images,
            "eagerly": eagerly,
            "steps": steps,
        }
        print(json.dumps(job), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    yield compare
    process.stdin.close()
    process.wait()


def _require_same(found, steps=1):
    assert found["steps"] == [steps, steps]
    assert found["first_weights"] == 0.0
    assert found["learnt"] > 1e-3  # Adam's first step is the learning rate
    # The mean gradient: a sum over replicas would be twice as large. Where a gradient
    # is small, it is the difference of large numbers.
    assert found["gradients"] < 1e-4
    assert found["weights"] < 1e-6
    assert found["logs"] < 1e-5
    assert found["devices"] == 0.0


@pytest.mark.parametrize(
    "objective",
    [NVILConfig(), IWAEConfig(), VIMCOConfig(), ReinforceConfig()],
    ids=lambda objective: type(objective).__name__,
)
def test_two_devices_learn_what_one_does(objective, small_config, two_devices):
    """Each has half of the batch, and its rows of the noise of the whole batch."""
    model = dataclasses.replace(small_config, max_objects=2)
    _require_same(two_devices(model, objective, "flat"))


def test_two_devices_with_noise_of_the_ground_and_of_presence(
    small_config, two_devices
):
    model = dataclasses.replace(
        small_config,
        max_objects=1,
        background=LearnedConfig(),
        composition=AlphaConfig(),
        likelihood_scale="learned",
    )
    _require_same(two_devices(model, ConcreteConfig(), "flat"))


@pytest.mark.parametrize(
    "objective",
    # The clip applies to the mean gradient, which is below that of each half.
    [KindEnumerationConfig(max_gradient_norm=1.0), KindNVILConfig()],
    ids=lambda objective: type(objective).__name__,
)
def test_two_devices_in_3d(objective, table_config, two_devices):
    model = dataclasses.replace(table_config, max_objects=1)
    _require_same(two_devices(model, objective, "scenes"))


def test_two_devices_with_xla(small_config, two_devices):
    """As the default is: each compiles its part, and the means are taken outside."""
    model = dataclasses.replace(small_config, max_objects=1)
    options = {"eagerly": False, "jit_compile": True}
    _require_same(two_devices(model, EnumerationConfig(), "flat", **options))


class Pair:
    """Two workers on this machine, each a process."""

    def __init__(self, programs, flags):
        self._programs, self._flags = programs, flags

    def __call__(self, folder, *flags, of_second=(), kill_second_when=None):
        """What both wrote, after both have ended.

        Args:
          folder: each works in a folder of its own in there, "0" and "1".
          *flags: of both.
          of_second: flags of the second worker alone.
          kill_second_when: asked again and again; then it is killed.
        """
        with socket.socket() as one, socket.socket() as other:
            for found in (one, other):
                found.bind(("localhost", 0))
            ports = [found.getsockname()[1] for found in (one, other)]
        workers = [f"localhost:{port}" for port in ports]

        def work(i):
            cwd = folder / str(i)
            cwd.mkdir(parents=True, exist_ok=True)
            return self._programs[i].run(
                "train",
                *self._flags,
                *flags,
                *(of_second if i else ()),
                cwd=cwd,
                environment={"TF_CONFIG": _tf_config({"worker": workers}, index=i)},
                pid_file=cwd / "pid",
            )

        with concurrent.futures.ThreadPoolExecutor() as pool:
            found = [pool.submit(work, i) for i in range(2)]
            while kill_second_when and not any(one.done() for one in found):
                if kill_second_when():
                    os.kill(int((folder / "1" / "pid").read_text()), signal.SIGKILL)
                    break
                time.sleep(0.05)
            return [one.result() for one in found]


@pytest.fixture(scope="module")
def pair(programs, data_file):
    flags = [
        "--dataset=file",
        f"--data_file={data_file}",
        "--model_dir=run",
        # With moments of its own, and an optimizer.
        "--objective=nvil",
        "--max_objects=1",
        "--proposals=0",
        "--glimpse_size=8,8",
        "--z_what_size=4",
        "--look_units=8",
        "--where_units=8",
        "--encoder_units=8",
        "--decoder_units=8",
        "--batch_size=8",
        "--steps=200",
        "--steps_per_evaluation=100",
        "--nojit_compile",
    ]
    with Programs() as others:
        yield Pair([programs, others], flags)


def _refused(result, *words):
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = [one for one in result.stderr.splitlines() if one.startswith("error: ")]
    for word in words:
        assert word in line, line


def _arrays(file):
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(file) as opened:
        opened.visititems(keep)
    return found


def test_workers_that_were_killed_resume_to_the_same_weights(pair, tmp_path):
    whole = pair(tmp_path / "whole")
    for result in whole:
        assert result.returncode == 0, result.stderr
    # Both know the figures, and only the chief has written, and says so.
    figures = [result.stdout.partition("Figures")[2] for result in whole]
    chief, end, where = figures[0].partition("\nModel, figures and pictures are in ")
    assert end and where == "run\n" and chief == figures[1] != ""
    assert [file.name for file in (tmp_path / "whole" / "1").iterdir()] == ["pid"]

    run = RunDir(tmp_path / "parts" / "0" / "run")
    chief, _ = pair(tmp_path / "parts", kill_second_when=run.latest.exists)
    _refused(chief, "another worker has ended", "start all workers again to resume")
    assert [row["step"] for row in run.read_metrics_csv()] == [100]
    for result in pair(tmp_path / "parts"):
        assert result.returncode == 0, result.stderr
        assert "after step 100 of 200" in result.stderr
    ended = RunDir(tmp_path / "whole" / "0" / "run")
    one, other = _arrays(ended.latest), _arrays(run.latest)
    assert one.keys() == other.keys() and len(one) > 50
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_workers_of_other_settings_or_images_are_refused(pair, tmp_path, data_file):
    copy = dict(np.load(data_file))
    copy["image"][0, 0, 0] ^= 1
    np.savez(tmp_path / "y.npz", **copy)
    other = ["--steps=300", f"--data_file={tmp_path / 'y.npz'}"]
    for result in pair(tmp_path, of_second=other):
        _refused(result, "worker 1 (localhost:", "steps (there 300, here 200)")
        _refused(result, "the training images; expected the same for all workers")
    assert not (tmp_path / "0" / "run").exists()


def test_what_one_worker_lacks_ends_all(pair, tmp_path):
    chief, second = pair(tmp_path, of_second=["--data_file=none.npz"])
    _refused(second, "none.npz: no such file")
    _refused(chief, "worker 1 (localhost:", "can't train: none.npz: no such file")


def test_what_the_chief_refuses_ends_all(pair, tmp_path):
    (tmp_path / "0" / "run").mkdir(parents=True)
    (tmp_path / "0" / "run" / "thesis.txt").write_text("dear")
    chief, second = pair(tmp_path)
    _refused(chief, "--model_dir run is not empty")
    _refused(second, "worker 0 (localhost:", "run is not empty")


def test_train_names_flags_and_the_variable(programs, tmp_path):
    environment = {"TF_CONFIG": ""}
    result = programs.run(
        "train", "--distribute=multi_worker", cwd=tmp_path, environment=environment
    )
    _refused(result, "--distribute is multi_worker; expected TF_CONFIG")
    environment = {"TF_CONFIG": "{"}
    _refused(
        programs.run("train", cwd=tmp_path, environment=environment),
        "error: TF_CONFIG is not JSON",
    )
    assert not list(tmp_path.iterdir())


def test_what_can_not_be_shared_is_refused_at_once(monkeypatch):
    from air_tf.training.distribute import start

    with pytest.raises(InputError, match="is 'all'; expected auto, none, mirrored or"):
        start("all", RunConfig())
    with pytest.raises(InputError, match="is mirrored; expected several GPUs, found"):
        start("mirrored", RunConfig())
    monkeypatch.setenv("TF_CONFIG", _tf_config(_PAIR))
    with pytest.raises(InputError, match="batch_size is 3; expected a multiple of 2"):
        start("auto", RunConfig().with_training(batch_size=3))
    nvil = RunConfig().with_training(objective=NVILConfig())
    with pytest.raises(InputError, match="jit_compile is true; expected false with"):
        start("auto", nvil)
    # One worker has nobody to share with.
    monkeypatch.setenv("TF_CONFIG", _tf_config({"chief": ["a:1"]}, "chief"))
    assert start("multi_worker", nvil).number == 1


def test_a_port_in_use_is_named(monkeypatch):
    from air_tf.training.distribute import start

    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        own = f"localhost:{other.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", _tf_config({"worker": [own, "localhost:1"]}))
        with pytest.raises(InputError, match=f"address {own}, whose port is in use"):
            start("auto", RunConfig())


def test_what_sharing_costs_is_told():
    from benchmarks.workers_speed import format_workers

    measured = {"cpu_ms_per_image": 0.5, "step_ms": 20.0}
    one = {"number": 1, **measured, "exchange_ms": 0.0, "exchange_cpu_ms": 0.0}
    two = {**one, "number": 2, "cpu_ms_per_image": 0.75, "exchange_ms": 3.25}
    shown = format_workers(
        {
            "workers": [one, two],
            "num_weights": 520_129,
            "batch_size": 64,
            "difference": 2e-7,
            "moved": 1.5e-3,
        }
    )
    assert "| CPU ms per image" in shown and "| 0.50" in shown and "| 0.75" in shown
    assert (
        "moved a weight by up to 1.5e-03, two workers differ from one by 2.0e-07"
        in (shown)
    )
