"""Names under which gymnasium finds the environments; each is imported when it is made."""

import os
from importlib import import_module

import gymnasium as gym

from worldrl.errors import ConfigError

FURTHER = "WORLDRL_ENVS"
"""Environment variable: modules, with commas between them, that register environments of the user's own.

Every process that a command starts inherits it. Names in files are never imported.
"""
TABLETOP = {
    "Reach": "reach:ReachEnv",
    "Push": "push:PushEnv",
    "PressButton": "press_button:PressButtonEnv",
    "OpenDrawer": "drawer:OpenDrawerEnv",
    "CloseDrawer": "drawer:CloseDrawerEnv",
    "PickPlace": "pick_place:PickPlaceEnv",
    "Touch": "touch:TouchEnv",
}
"""Name of a table-top task to its module in ``worldrl.envs`` and its class."""

METAWORLD = (
    "assembly",
    "basketball",
    "bin-picking",
    "box-close",
    "button-press",
    "button-press-topdown",
    "button-press-topdown-wall",
    "button-press-wall",
    "coffee-button",
    "coffee-pull",
    "coffee-push",
    "dial-turn",
    "disassemble",
    "door-close",
    "door-lock",
    "door-open",
    "door-unlock",
    "drawer-close",
    "drawer-open",
    "faucet-close",
    "faucet-open",
    "hammer",
    "hand-insert",
    "handle-press",
    "handle-press-side",
    "handle-pull",
    "handle-pull-side",
    "lever-pull",
    "peg-insert-side",
    "peg-unplug-side",
    "pick-out-of-hole",
    "pick-place",
    "pick-place-wall",
    "plate-slide",
    "plate-slide-back",
    "plate-slide-back-side",
    "plate-slide-side",
    "push",
    "push-back",
    "push-wall",
    "reach",
    "reach-wall",
    "shelf-place",
    "soccer",
    "stick-pull",
    "stick-push",
    "sweep",
    "sweep-into",
    "window-close",
    "window-open",
)
"""The fifty tasks of Meta-World."""


def register_all() -> None:
    """Tell gymnasium every environment of this package; a second call changes nothing.

    ``worldrl/<Task>-v0`` for the table-top tasks, ``worldrl/MetaWorld-<task>-v0``, ``worldrl/Pixels-v0`` for another
    MuJoCo environment (``env="Pusher-v5"``), ``worldrl/MinAtar-v0`` for a small discrete game (``game="breakout"``) and
    ``worldrl/Imagined-v0``. All truncate themselves, so no time limit is wrapped round them.
    """
    for name, entry in TABLETOP.items():
        _register(name, f"worldrl.envs.{entry}", f"worldrl.envs.batch:{entry.partition(':')[2]}Batch")
    for task in METAWORLD:
        entry, batch = "worldrl.envs.metaworld:MetaWorldEnv", "worldrl.envs.batch:MetaWorldEnvBatch"
        _register(f"MetaWorld-{task}", entry, batch, task=task)
    _register("Pixels", "worldrl.envs.pixels:PixelEnv", "worldrl.envs.batch:PixelEnvBatch")
    _register("MinAtar", "worldrl.envs.minatar:MinAtarEnv", "worldrl.envs.batch:MinAtarEnvBatch")
    _register("Imagined", "worldrl.recipes.imagined:make_env", "worldrl.recipes.imagined:make_vec")


def import_further() -> None:
    """Import the modules that ``WORLDRL_ENVS`` names; a second call changes nothing.

    Raises:
        ConfigError: If one of them cannot be imported.
    """
    for name in filter(None, (one.strip() for one in os.environ.get(FURTHER, "").split(","))):
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(f"{FURTHER} must name modules that can be imported, got '{name}': {error}.") from error


def _register(name: str, entry: str, batch: str, **kwargs: str) -> None:
    name = f"worldrl/{name}-v0"
    if name not in gym.registry:
        gym.register(name, entry_point=entry, vector_entry_point=batch, kwargs=kwargs)
