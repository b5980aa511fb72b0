"""What XLA compiled is found by the next run, and only if nobody else can change it."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from air_tf.errors import ProcessKilled
from air_tf.xla_cache import kept_compilations


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of caches; temporary folders are closed to others."""
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def _private():
    """The folder of this run."""
    flag, devices = os.environ["TF_XLA_FLAGS"].split()
    assert devices == "--tf_xla_persistent_cache_device_types=CPU"
    return pathlib.Path(flag.removeprefix("--tf_xla_persistent_cache_directory="))


def _compile(**contents):
    """A run that compiles; returns what it found before."""
    with kept_compilations():
        folder = _private()
        found = {path.stem: path.read_bytes() for path in folder.iterdir()}
        for name, content in contents.items():
            (folder / f"{name}.pb").write_bytes(content)
    assert "TF_XLA_FLAGS" not in os.environ and not folder.exists()
    return found


def test_the_next_run_finds_what_was_compiled(home):
    assert _compile(a=b"code of a") == {}
    assert _compile(b=b"code of b") == {"a": b"code of a"}
    assert _compile() == {"a": b"code of a", "b": b"code of b"}
    (folder,) = (home / "air_tf" / "xla").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_files_that_were_changed_are_deleted(home):
    _compile(a=b"code of a", b=b"code of b")
    (file,) = home.rglob("a.*.pb")
    file.write_bytes(b"code o")
    assert _compile() == {"b": b"code of b"}
    assert not file.exists()


def test_an_interrupted_run_keeps_what_it_compiled(home):
    with pytest.raises(KeyboardInterrupt), kept_compilations():
        (_private() / "a.pb").write_bytes(b"code of a")
        raise KeyboardInterrupt
    assert list(_compile()) == ["a"]


def test_a_file_that_may_be_half_written_is_not_kept(home):
    with pytest.raises(ProcessKilled), kept_compilations():
        (_private() / "a.pb").write_bytes(b"code o")
        raise ProcessKilled("killed")
    assert _compile() == {}


def test_the_latest_files_are_kept(home):
    for number in range(22):
        _compile(**{f"n{number}": b"code"})
        (file,) = home.rglob(f"n{number}.*.pb")
        os.utime(file, (number, number))
    assert set(_compile()) == {f"n{number}" for number in range(2, 22)}


def test_another_processor_or_other_flags_have_another_folder(home, monkeypatch):
    _compile(a=b"code of a")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=1")
    assert _compile() == {}


def test_folders_that_others_can_change_are_not_used(home):
    for mode in (0o777, 0o720):
        home.chmod(mode)
        with kept_compilations():
            assert "TF_XLA_FLAGS" not in os.environ
    home.chmod(0o1777)  # as /tmp: what is in it can't be exchanged
    _compile(a=b"code of a")
    (folder,) = (home / "air_tf" / "xla").iterdir()
    folder.chmod(0o770)
    with kept_compilations():
        assert "TF_XLA_FLAGS" not in os.environ


def test_folders_of_others_are_not_used(home, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (home / "air_tf").mkdir()
    if (home / "air_tf").stat().st_uid == 0:  # root may
        os.chown(home / "air_tf", 54321, -1)
    with kept_compilations():
        assert "TF_XLA_FLAGS" not in os.environ


def test_the_users_own_flags_are_kept(home, monkeypatch):
    for flags in ("", "--tf_xla_clustering_debug"):
        monkeypatch.setenv("TF_XLA_FLAGS", flags)
        with kept_compilations():
            assert os.environ["TF_XLA_FLAGS"] == flags
    assert not list(home.iterdir())


def test_folders_that_can_not_be_named_or_made(home, monkeypatch):
    (home / "a file").write_text("")
    for name in ("with space", "a file"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / name))
        with kept_compilations():
            assert "TF_XLA_FLAGS" not in os.environ


_TRAINING = """
import hashlib, json, os, pathlib, sys
from air_tf.xla_cache import kept_compilations

def train():
    import keras, numpy as np
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([5]), keras.layers.Dense(7, "tanh"),
                              keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=True)
    x = np.random.default_rng(0).random((6, 5), np.float32)
    model.fit(x, x[:, :1], epochs=3, verbose=0)
    weights = b"".join(w.tobytes() for w in model.get_weights())
    return hashlib.sha256(weights).hexdigest()

with kept_compilations():
    flag = os.environ["TF_XLA_FLAGS"].split()[0]
    folder = pathlib.Path(flag.partition("=")[2])
    before = sorted(path.name for path in folder.iterdir())
    result = train()
    after = sorted(path.name for path in folder.iterdir())
print(json.dumps([result, before, after]))
"""


def test_a_training_is_the_same_with_code_that_was_compiled_before(home):
    def run():
        result = subprocess.run(
            [sys.executable, "-c", _TRAINING],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(result.stdout)

    cold, nothing, compiled = run()
    warm, found, after = run()
    assert nothing == [] and compiled
    # It compiled nothing.
    assert found == after == compiled
    assert warm == cold
