"""Teach a bridge to let a frozen language model tell what it is shown, and let it tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError, NumericsError
from worldrl.language.bridges import Bridge, Shown
from worldrl.language.causal_lm import CausalLM, check_length
from worldrl.resuming import Parts, run_steps

IGNORED = -100
"""Label of what is not to be guessed: the prefix, the prompt, and what comes after the first end."""
PROMPT = "a picture of"


@dataclass(frozen=True)
class Told:
    """What is to be said of a picture: ``answer`` after ``prompt``; only the answer is learned."""

    picture: int
    prompt: str
    answer: str


def spell(model: CausalLM, told: Sequence[Told]) -> tuple[Int[Tensor, "b n"], Int[Tensor, "b n"]]:
    """Return the pieces of texts and their labels, one further on: piece ``i`` is to be followed by label ``i``.

    Args:
        model: Whose pieces they are.
        told: Prompts and answers; an end stands before each text and after it.

    Returns:
        Pieces ``(b, n)``, ends where a text is over, and labels ``(b, n)``, ``IGNORED`` in the prompt and after the
        first end.

    Raises:
        DataError: If a text is too long, or has a word that the model does not know.
    """
    pieces, labels = [], []
    for one in told:
        whole, prompt = (model.read(text) for text in (f"{one.prompt} {one.answer}".strip(), one.prompt))
        pieces.append(torch.tensor([model.end, *whole]))
        labels.append(torch.tensor([*[IGNORED] * len(prompt), *whole[len(prompt) :], model.end]))
    pad = torch.nn.utils.rnn.pad_sequence
    return (
        pad(pieces, batch_first=True, padding_value=float(model.end)),
        pad(labels, batch_first=True, padding_value=float(IGNORED)),
    )


def follow(model: CausalLM, shown: Shown, pieces: Int[Tensor, "b n"]) -> Float[Tensor, "b n v"]:
    """Return the logits of what follows each piece, after what is shown."""
    vectors = torch.cat([shown.prefix, model.embed(pieces)], dim=1)
    return model(vectors, inserts=shown.inserts)[:, shown.prefix.shape[1] :]


def tell_loss(model: CausalLM, shown: Shown, pieces: Int[Tensor, "b n"], labels: Int[Tensor, "b n"]) -> Tensor:
    """Return the mean cross-entropy of the labels that are not ignored, nats a piece."""
    logits = follow(model, shown, pieces)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def fit_bridge(
    bridge: nn.Module,
    model: CausalLM,
    features: Float[Tensor, "m p d"],
    told: Sequence[Told],
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 2e-3,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> float:
    """Train a bridge, and nothing else, on what is to be said of pictures.

    Args:
        bridge: A ``Bridge``; changed in place.
        model: Frozen; gradients pass through it.
        features: Of all pictures, whatever the bridge reads.
        told: What is to be said of which of them.
        steps: Gradient steps.
        batch_size: Texts a step.
        lr: Highest learning rate, falling to zero along a cosine. LiMBeR has 8e-4 at batches of 256 and 15,000 steps.
        seed: Of the batches and of dropout.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps, nats a piece.

    Raises:
        ConfigError: If there is nothing to be said, or no step to make.
        NumericsError: If the loss is not finite.
    """
    if not told or steps < 1 or batch_size < 1:
        raise ConfigError("a bridge must have texts, steps and batch_size of at least 1 to be fitted.")
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(bridge.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=min(0.3, 30 / steps), cycle_momentum=False
    )

    def take(step: int) -> float:
        batch = [told[i] for i in rng.integers(0, len(told), batch_size)]
        pieces, labels = spell(model, batch)
        loss = tell_loss(model, bridge(features[[one.picture for one in batch]]), pieces, labels)
        if not torch.isfinite(loss):
            raise NumericsError(f"the loss of the bridge is {loss.item()} at step {step}: lower lr.")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss.item()

    bridge.train()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        mean_loss = run_steps(take, steps=steps, parts=Parts({}), progress=progress)
    bridge.eval()
    return mean_loss


@torch.no_grad()
def tell(
    bridge: Bridge, model: CausalLM, features: Float[Tensor, "b p d"], *, prompt: str = PROMPT, longest: int = 40
) -> list[str]:
    """Let the model tell what it is shown, always the likeliest piece next, until it ends.

    Args:
        bridge: Between the two.
        model: Frozen.
        features: Of some pictures.
        prompt: What the text begins with; it is part of what is returned.
        longest: Most pieces after the prompt.

    Raises:
        DataError: If the text may grow longer than the model reads.
    """
    shown = bridge(features)
    start = [model.end, *model.read(prompt)]
    check_length(bridge.length + len(start) + longest, model.limit)
    said = torch.tensor([start] * len(features))
    for _ in range(longest):
        following = follow(model, shown, said)[:, -1].argmax(dim=-1, keepdim=True)
        said = torch.cat([said, following], dim=1)
        if bool((said[:, len(start) :] == model.end).any(dim=1).all()):
            break
    return [model.say(row[1:]) for row in said.tolist()]


@torch.no_grad()
def answers(
    bridge: Bridge, model: CausalLM, features: Float[Tensor, "m p d"], asked: Sequence[Told], *, batch_size: int = 64
) -> list[str]:
    """Return the likeliest word after each question, all in one reading.

    Args:
        bridge: Between the two.
        model: Frozen.
        features: Of all pictures.
        asked: Questions as prompts; their answers are not looked at.
        batch_size: Questions read at once.
    """
    found: list[str] = []
    for i in range(0, len(asked), batch_size):
        batch = [Told(one.picture, one.prompt, "") for one in asked[i : i + batch_size]]
        pieces, labels = spell(model, batch)
        logits = follow(model, bridge(features[[one.picture for one in batch]]), pieces)
        last = (labels != IGNORED).int().argmax(dim=1)
        best = logits[torch.arange(len(batch)), last].argmax(dim=-1)
        found += [model.say([int(piece)]) for piece in best]
    return found
