"""Memory that is freed and wanted again at once."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names for what is given back to the system, and for what is asked of it block by block."""
BLOCK, FREE = 32 * 2**20, 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MB of what it frees, and return whether its C library can do that.

    A step of imagination allocates tensors of some megabytes and frees them again. By default glibc gives each back to
    the system, which clears it page by page for the next step: a quarter of the time of a step of the default model.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries of Linux have none
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, BLOCK)) and bool(mallopt(M_TRIM_THRESHOLD, FREE))
