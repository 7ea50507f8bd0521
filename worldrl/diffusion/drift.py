"""What of the next observation a linear model explains already, so that diffusion can spend itself on the rest."""

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn


class LinearDrift(nn.Module):
    """Predict the change of each token linearly from its own past, the hand's past and the actions.

    A hand that follows commands is nearly linear, and a ridge regression finds that in a second where a network needs
    thousands of updates. What remains (contact, occlusion, success) is denoised in the unit of what remains. Fitted in
    closed form, then fixed (our choice; not in World4RL or DIAMOND).

    Args:
        obs_shape: ``(k, d)``; token 0 is proprioception.
        history: Past observations ``t``.
        code_dim: Numbers of the action code of one step.
    """

    weight: Tensor
    centre: Tensor

    def __init__(self, *, obs_shape: tuple[int, int], history: int, code_dim: int) -> None:
        super().__init__()
        tokens, features = obs_shape
        inputs = 2 * history * features + history * code_dim + 1
        self.register_buffer("weight", torch.zeros(tokens, inputs, features))
        self.register_buffer("centre", torch.zeros(tokens, inputs))

    def forward(self, history: Float[Tensor, "b t k d"], codes: Float[Tensor, "b t c"]) -> Float[Tensor, "b k d"]:
        """Return the change that the linear model expects."""
        own, shared = self._parts(history, codes)
        mine, others = self.weight[:, : own.shape[-1]], self.weight[:, own.shape[-1] : -1]
        always = self.weight[:, -1] - einsum(self.centre, self.weight, "k f, k f d -> k d")
        # What all tokens are told is one product; written out a token, it would be copied once for each.
        of_own, of_all = einsum(own, mine, "b k f, k f d -> b k d"), einsum(shared, others, "b f, k f d -> b k d")
        change: Tensor = of_own + of_all + always
        return change

    def fit(self, history: Tensor, codes: Tensor, change: Tensor, *, ridge: float = 20.0) -> None:
        """Fit by ridge regression on standardised inputs, token by token.

        Args:
            history: ``(n, t, k, d)``.
            codes: ``(n, t, c)``.
            change: ``(n, k, d)``, what came next minus the newest observation.
            ridge: Penalty on the weights of the standardised inputs, in transitions.
        """
        inputs = self._inputs(history, codes)
        self.centre.copy_(inputs.mean(dim=0))
        self.centre[:, -1] = 0.0  # the constant input carries the mean change
        spread = (inputs - self.centre).square().mean(dim=0).sqrt().clamp_min(1e-3)
        for token in range(self.weight.shape[0]):
            x = ((inputs[:, token] - self.centre[token]) / spread[token]).double()
            gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=torch.double)
            solved = torch.linalg.solve(gram, x.T @ change[:, token].double())
            self.weight[token] = (solved / rearrange(spread[token].double(), "f -> f 1")).float()

    def _inputs(self, history: Tensor, codes: Tensor) -> Float[Tensor, "b k f"]:
        own, shared = self._parts(history, codes)
        return torch.cat([own, repeat(shared, "b f -> b k f", k=own.shape[1]), torch.ones_like(own[..., :1])], dim=-1)

    def _parts(self, history: Tensor, codes: Tensor) -> tuple[Float[Tensor, "b k p"], Float[Tensor, "b s"]]:
        """Return what each token is told of itself, and what all are told: the hand's past and the actions."""
        past = torch.cat([history[:, 1:] - history[:, :-1], history[:, -1:]], dim=1)
        own = rearrange(past, "b t k d -> b k (t d)")
        return own, torch.cat([own[:, 0], rearrange(codes, "b t c -> b (t c)")], dim=-1)
