"""Goals as text: a sentence that nobody described anything with is read as the states that it may mean.

A simulator describes every frame with statements ("the drawer is closed"), each state in a few wordings. A goal is
told in other words and in another mood ("shut the drawer", "push the drawer in"). What links the two is a frozen
encoder of sentences and the knowledge of which statements are wordings of one state. Sentences about one thing are all
alike to such an encoder, whatever they say of it, opposites more than most; so similarity is not the product of two
vectors but what a ridge regression makes of it, which learns from the wordings alone in which directions states differ
(our design).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot

from worldrl.errors import ConfigError
from worldrl.scene import check_names

PENALTY = 0.1
"""Of the regression, in units of the mean squared length of a centred vector (our choice: of 21 goals for a drawer, 20
are read as meant with 0.03, 0.1 and 0.3)."""
SHARPNESS = 10.0
"""Factor of the regression's scores, which reach from about 0 to 1, in the softmax over states (our choice)."""


@dataclass(frozen=True)
class Descriptions:
    """What states are called.

    Attributes:
        wordings: The statements that say so, of each state by its name.

    Raises:
        ConfigError: If there are fewer than two states, one has no statement, or two statements are the same.
    """

    wordings: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        if len(self.wordings) < 2 or not all(self.wordings.values()):
            raise ConfigError(f"descriptions must be of at least 2 states, each with a statement, got {self.wordings}.")
        check_names(self.sentences)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the ``k`` states."""
        return tuple(self.wordings)

    @property
    def sentences(self) -> list[str]:
        """All ``s`` statements, state by state."""
        return [sentence for wordings in self.wordings.values() for sentence in wordings]

    @property
    def owners(self) -> Tensor:
        """Which state each statement says ``(s,)`` int64."""
        counts = torch.tensor([len(wordings) for wordings in self.wordings.values()])
        return torch.arange(len(counts)).repeat_interleave(counts)

    def spread(self, holds: Bool[Tensor, "n k"]) -> Bool[Tensor, "n s"]:
        """Return which statements hold where these states do."""
        return holds[:, self.owners]


class GoalReader:
    """Read sentences as states.

    Args:
        encode: Texts to vectors ``(b, e)``; ``worldrl.encoders.FrozenTextEncoder`` is such a function.
        descriptions: What states are called.

    Attributes:
        descriptions: The same.
        texts: Vectors of all statements ``(s, e)``, centred and of mean length one.
        states: Their mean over the wordings of each state ``(k, e)``.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], descriptions: Descriptions) -> None:
        self.encode, self.descriptions = encode, descriptions
        raw = encode(descriptions.sentences)
        self._mean = raw.mean(dim=0)
        self._length = (raw - self._mean).norm(dim=1).mean()
        self.texts = self._centred(raw)
        kinds = one_hot(descriptions.owners).float()
        self.states = kinds.T @ self.texts / kinds.sum(dim=0)[:, None]
        self._prior = kinds.mean(dim=0)
        kernel = self.texts @ self.texts.T
        ridge = PENALTY * kernel.diagonal().mean() * torch.eye(len(kernel))
        self._solution = torch.linalg.solve(kernel + ridge, kinds - self._prior)

    def scores(self, goals: Sequence[str]) -> Float[Tensor, "b k"]:
        """Return how much each sentence says each state: about 1 for a wording of it, about 0 for others."""
        vectors = self._centred(self.encode(goals))
        scores: Tensor = vectors @ self.texts.T @ self._solution + self._prior
        return scores

    def shares(self, goal: str) -> Float[Tensor, " k"]:
        """Return how likely it is that each state is meant; sums to one.

        Raises:
            ConfigError: If there is no text.
        """
        if not goal.strip():
            raise ConfigError("text must say what is to be, such as 'close the drawer', got none.")
        return (SHARPNESS * self.scores([goal])[0]).softmax(dim=0)

    def told(self, goal: str) -> str:
        """Return in words as what a goal is read: ``closed 0.97, open 0.02``."""
        shares = self.shares(goal)
        best = shares.argsort(descending=True)[:2].tolist()
        return ", ".join(f"{self.descriptions.states[i]} {float(shares[i]):.2f}" for i in best)

    def _centred(self, vectors: Tensor) -> Tensor:
        centred: Tensor = (vectors - self._mean) / self._length
        return centred
