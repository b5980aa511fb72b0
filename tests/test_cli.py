import errno
import logging as stdlib_logging
import pathlib
import sys

import pytest

from air_tf import cli
from air_tf.errors import InputError, OutputError, ServerError, TrainingDiverged
from air_tf.files import replacing


@pytest.mark.parametrize(
    "raised, message",
    [
        (InputError("is 9; expected 1", field="verbosity"), "error: --verbosity is 9"),
        (InputError("x.npz: no such file"), "error: x.npz: no such file"),
        (
            InputError("x exists; expected `verbosity`, or another `output`"),
            "error: x exists; expected --verbosity, or another output",
        ),
        (OutputError("run/latest.h5: no space"), "error: run/latest.h5: no space"),
        (TrainingDiverged("by step 3"), "error: by step 3"),
        (ServerError("no answer"), "error: no answer"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_errors_that_users_can_act_on_are_one_line(monkeypatch, raised, message):
    def main(argv):
        raise raised

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(main)
    # sys.exit prints a text and ends with 1.
    assert str(stopped.value).startswith(message)
    assert "\n" not in str(stopped.value)


def test_a_full_disk_is_one_line(tmp_path):
    file = tmp_path / "latest.h5"
    for error in (
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Unable to create file\n, errno = 28"),
    ):
        with pytest.raises(OutputError) as caught, replacing(file):
            raise error
        assert str(caught.value).startswith(f"{file}: can't be written (")
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EIO, "a bug")])
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    def main(argv):
        raise error

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(type(error)):
        cli.run(main)


def test_renamed_flags_name_the_new_one(monkeypatch):
    for flag in ("--max_steps_per_image=5", "-max_steps_per_image"):
        monkeypatch.setattr(sys, "argv", ["program", flag])
        with pytest.raises(SystemExit, match="--max_steps_per_image is now --max_obj"):
            cli.run(lambda argv: 0)


def test_only_our_own_messages_are_shown():
    def record(path, level=stdlib_logging.INFO, text="try `verbosity`"):
        return stdlib_logging.LogRecord("absl", level, path, 1, text, None, None)

    package = pathlib.Path(cli.__file__).parent
    assert cli._is_ours(record(str(package / "training" / "train.py")))
    for other in ("/x/tensorflow_datasets/a.py", "/air_tf/.venv/lib/tfds/a.py"):
        assert not cli._is_ours(record(other))
        assert cli._is_ours(record(other, stdlib_logging.ERROR))
    text = cli._Formatter().format(record("a.py", stdlib_logging.WARNING))
    assert text == "WARNING: try --verbosity"


@pytest.mark.parametrize("resumes", [False, True])
def test_the_hint_to_resume(monkeypatch, resumes):
    def main(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, resumes=resumes)
    assert ("to resume" in str(stopped.value)) == resumes
