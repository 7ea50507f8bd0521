"""Train policies inside learned worlds.

Importing the package registers its environments with gymnasium (``worldrl/<Task>-v0``). Everything heavy is imported
where it is used.
"""

__version__ = "0.1.0"

import worldrl.envs as envs  # noqa: E402  registers the environments

__all__ = ["__version__", "envs"]
