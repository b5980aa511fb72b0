"""Scenes drawn by MuJoCo. Nothing here needs TensorFlow."""

import contextlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any

import numpy as np

from air_tf.config.tabletop import Tabletop
from air_tf.errors import InputError, RendererError
from air_tf.renderers.messages import receive, send

_Message = dict[str, np.ndarray]
# Of pictures in an answer.
_MAX_BYTES = 2**26
_OPENGL = ("egl", "osmesa")


class MuJoCo:
    """Draws whole scenes, in a process of its own.

    MuJoCo and TensorFlow don't get along in one process: Mesa, which draws where there
    is no graphics card, and TensorFlow both bring an LLVM. The environment variable
    MUJOCO_GL chooses the library for OpenGL: egl, osmesa or glfw. By default, it is the
    first of EGL and OSMesa that works.

    Args:
      tabletop: camera, light, table and kinds.
      size: (H, W) of a picture.
      max_objects: T, most objects on the table.

    Raises:
      InputError: if MuJoCo or OpenGL is missing, or the file of a kind can't be read.
      RendererError: if the process ends.
    """

    def __init__(self, tabletop: Tabletop, size: tuple[int, int], *, max_objects: int):
        if importlib.util.find_spec("mujoco") is None:
            raise InputError(
                "MuJoCo is not installed; expected pip install 'air_tf[render]'"
            )
        self._size, self._max_objects = size, max_objects
        self._settings = {
            "tabletop": tabletop.to_dict(),
            "size": size,
            "num_slots": max_objects,
        }
        self._lock = threading.Lock()
        self._process = self._start()

    def __enter__(self) -> "MuJoCo":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def render(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray
    ) -> np.ndarray:
        """Draws N scenes of up to T objects.

        Args:
          kinds: [N, T] int, indices of kinds; -1 where there is no object.
          positions: [N, T, 2], (x, y) on the table.
          yaws: [N, T], radians.

        Returns:
          [N, H, W, 3] uint8.

        Raises:
          RendererError: if the process ends.
        """
        return self._draw(kinds, positions, yaws, segment=False)

    def segment(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray
    ) -> np.ndarray:
        """Says which object is seen in each pixel of N scenes.

        Args:
          kinds: as for `render`, and so on.

        Returns:
          [N, H, W] uint8: 0 for the table, t + 1 for object t.

        Raises:
          RendererError: if the process ends.
        """
        return self._draw(kinds, positions, yaws, segment=True)[..., 0]

    def close(self) -> None:
        """Ends the process."""
        _end(self._process)

    def _draw(
        self,
        kinds: np.ndarray,
        positions: np.ndarray,
        yaws: np.ndarray,
        *,
        segment: bool,
    ) -> np.ndarray:
        """[N, H, W, channels]."""
        height, width = self._size
        channels = 1 if segment else 3
        found = np.empty((len(kinds), height, width, channels), np.uint8)
        step = max(1, _MAX_BYTES // (height * width * channels))
        for start in range(0, len(kinds), step):
            some = slice(start, start + step)
            answer = self._request(
                {
                    "kinds": np.asarray(kinds[some], np.int32),
                    "positions": np.asarray(positions[some], np.float64),
                    "yaws": np.asarray(yaws[some], np.float64),
                    "segment": np.array(segment),
                }
            )
            found[some] = answer["pictures"].reshape(-1, height, width, channels)
        return found

    def _request(self, request: _Message) -> _Message:
        """Asks the process; starts another one, once, if it has ended."""
        with self._lock:
            answer = _ask(self._process, request)
            if answer is None:
                _end(self._process)
                self._process = self._start()
                answer = _ask(self._process, request)
        if answer is None:
            raise RendererError("The process that draws with MuJoCo ended, twice")
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        given = os.environ.get("MUJOCO_GL", "").lower()
        reasons = []
        for opengl in (given,) if given in (*_OPENGL, "glfw") else _OPENGL:
            process = subprocess.Popen(
                [sys.executable, "-m", "air_tf.renderers.mujoco_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
            )
            settings = json.dumps({**self._settings, "opengl": opengl}).encode()
            answer = _ask(process, {"settings": np.frombuffer(settings, np.uint8)})
            if answer == {}:
                return process
            _end(process)
            if answer is None:
                reasons.append(f"{opengl}: the process ended")
            elif "wrong_input" in answer:
                raise InputError(str(answer["wrong_input"]))
            else:
                reasons.append(f"{opengl}: {answer['no_opengl']}")
        raise InputError(
            f"OpenGL does not work ({'; '.join(reasons)}); expected EGL or OSMesa, on "
            "Debian: apt-get install libegl1 libgl1-mesa-dri, or libosmesa6"
        )


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    # MuJoCo would import the library when it is imported itself.
    environment["MUJOCO_GL"] = "disable"
    environment.pop("PYOPENGL_PLATFORM", None)
    # Mesa's threads wait for each other at every picture, which takes longer than a
    # small picture itself.
    environment.setdefault("LP_NUM_THREADS", "0")
    # The package that runs here, wherever that was found.
    package = str(pathlib.Path(__file__).resolve().parents[2])
    paths = [package, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    # Not the modules that happen to lie in the current folder.
    environment["PYTHONSAFEPATH"] = "1"
    return environment


def _ask(process: "subprocess.Popen[Any]", request: _Message) -> _Message | None:
    """The answer of a process; None if it has ended."""
    assert process.stdin is not None and process.stdout is not None
    try:
        send(process.stdin, request)
        return receive(process.stdout)
    except OSError:
        return None


def _end(process: "subprocess.Popen[Any]") -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        # What was still to be written to a process that has ended.
        with contextlib.suppress(OSError):
            pipe.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
