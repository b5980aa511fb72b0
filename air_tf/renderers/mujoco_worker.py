"""Draws scenes with MuJoCo in a process of its own, see `mujoco_process`.

Reads requests from the standard input and writes answers to the standard output until
the input ends. Nothing here needs TensorFlow, which must not be in this process: the
LLVM in it and that in Mesa's software renderer don't get along.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from typing import IO, Any

import mujoco
import numpy as np

from air_tf.config.tabletop import Tabletop
from air_tf.errors import InputError
from air_tf.renderers.messages import receive, send
from air_tf.renderers.mujoco_scene import CAMERA, body_name, compile_scene

# Pictures are drawn side by side, and read together.
_BUFFER_SIDE = 1024
# Pictures are drawn larger by this factor: the samples of a pixel are too few for
# objects of a few pixels.
_FINER = 2
# A group of geoms that MuJoCo does not draw.
_HIDDEN = 5


class NoOpenGL(Exception):
    """A library for OpenGL is missing or does not work."""


class Worker:
    """Draws scenes.

    Args:
      tabletop: camera, light, table and kinds.
      size: (H, W) of a picture.
      num_slots: T, most objects on the table.
      opengl: name of the library, "egl", "osmesa" or "glfw".

    Raises:
      InputError: if the file of a kind can't be read.
      NoOpenGL: if the library does not work.
    """

    def __init__(
        self,
        tabletop: Tabletop,
        *,
        size: tuple[int, int],
        num_slots: int,
        opengl: str,
    ):
        self._size = size
        drawn = tuple(_FINER * side for side in size)
        self._tiles = tuple(max(1, _BUFFER_SIDE // side) for side in drawn)
        height, width = (n * side for n, side in zip(self._tiles, drawn, strict=True))
        self._model = model = compile_scene(
            tabletop, num_slots=num_slots, buffer_size=(height, width)
        )
        self._data = mujoco.MjData(model)
        self._opengl, self._context = _open(opengl, model, (height, width))
        self._scene = mujoco.MjvScene(model, maxgeom=2 * model.ngeom + 100)
        flag = mujoco.mjtRndFlag
        for name in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
            self._scene.flags[getattr(flag, f"mjRND_{name}")] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(CAMERA).id
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        bodies = [
            [model.body(body_name(kind, slot)).id for kind in tabletop.kinds]
            for slot in range(num_slots)
        ]
        self._mocap = model.body_mocapid[np.array(bodies)]  # [T, K]
        self._group = model.geom_group.copy()
        body_of_geom = model.body_rootid[model.geom_bodyid]
        self._geoms = [[body_of_geom == body for body in row] for row in bodies]
        self._is_table = body_of_geom == 0

    def draw(
        self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray, segment: bool
    ) -> np.ndarray:
        """Draws N scenes.

        Args:
          kinds: [N, T] int, -1 where there is no object.
          positions: [N, T, 2].
          yaws: [N, T].
          segment: whether to return what is seen of each object.

        Returns:
          Pictures [N, H, W, 3] uint8; or [N, H, W] uint8, 0 for the table and t + 1
          for the object in slot t.
        """
        # Numbers of slots have no mean.
        finer = 1 if segment else _FINER
        height, width = (finer * side for side in self._size)
        rows, columns = self._tiles
        for flag in ("SEGMENT", "IDCOLOR"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = segment
        pictures = np.empty((len(kinds), *self._size, 3), np.uint8)
        for start in range(0, len(kinds), rows * columns):
            stop = min(start + rows * columns, len(kinds))
            for index in range(start, stop):
                row, column = divmod(index - start, columns)
                self._place(kinds[index], positions[index], yaws[index])
                if segment:
                    self._mark(kinds[index])
                place = mujoco.MjrRect(column * width, row * height, width, height)
                mujoco.mjr_render(place, self._scene, self._context)
            pictures[start:stop] = self._read(stop - start, height, width)
        return pictures[..., 0] if segment else pictures

    def _place(self, kinds: np.ndarray, positions: np.ndarray, yaws: np.ndarray):
        data, groups = self._data, self._model.geom_group
        groups[:] = np.where(self._is_table, self._group, _HIDDEN)
        for slot, kind in enumerate(kinds):
            if kind >= 0:
                geoms, body = self._geoms[slot][kind], self._mocap[slot, kind]
                groups[geoms] = self._group[geoms]
                data.mocap_pos[body] = (*positions[slot], 0.0)
                half = yaws[slot] / 2
                data.mocap_quat[body] = (np.cos(half), 0.0, 0.0, np.sin(half))
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            self._perturb,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )

    def _read(self, num: int, height: int, width: int) -> np.ndarray:
        """The first pictures of the buffer, which are drawn in this size."""
        columns = self._tiles[1]
        rows = -(-num // columns)
        buffer = np.empty((rows * height, columns * width, 3), np.uint8)
        area = mujoco.MjrRect(0, 0, columns * width, rows * height)
        mujoco.mjr_readPixels(buffer, None, area, self._context)
        tiles = buffer.reshape(rows, height, columns, width, 3).swapaxes(1, 2)
        # OpenGL's first row is the lowest one.
        tiles = tiles.reshape(-1, height, width, 3)[:num, ::-1]
        finer = height // self._size[0]
        if finer == 1:
            return tiles
        cells = tiles.reshape(num, height // finer, finer, width // finer, finer, 3)
        return np.rint(cells.mean(axis=(2, 4))).astype(np.uint8)

    def _mark(self, kinds: np.ndarray) -> None:
        """Lets each geom have the number of its slot, + 1, instead of a colour."""
        for index in range(self._scene.ngeom):
            geom = self._scene.geoms[index]
            for slot, kind in enumerate(kinds):
                if kind >= 0 and self._geoms[slot][kind][geom.objid]:
                    geom.segid = slot
            if self._is_table[geom.objid]:
                geom.segid = -1


def _open(opengl: str, model: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    """Contexts of OpenGL and MuJoCo for drawing into memory, size (height, width)."""
    height, width = size
    try:
        library = importlib.import_module(f"mujoco.{opengl}")
        current = library.GLContext(width, height)
        current.make_current()
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    # PyOpenGL raises whatever comes of a function that it has not found.
    except Exception as error:
        raise NoOpenGL(" ".join(str(error).split())) from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    return current, context


def main() -> None:
    """Answers requests until the input ends."""
    # Whoever started this process decides when it ends, also after Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What MuJoCo prints is no answer.
    requests = sys.stdin.buffer
    with contextlib.suppress(BrokenPipeError):
        _serve(requests, answers)
    # OpenGL's own end of a process prints errors.
    os._exit(0)


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    first = receive(requests)
    if first is None:
        return
    settings = json.loads(first["settings"].tobytes())
    try:
        worker = Worker(
            Tabletop.from_dict(settings.pop("tabletop")),
            size=tuple(settings.pop("size")),
            **settings,
        )
    except InputError as error:
        send(answers, {"wrong_input": np.array(str(error))})
        return
    except NoOpenGL as error:
        send(answers, {"no_opengl": np.array(str(error))})
        return
    send(answers, {})
    while (request := receive(requests)) is not None:
        segment = bool(request.pop("segment"))
        send(answers, {"pictures": worker.draw(**request, segment=segment)})


if __name__ == "__main__":
    main()
