"""Runs the programs in `scripts/`, each in a process of its own.

Importing TensorFlow takes most of the time of a short program. Here one process has
imported it and what programs use, and a fork of that process runs the program, as
`python PROGRAM.py` would: with its own arguments, folder, output, errors and exit
status.
"""

import atexit
import gc
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import threading

# After which a program is killed, in seconds.
_LIMIT = 300
_SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts"


class Programs:
    """The process that forks, from `with` to its end."""

    def __enter__(self):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_):
        self._server.stdin.close()
        self._server.wait()

    def run(self, program, *flags, cwd, environment=None, pid_file=None):
        """A `subprocess.CompletedProcess`, with what it wrote as text.

        Args:
          program: its name in `scripts/`.
          *flags: its arguments.
          cwd: folder that it runs in.
          environment: variables of its own.
          pid_file: where its process leaves its number, for those who want to end it.
        """
        command = [str(_SCRIPTS / f"{program}.py"), *map(str, flags)]
        with tempfile.TemporaryDirectory() as folder:
            files = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
            job = {
                "command": command,
                "cwd": str(cwd),
                "files": [*map(str, files)],
                "environment": environment or {},
                "pid_file": str(pid_file or os.devnull),
            }
            print(json.dumps(job), file=self._server.stdin, flush=True)
            status = self._server.stdout.readline()
            written = [file.read_text("utf-8") for file in files]
        return subprocess.CompletedProcess(command, int(status), *written)


def crash(*_):
    """In place of what a process is to do; here, because it need not import more."""
    os.abort()


def _serve():
    # Imports nearly all. It computes nothing: a fork can't use TensorFlow's threads.
    import air_tf.training.train  # noqa: F401

    # A fork that ends looks through all objects, and so would copy all memory.
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        number = os.fork()
        if not number:
            _become(job)
            return
        _, status = os.waitpid(number, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(job):
    signal.alarm(_LIMIT)
    for descriptor, file in enumerate([os.devnull, *job["files"]]):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
    os.chdir(job["cwd"])
    os.environ.update(job["environment"])
    pathlib.Path(job["pid_file"]).write_text(str(os.getpid()))
    sys.argv = job["command"]
    sys.path[0] = str(_SCRIPTS)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            raise
    # To take TensorFlow apart takes longer than a short program does. Meanwhile, a
    # worker waits for the others.
    if "TF_CONFIG" not in os.environ and threading.active_count() == 1:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    _serve()
