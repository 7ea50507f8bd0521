"""GRAM: few-shot prompts that start from a learned place and step by a learned rule.

A prompt is a few context vectors in a frozen text tower. Plain prompt learning starts it anywhere and follows the raw
gradient of a few examples, which fits the light and the table of those examples as readily as their classes. GRAM
learns both the start and a regulator of the gradient on many small tasks whose examples come from one domain and whose
questions from another, so that few steps on few examples carry over.

Source: Li, Gao, Wei, Tang et al. 2023, "Gradient-regulated meta-prompt learning for generalizable vision-language
models" (arXiv:2303.06571), whose bilevel problem this is. The exact form of its regulator is not published in what this
was written from; the one here is ours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldrl import checkpoint
from worldrl.errors import ConfigError

KIND = "prompt_start"
TEMPERATURE = 0.05
"""What cosines are divided by to make logits; ours, CLIP's ends at 0.01 and sharpens one shot to no gradient at all."""


class ContextTower(Protocol):
    """Who embeds texts behind context vectors, such as ``worldrl.language.two_tower.TwoTower``."""

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        """Return unit vectors ``(k, e)``, through which a gradient reaches the context ``(m, d)``."""
        ...


class ContextNamer(nn.Module):
    """Names images by their cosines with class names that stand behind context vectors.

    Args:
        tower: Frozen; its weights are not those of this module.
        context: ``(m, d)`` where the vectors begin.
    """

    def __init__(self, tower: ContextTower, context: Float[Tensor, "m d"]) -> None:
        super().__init__()
        self.context = nn.Parameter(context.clone())
        self._tower = (tower,)  # in a tuple, so that it is not among this module's own parts

    def forward(self, images: Float[Tensor, "b e"], names: Sequence[str]) -> Float[Tensor, "b k"]:
        """Return the logits of every name for every image embedding of unit length."""
        vectors = self._tower[0].texts(names, context=self.context)
        return images @ vectors.T / TEMPERATURE


class Regulator(nn.Module):
    """M_phi: a gate and a shift for every channel of every context vector, both read off the gradient (ours).

    It scales with its input (twice the gradient, twice the step) and is the identity at first, so that a new GRAM
    takes the steps of plain meta-learning.

    Args:
        tokens: Context vectors ``m``.
        width: Channels ``d``.
        hidden: Width of the layer between.
    """

    def __init__(self, *, tokens: int, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.read = nn.Linear(width, hidden)
        self.place = nn.Parameter(torch.zeros(tokens, hidden))
        self.gate, self.shift = nn.Linear(hidden, width), nn.Linear(hidden, width)
        for head in (self.gate, self.shift):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, grad: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Return what to step along instead of a gradient."""
        size = (grad.square().mean() + 1e-16).sqrt()
        seen = F.silu(self.read(grad / size) + self.place)
        regulated: Tensor = 2.0 * torch.sigmoid(self.gate(seen)) * grad + size * self.shift(seen)
        return regulated


class PromptStart(nn.Module):
    """What GRAM learns and deploys: where a prompt begins, how it steps, and how often.

    Args:
        context: ``(m, d)`` where the prompt begins.
        regulator: M_phi; none for the raw gradient, which is plain meta-learning of a start.
        rate: Step size a, in units of the context.
        steps: Inner steps, at least 1.

    Raises:
        ConfigError: If the rate is not positive, or there is no step.
    """

    def __init__(
        self, context: Float[Tensor, "m d"], *, regulator: Regulator | None, rate: float, steps: int = 5
    ) -> None:
        if rate <= 0 or steps < 1:
            raise ConfigError(f"rate must be positive and steps at least 1, got {rate:g} and {steps}.")
        super().__init__()
        self.context = nn.Parameter(context.clone())
        self.regulator = regulator
        self.rate, self.steps = rate, steps

    def adapt(
        self,
        tower: ContextTower,
        images: Float[Tensor, "c s e"],
        names: Sequence[str],
        *,
        learning: bool = False,
    ) -> Float[Tensor, "m d"]:
        """Return the context after the inner steps on a task's examples: theta' = theta - a M_phi(grad).

        Attention runs in plain arithmetic here, since the fused kernels have no second derivative.

        Args:
            tower: Frozen.
            images: ``(c, s, e)`` embeddings of ``s`` examples of each class, unit length.
            names: Of the ``c`` classes.
            learning: Whether a later loss shall reach this start and its regulator through the steps.
        """
        namer = ContextNamer(tower, self.context.detach())
        theta = self.context if learning else self.context.detach().requires_grad_()
        flat, labels = flatten(images)
        with sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
            for _ in range(self.steps):
                loss = F.cross_entropy(functional_call(namer, {"context": theta}, (flat, names)), labels)
                (grad,) = torch.autograd.grad(loss, theta, create_graph=learning)
                step = self.regulator(grad) if self.regulator is not None else grad
                theta = theta - self.rate * step
                theta = theta if learning else theta.detach().requires_grad_()
        return theta if learning else theta.detach()

    def loss(
        self,
        tower: ContextTower,
        support: Float[Tensor, "c s e"],
        query: Float[Tensor, "c q e"],
        names: Sequence[str],
    ) -> Float[Tensor, ""]:
        """Return the outer loss: cross-entropy of a task's questions after the inner steps, of second order."""
        theta = self.adapt(tower, support, names, learning=True)
        flat, labels = flatten(query)
        with sdpa_kernel(SDPBackend.MATH):
            return F.cross_entropy(score(tower, theta, flat, names), labels)

    def save_pretrained(self, folder: Path) -> None:
        """Save the start and its regulator; the tower is not part of it.

        Raises:
            StorageError: If the folder cannot be written.
        """
        hidden = self.regulator.read.out_features if self.regulator is not None else 0
        config = {"shape": list(self.context.shape), "rate": self.rate, "steps": self.steps, "hidden": hidden}
        checkpoint.save(Path(folder), kind=KIND, config=config, tensors=self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path) -> "PromptStart":
        """Load a start for the tower that it was learnt with.

        Raises:
            CheckpointError: If there is none, or it is damaged.
        """
        found = checkpoint.load(Path(folder), kind=KIND)
        with checkpoint.described(found.path, "the start of a prompt"):
            (tokens, width), hidden = found.config["shape"], found.config["hidden"]
            regulator = Regulator(tokens=tokens, width=width, hidden=hidden) if hidden else None
            start = cls(
                torch.zeros(tokens, width), regulator=regulator, rate=found.config["rate"], steps=found.config["steps"]
            )
        checkpoint.load_state(start, found.tensors, path=found.path)
        return start


def score(
    tower: ContextTower, context: Float[Tensor, "m d"] | None, images: Float[Tensor, "b e"], names: Sequence[str]
) -> Float[Tensor, "b k"]:
    """Return the logits of names behind a context, or of plain names without one."""
    return images @ tower.texts(names, context=context).T / TEMPERATURE


def flatten(images: Float[Tensor, "c s e"]) -> tuple[Float[Tensor, "r e"], Int[Tensor, " r"]]:
    """Return a task's images in one row after the other, and the place of each one's class among the names."""
    classes, each, _ = images.shape
    return rearrange(images, "c s e -> (c s) e"), torch.arange(classes).repeat_interleave(each)
