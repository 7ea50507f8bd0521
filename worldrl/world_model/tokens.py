"""Recorded episodes as world models learn from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldrl.types import Array


@dataclass(frozen=True)
class Tokens:
    """Recorded episodes as the world model sees them.

    ``obs`` ``(t_i+1, *o)``, ``acts`` ``(t_i, a)`` and ``success`` ``(t_i+1,)`` of each episode, and who acted in it.
    ``visual`` tells how many of the tokens, the last ones, are visual.
    """

    obs: Sequence[Array]
    acts: Sequence[Array]
    success: Sequence[Array]
    policies: Sequence[str]
    visual: int = 0

    def __len__(self) -> int:
        return len(self.acts)

    def subset(self, index: Sequence[int]) -> "Tokens":
        """Return some of the episodes."""
        return Tokens(
            obs=[self.obs[i] for i in index],
            acts=[self.acts[i] for i in index],
            success=[self.success[i] for i in index],
            policies=[self.policies[i] for i in index],
            visual=self.visual,
        )
