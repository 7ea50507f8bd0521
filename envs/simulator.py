"""MuJoCo, imported so that a GL library which is unknown or missing is an error of ours and not a traceback of its.

``import mujoco`` already loads the library that ``MUJOCO_GL`` asks for.
"""

import os

from worldrl.errors import RenderError

try:
    import mujoco as mujoco
except Exception as error:  # whatever PyOpenGL answers a missing library with
    if not os.environ.get("MUJOCO_GL"):
        raise
    raise RenderError(
        f"MuJoCo cannot be imported with MUJOCO_GL={os.environ['MUJOCO_GL']} ({error}): unset it, or set it to osmesa "
        "or egl and install libosmesa6 or libegl1."
    ) from error
