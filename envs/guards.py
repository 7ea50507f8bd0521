"""What keeps an imagined environment from paying for what is not so: five switches, each on its own."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.errors import ConfigError
from worldrl.types import Array


def _switch(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Guards:
    """Which of a world model's witnesses are listened to.

    Without ``mask`` an episode goes on after its first success, and what follows may be paid again.

    Raises:
        ConfigError: If the penalty is negative.

    Source: World4RL (arXiv 2509.19080) has none of them but the end at success; halting and penalties are those of
    MOReL (arXiv 2005.05951) and MOPO (arXiv 2005.13239); audit and support are our choice.
    """

    halt: bool = _switch(True, "end an episode without reward where the ensemble disagrees beyond its threshold")
    audit: bool = _switch(False, "count a success only where the second classifier, fitted to other episodes, agrees")
    support: bool = _switch(False, "end an episode without reward further from the recorded data than its threshold")
    penalty: float = _switch(0.0, "taken off the reward for a threshold's worth of disagreement")
    mask: bool = _switch(True, "end an episode at its first success")

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise ConfigError(f"penalty must not be negative, got {self.penalty}.")

    def judge(self, figures: Array, stepped: npt.NDArray[np.bool_], *, threshold: float) -> dict[str, Array]:
        """Return the facts ``(n,)`` of a step, zero where none was taken.

        Args:
            figures: Success, disagreement, agreement and departure ``(4, n)``.
            stepped: Which environments took a step ``(n,)``.
            threshold: Probability from which something counts as a success.
        """
        success, disagreement, agreed, departure = figures
        halted = ((disagreement > 1.0) & self.halt) | ((departure > 1.0) & self.support)
        solved = (success >= threshold) & ~halted & stepped
        if self.audit:
            solved = solved & (agreed > 0.5)
        return {
            "success": solved,
            "halted": halted,
            "agreed": agreed > 0.5,
            "disagreement": disagreement,
            "departure": departure,
            "success_probability": success,
        }

    def reward(self, facts: dict[str, Array]) -> npt.NDArray[np.float64]:
        """Return the rewards ``(n,)``: one for success, less the penalty."""
        rew = facts["success"].astype(np.float64)
        return rew - self.penalty * np.clip(facts["disagreement"], 0.0, 1.0) if self.penalty else rew
