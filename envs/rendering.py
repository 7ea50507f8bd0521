"""One fast headless renderer for the whole process.

Software GL spends its time on multisampling, shadows and reflections (300 ms a frame of a mesh scene by default, 14 ms
without them), and several contexts alive in one process were seen to return each other's frames. So there is one GL
context, made when the first frame is asked for; it draws every ``MjModel``/``MjData`` pair of the process.

``MUJOCO_GL`` chooses between ``osmesa`` and ``egl``; unset, the first that works is taken.
"""

import atexit
import ctypes.util
import os
from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.envs.simulator import mujoco
from worldrl.errors import RenderError

BACKENDS = {"osmesa": "libosmesa6", "egl": "libegl1 libgl1-mesa-dri"}
MAX_TARGETS = 8
"""Model families kept ready to draw at a time; the least recently drawn is freed."""


class Renderer:
    """Draws models that differ in state and fields, one after the other, through one GL context.

    Raises:
        RenderError: If no GL library works here.
    """

    def __init__(self) -> None:
        self.backend, self._gl = _make_context()
        self._targets: OrderedDict[tuple[str, int, int], _Target] = OrderedDict()

    def draw(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        *,
        family: str,
        camera: int | mujoco.MjvCamera,
        height: int,
        width: int,
        sites: bool = False,
    ) -> npt.NDArray[np.uint8]:
        """Draw one frame.

        Args:
            model: What is drawn; may differ from others of its family in any field but its meshes and textures.
            data: The state that is drawn.
            family: Names the models that share meshes and textures.
            camera: Index of a camera of the model, or a camera of one's own.
            height: Pixels.
            width: Pixels.
            sites: Whether sites are drawn: where a model marks its goal with one.

        Returns:
            ``(height, width, 3)`` uint8.
        """
        return self._target(model, family, height, width).draw(model, data, camera, sites)

    def segment(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        *,
        family: str,
        camera: int | mujoco.MjvCamera,
        height: int,
        width: int,
        sites: bool = False,
    ) -> npt.NDArray[np.int32]:
        """Draw what is seen where: ``(height, width)`` int32 geom ids, -1 where there is none.

        With ``sites``, site ``i`` is drawn too and has the id ``model.ngeom + i``.
        """
        return self._target(model, family, height, width).segment(model, data, camera, sites)

    def measure(
        self, model: mujoco.MjModel, data: mujoco.MjData, *, family: str, camera: int, height: int, width: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Draw one frame and its depth: ``(height, width, 3)`` uint8, ``(height, width)`` float32.

        Depth is metres along the optical axis, at most the far plane of the model.
        """
        return self._target(model, family, height, width).measure(model, data, camera)

    def close(self) -> None:
        """Free everything; drawing again is an error."""
        while self._targets:
            self._targets.popitem()[1].context.free()
        self._gl.free()

    def _target(self, model: mujoco.MjModel, family: str, height: int, width: int) -> "_Target":
        key = (family, height, width)
        self._gl.make_current()
        if key not in self._targets:
            while len(self._targets) >= MAX_TARGETS:
                self._targets.popitem(last=False)[1].context.free()
            self._targets[key] = _Target(model, height, width)
        self._targets.move_to_end(key)
        return self._targets[key]


class _Target:
    """The scene, buffers and pixels of one model family at one size."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 0
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        self._scene = mujoco.MjvScene(model, maxgeom=max(500, 2 * model.ngeom))
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    def draw(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: int | mujoco.MjvCamera, sites: bool
    ) -> npt.NDArray[np.uint8]:
        self._render(model, data, camera, sites=sites, segmented=False)
        return np.ascontiguousarray(self._pixels[::-1])

    def segment(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: int | mujoco.MjvCamera, sites: bool
    ) -> npt.NDArray[np.int32]:
        self._render(model, data, camera, sites=sites, segmented=True)
        colours = self._pixels[::-1].astype(np.int32)
        index = colours[..., 0] + (colours[..., 1] << 8) + (colours[..., 2] << 16)
        ids = np.full(self._scene.ngeom + 1, -1, np.int32)
        first = {mujoco.mjtObj.mjOBJ_GEOM.value: 0, mujoco.mjtObj.mjOBJ_SITE.value: model.ngeom}
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.segid >= 0 and shape.objtype in first:
                ids[shape.segid + 1] = first[shape.objtype] + shape.objid
        return np.asarray(ids[index])

    def measure(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        near, far = (model.stat.extent * plane for plane in (model.vis.map.znear, model.vis.map.zfar))
        buffer = np.empty(self._pixels.shape[:2], np.float32)
        # Zero far away: float32 is finest near zero, and far things crowd at one end of the buffer.
        self.context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self._render(model, data, camera, sites=False, segmented=False, depth=buffer)
        metres = near / (buffer * (1.0 - near / far) + near / far)
        return np.ascontiguousarray(self._pixels[::-1]), np.ascontiguousarray(metres[::-1], np.float32)

    def _render(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: int | mujoco.MjvCamera,
        *,
        sites: bool,
        segmented: bool,
        depth: npt.NDArray[np.float32] | None = None,
    ) -> None:
        view = camera if isinstance(camera, mujoco.MjvCamera) else self._camera
        if view is self._camera:
            self._camera.fixedcamid = camera
        self._option.sitegroup[:] = sites
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self.context)
        mujoco.mjv_updateScene(model, data, self._option, None, view, everything, self._scene)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segmented
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segmented
        mujoco.mjr_render(self._rect, self._scene, self.context)
        mujoco.mjr_readPixels(self._pixels, depth, self._rect, self.context)


_SHARED: list[Renderer] = []


def shared_renderer() -> Renderer:
    """Return the one renderer of this process, made at the first call.

    Raises:
        RenderError: If no GL library works here.
    """
    if not _SHARED:
        _SHARED.append(Renderer())
        # Only now: MuJoCo shuts EGL down at exit too, and what is registered last runs first.
        atexit.register(close_shared_renderer)
    return _SHARED[0]


def close_shared_renderer() -> None:
    """Free the renderer of this process; the next ``shared_renderer`` makes a new one."""
    while _SHARED:
        _SHARED.pop().close()


def _make_context() -> tuple[str, Any]:
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    if wanted and wanted not in BACKENDS:
        raise RenderError(f"MUJOCO_GL must be one of {', '.join(BACKENDS)} or unset, got '{wanted}'.")
    failures = []
    for name in [wanted] if wanted else BACKENDS:
        try:
            return name, _context(name)
        # PyOpenGL answers a missing library with whatever comes first: ImportError, AttributeError, TypeError, its own.
        except Exception as error:
            failures.append(f"{name}: {error}")
    raise RenderError(f"no GL library works here ({'; '.join(failures)}): install {BACKENDS[wanted or 'osmesa']}.")


def _context(name: str) -> Any:
    """Make a GL context of one kind and make it current."""
    if name == "osmesa":
        if ctypes.util.find_library("OSMesa") is None:
            raise ImportError("libOSMesa is not installed")
        from mujoco.osmesa import GLContext
    else:
        from mujoco.egl import GLContext
    context = GLContext(16, 16)
    context.make_current()
    return context
