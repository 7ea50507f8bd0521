"""A small finished run that comes with the package, so that there is a world to step, play and refine in at once.

``reach``: what ``worldrl demo encoder=none`` leaves (task ``worldrl/Reach-v0``, tokens of mask geometry, masks:
simulator): observation pipeline, cloned and refined policy, world, figures, and a few of its recorded episodes.
"""

from importlib.resources import files
from pathlib import Path

from worldrl.errors import ConfigError, StorageError

SHIPPED = ("reach",)


def shipped(name: str = "reach") -> Path:
    """Return the folder of a run that comes with the package; it is only to be read.

    Its parts are ``world``, ``clone``, ``refined``, ``observation`` and ``episodes``.

    Raises:
        ConfigError: If there is none of that name.
        StorageError: If the package is not installed as files, as in a zip archive.
    """
    if name not in SHIPPED:
        raise ConfigError(f"name must be one of {', '.join(SHIPPED)}, got '{name}'.")
    folder = Path(str(files("worldrl.shipped"))) / name
    if not folder.is_dir():
        raise StorageError(f"{folder} is not there: install worldrl as files, not in an archive.")
    return folder
