"""Several MuJoCo environments as one gymnasium vector environment, in one process that draws with one renderer."""

from functools import partial
from typing import Any

from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from worldrl.errors import ConfigError


class RealVectorEnv(SyncVectorEnv[Any, Any]):
    """Step environments of one kind in turn; an ended episode starts anew within the step, as imagined ones do.

    ``envs`` holds the single environments, whose ``state()``, ``labels()`` and ``restore()`` stay within reach.

    Args:
        entry_point: Where the environment is, as ``"module:Class"``.
        num_envs: How many.
        autoreset_mode: When an ended episode starts anew; gymnasium's three.
        **kwargs: Handed to each environment.

    Raises:
        ConfigError: If there is not at least one environment.
    """

    def __init__(
        self,
        entry_point: str,
        *,
        num_envs: int,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **kwargs: Any,
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs must be at least 1, got {num_envs}.")
        create: Any = load_env_creator(entry_point)
        super().__init__([partial(create, **kwargs)] * num_envs, autoreset_mode=autoreset_mode)


ReachEnvBatch = partial(RealVectorEnv, "worldrl.envs.reach:ReachEnv")
PushEnvBatch = partial(RealVectorEnv, "worldrl.envs.push:PushEnv")
PressButtonEnvBatch = partial(RealVectorEnv, "worldrl.envs.press_button:PressButtonEnv")
OpenDrawerEnvBatch = partial(RealVectorEnv, "worldrl.envs.drawer:OpenDrawerEnv")
CloseDrawerEnvBatch = partial(RealVectorEnv, "worldrl.envs.drawer:CloseDrawerEnv")
PickPlaceEnvBatch = partial(RealVectorEnv, "worldrl.envs.pick_place:PickPlaceEnv")
TouchEnvBatch = partial(RealVectorEnv, "worldrl.envs.touch:TouchEnv")
MetaWorldEnvBatch = partial(RealVectorEnv, "worldrl.envs.metaworld:MetaWorldEnv")
MinAtarEnvBatch = partial(RealVectorEnv, "worldrl.envs.minatar:MinAtarEnv")
PixelEnvBatch = partial(RealVectorEnv, "worldrl.envs.pixels:PixelEnv")
