"""What a network must be able to do to denoise."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class DenoiserNet(nn.Module, ABC):
    """Predict ``F`` of the EDM preconditioning for the next observation.

    Most of what a network is shown, past and actions, is the same for every noise level of one step: it looks at that
    once, and answers for one level after the other.
    """

    def forward(self, x: Tensor, c_noise: Tensor, history: Tensor, codes: Tensor) -> Tensor:
        """Return ``F``.

        Args:
            x: The noisy next observations ``(b, *o)``, already times ``c_in``.
            c_noise: Their noise levels ``(b,)`` as the network sees them, or one ``(1,)`` for all.
            history: Past observations ``(b, t, *o)``, newest last.
            codes: Action codes ``(b, t, c)``, that of the action to be taken last.
        """
        return self.answer(x, c_noise, self.look(history, codes))

    @abstractmethod
    def look(self, history: Tensor, codes: Tensor) -> Any:
        """Return what of the answer depends on past and actions alone."""

    @abstractmethod
    def answer(self, x: Tensor, c_noise: Tensor, seen: Any) -> Tensor:
        """Return ``F``, given what ``look`` returned."""
