"""Train policies inside learned worlds.

Importing the package registers its environments with gymnasium (``worldrl/<Task>-v0``). Everything heavy is imported
where it is used.
"""

__version__ = "0.1.0"

from worldrl import envs as envs

__all__ = ["__version__", "envs"]
