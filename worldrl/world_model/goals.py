"""Success by text: does what a sentence says hold in this observation?

The success classifier learns from a simulator's flag what one task is. This one learns from sentences: the simulator
says in words what is true of every frame, and a small network learns to tell from frame and sentence whether the two
go together. A goal, which is a sentence nobody described a frame with, is read as the states it may mean
(``worldrl.language.goals``), and the probability that it holds takes the place of the success classifier's. All of it
is our design; World4RL (arXiv 2509.19080) has no text. Texts are vectors here: whose, this room does not know.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from worldrl.errors import DataError
from worldrl.objects.gated import GatedTokens
from worldrl.resuming import Progress
from worldrl.world_model.judges import shown, train_head
from worldrl.world_model.success import FrameSuccess

RAREST = 10.0
"""How much oftener a frame in which something rare is true is drawn, at most."""


class TextJudge(nn.Module):
    """Say of observations whether texts hold in them.

    Like success in ``worldrl.world_model.success.TokenSuccess``, a state is a region of a learned linear space of
    observations: the logit falls with a squared distance, so that nothing far from what was seen is taken for anything.
    A text says where the region is, along which directions it ends, and how wide it is, each as a linear function of
    its vector.

    Args:
        obs_shape: ``(k, d)`` for tokens, ``(c, h, w)`` for frames.
        text_width: Numbers of a text's vector ``e``.
        width: Dimensions ``w`` of the learned space.
    """

    def __init__(self, *, obs_shape: tuple[int, ...], text_width: int, width: int = 32) -> None:
        super().__init__()
        self.obs_shape, self.text_width, self.width = tuple(obs_shape), text_width, width
        if len(obs_shape) == 2:
            self.gated = GatedTokens(obs_shape=(obs_shape[0], obs_shape[1]), width=width)
        else:
            body = FrameSuccess(obs_shape=(obs_shape[0], obs_shape[1], obs_shape[2])).body
            self.frames = nn.Sequential(body, nn.Linear(64, width))
        self.place, self.scale, self.reach = (nn.Linear(text_width, size) for size in (width, width, 1))
        for layer, bias in ((self.place, 0.0), (self.scale, -1.0), (self.reach, 3.0)):
            nn.init.normal_(layer.weight, std=text_width**-0.5)
            nn.init.constant_(layer.bias, bias)

    def embed(self, obs: Float[Tensor, "b *o"]) -> Float[Tensor, "b w"]:
        """Return observations in the learned space."""
        embedded: Tensor = (self.gated if len(self.obs_shape) == 2 else self.frames)(obs)
        return embedded

    def forward(self, obs: Float[Tensor, "b *o"], texts: Float[Tensor, "s e"]) -> Float[Tensor, "b s"]:
        """Return the logit of each text in each observation."""
        seen, place, scale = self.embed(obs), self.place(texts), softplus(self.scale(texts))
        cross = seen @ rearrange(place * scale, "s w -> w s")
        distance = seen.square() @ rearrange(scale, "s w -> w s") - 2 * cross + (place.square() * scale).sum(dim=1)
        logits: Tensor = rearrange(self.reach(texts), "s 1 -> s") - distance
        return logits

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as plain JSON."""
        return {"obs_shape": list(self.obs_shape), "text_width": self.text_width, "width": self.width}


class GoalSuccess(nn.Module):
    """Judge success by a goal: the probability that what it may mean holds, over all that it may mean.

    Takes the place of ``DiffusionWorldModel.success``, frozen.

    Args:
        judge: The fitted judge; frozen in place.
        states: The vectors ``(k, e)`` of what the goal may mean.
        shares: How likely each is meant ``(k,)``; sums to one.

    Raises:
        DataError: If the two do not go together.
    """

    states: Tensor
    shares: Tensor

    def __init__(self, judge: TextJudge, *, states: Float[Tensor, "k e"], shares: Float[Tensor, " k"]) -> None:
        if len(states) != len(shares) or (shares < 0).any() or abs(float(shares.sum()) - 1.0) > 1e-4:
            raise DataError(f"shares must be {len(states)} numbers of at least 0 that sum to 1, got {shares.tolist()}.")
        super().__init__()
        self.judge = judge.requires_grad_(False)
        self.register_buffer("states", states.clone())
        self.register_buffer("shares", shares.clone())
        self.train(False)

    def train(self, mode: bool = True) -> "GoalSuccess":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    def forward(self, obs: Float[Tensor, "b *o"]) -> Float[Tensor, " b"]:
        """Return the logit of the goal."""
        chance = (self.judge(obs, self.states).sigmoid() @ self.shares).clamp(1e-7, 1 - 1e-7)
        logit: Tensor = chance.logit()
        return logit


def fit_judge(
    judge: TextJudge,
    recorded: Float[Tensor, "n *o"],
    dreams: Float[Tensor, "n *o"],
    holds: Bool[Tensor, "n s"],
    texts: Float[Tensor, "s e"],
    *,
    kinds: Int[Tensor, " n"] | None = None,
    steps: int,
    batch_size: int = 256,
    lr: float = 2e-3,
    imagined: float = 0.5,
    blur: float = 0.02,
    price: float = 0.1,
    seed: int = 0,
    progress: Progress | None = None,
) -> float:
    """Train a judge on observations and what is true of them.

    As the success classifier does, it sees of half of the transitions not the recorded observation but the imagined
    one: in imagination it never sees anything else.

    Args:
        judge: Changed in place.
        recorded: Observations.
        dreams: What the dynamics imagines for the same transitions; where nobody imagined them, the recorded ones.
        holds: Which texts hold in each.
        texts: Their vectors.
        kinds: Which task each observation is of, each drawn equally often; None for one task. What one task shows
            nearly always, such as an end to begin with, may be what another rarely comes to.
        steps: Gradient steps.
        batch_size: Observations a step; those in which something rare in their task holds are drawn up to ten times as
            often.
        lr: Learning rate.
        imagined: Share of each batch that is imagined.
        blur: Standard deviation of the noise added to observations.
        price: Added to the loss for every object whose gate is open (``worldrl.objects.gated``).
        seed: Of batches and noise.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Raises:
        DataError: If these are not equally many.
        NumericsError: If the loss is not finite.
    """
    if not len(recorded) == len(dreams) == len(holds) or holds.shape[1] != len(texts):
        raise DataError(
            f"recorded, dreams and holds must be of the same observations and texts, got {len(recorded)}, "
            f"{len(dreams)}, {tuple(holds.shape)} and {len(texts)}."
        )
    rng, answers = torch.Generator().manual_seed(seed), holds.float()
    chance = chances(answers, torch.zeros(len(answers), dtype=torch.int64) if kinds is None else kinds)

    def loss() -> Tensor:
        rows = torch.multinomial(chance, batch_size, replacement=True, generator=rng)
        obs = shown(recorded, dreams, rows, imagined=imagined, blur=blur, rng=rng)
        return binary_cross_entropy_with_logits(judge(obs, texts), answers[rows])

    return train_head(judge, loss, steps=steps, lr=lr, price=price, rng=rng, progress=progress)


def chances(answers: Float[Tensor, "n s"], kinds: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return how often each observation is drawn: more often where something rare in its task holds."""
    chance = torch.zeros(len(answers))
    for kind in kinds.unique():  # type: ignore[no-untyped-call]
        own = kinds == kind
        rarity = 1.0 / answers[own].mean(dim=0).clamp_min(1e-6)
        wanted = (answers[own] * rarity).amax(dim=1).clamp(1.0, RAREST)
        chance[own] = wanted / wanted.sum()
    return chance
