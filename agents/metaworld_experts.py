"""Meta-World's own scripted policies as experts: they read the simulator, as every expert here does."""

import warnings
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


def metaworld_script(env: Any) -> npt.NDArray[np.float32]:
    """Return the action ``(4,)`` of the policy that Meta-World ships for the task.

    Args:
        env: A ``MetaWorldEnv``; its ``task`` chooses the policy and its ``vector()`` is what the policy sees.
    """
    with warnings.catch_warnings():
        # The policies ask for more than a full action and say so at every step; it is clipped below.
        warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")
        act = _policy(env.task).get_action(env.vector())
    return np.clip(np.asarray(act, np.float32), -1.0, 1.0)


@cache
def _policy(task: str) -> Any:
    from metaworld import policies

    known: dict[str, Any] = policies.ENV_POLICY_MAP
    return known[f"{task}-v3"]()
