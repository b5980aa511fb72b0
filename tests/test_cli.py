import errno
import sys

import pytest

from air_tf import cli
from air_tf.errors import InputError


@pytest.mark.parametrize(
    "raised, message",
    [
        (InputError("verbosity is 9"), "error: --verbosity is 9"),
        (InputError("x.npz: no such file"), "error: x.npz: no such file"),
        (
            OSError(errno.ENOSPC, "No space left on device", "run/latest.h5"),
            "error: run/latest.h5: No space left on device",
        ),
        (OSError("Unable to create file\n, errno = 28"), "error: Unable to create"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_what_users_can_put_right_is_one_line(monkeypatch, raised, message):
    def main(argv):
        raise raised

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(main)
    # sys.exit prints a text and ends with 1.
    assert str(stopped.value).startswith(message)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("resumes", [False, True])
def test_only_what_resumes_says_that_it_will(monkeypatch, resumes):
    def main(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, resumes=resumes)
    assert ("goes on where it was" in str(stopped.value)) == resumes


def test_a_bug_keeps_its_traceback(monkeypatch):
    def main(argv):
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(ZeroDivisionError):
        cli.run(main)
