"""Planning in a world model: choose actions by imagining what many candidates lead to.

The cross-entropy method and model-predictive path integral control differ in one thing: how much each candidate counts
when the next ones are drawn.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum, rearrange, repeat
from torch import Tensor

from worldrl.errors import ConfigError, NumericsError
from worldrl.types import Array, Imagined, WorldModel

METHODS = ("cem", "mppi")
PERSISTENCE = 0.7
"""Share of its deviation that a candidate keeps from one action to the next: arms answer to pushes, not to jitter."""
NARROWEST = 0.05
"""Smallest standard deviation that candidates are drawn with, as TD-MPC2 has it."""
HAIR = 1e-37
"""What it is worth not to have halted: where no candidate promises anything, those that stay in the data are better."""


@dataclass(frozen=True)
class Plan:
    """What to do next: ``acts`` ``(b, h, a)``, and the ``value`` ``(b,)`` in ``[0, 1]`` that this promises."""

    acts: Tensor
    value: Tensor


@dataclass(frozen=True)
class Chance:
    """What is left to chance in one iteration, the same for all candidates of a problem.

    ``noise`` ``(b, h, *o)`` and ``choice`` ``(b, h)`` are the world's; ``scatter`` ``(b, n, h, a)`` are the deviations
    of new candidates, in standard deviations.
    """

    noise: Tensor
    choice: Tensor
    scatter: Tensor


class Planner:
    """Search for the actions that a world model expects to succeed soonest.

    A candidate is worth the discounted probability that its first success comes within the horizon; no threshold is
    applied. Where the ensemble disagrees by more than 1 it has left the data, and earns nothing from there on. Because
    that value is a probability, path integral control weighs candidates by its power: with temperature 1 they are
    weighed by how likely each succeeds, and below it the likely ones count for more.

    The first candidates scatter around the last plan, moved on by one step, and around what ``proposal`` would do. The
    best so far and the mean stay among the candidates, and what is carried out is the best of the last iteration.

    Source: De Boer et al. 2005 (cross-entropy method); Williams et al. 2017, arXiv 1707.02342 (path integrals);
    TD-MPC2, arXiv 2310.16828, for warm start, adapted spread and proposal; iCEM, arXiv 2008.06389, for correlated
    noise and keeping the best. The value and that the best is carried out are our choice.

    Args:
        model: The world model; it is only read.
        method: ``cem`` or ``mppi``.
        horizon: Steps ``h`` that are planned ahead.
        samples: Candidates ``n`` in each iteration.
        elites: How many of them the cross-entropy method learns from; an eighth if None.
        iterations: How often candidates are drawn; one is random shooting.
        temperature: Of path integral control.
        discount: Of success, for each step that it comes later, in ``(0, 1]``.
        sigma: Standard deviation of the first candidates.
        proposal: Another policy's actions ``(b, a)`` for observations ``(b, *o)``; None for none.
        seed: Of all chance.

    Attributes:
        imagined_steps: Steps imagined so far, over all candidates.

    Raises:
        ConfigError: If a number or the method is out of range.
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        method: str = "cem",
        horizon: int = 8,
        samples: int = 96,
        elites: int | None = None,
        iterations: int = 3,
        temperature: float = 1.0,
        discount: float = 0.97,
        sigma: float = 0.5,
        proposal: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        check_search(method=method, samples=samples)
        elites = max(2, samples // 8) if elites is None else elites
        if not 1 <= elites <= samples:
            raise ConfigError(f"elites must be in [1, {samples}], the number of samples, got {elites}.")
        if not 0 < discount <= 1:
            raise ConfigError(f"discount must be in (0, 1], got {discount}.")
        _check_positive(horizon=horizon, iterations=iterations, temperature=temperature, sigma=sigma)
        self.model, self.horizon, self.samples, self.iterations = model, horizon, samples, iterations
        self.discount, self.sigma, self.proposal, self.seed = discount, sigma, proposal, seed
        self.weigh = _elites(elites) if method == "cem" else _powers(temperature)
        self.imagined_steps = 0

    @torch.no_grad()
    def plan(self, obs: Tensor, acts: Tensor, *, last: Tensor | None = None, keys: Array | None = None) -> Plan:
        """Plan for ``b`` problems at once, each as if it were alone.

        Args:
            obs: The last observations ``(b, t, *o)``, newest last.
            acts: The actions between them ``(b, t-1, a)``.
            last: The plan ``(b, h, a)`` that was made one step ago; None or zeros for none.
            keys: Whole numbers of at least 0 ``(b, m)`` from which, with the seed, the chance of each problem follows;
                None for the same chance for all.

        Raises:
            NumericsError: If what the model imagines is not finite.
        """
        if last is None:
            last = obs.new_zeros(len(obs), self.horizon, self.model.act_dim)
        chances = self._chances(np.zeros((len(obs), 1), np.int64) if keys is None else keys, obs.device)
        kept = centres = self._known(obs, acts, last, chances[0])
        spread = torch.full_like(last, self.sigma)
        for chance in chances:
            candidates = torch.cat([kept, _scatter(centres, spread, chance.scatter[:, kept.shape[1] :])], dim=1)
            values = self._values(obs, acts, candidates, chance)
            weights = self.weigh(values)
            mean = einsum(weights, candidates, "b n, b n h a -> b h a")
            apart = (candidates - rearrange(mean, "b h a -> b 1 h a")).square()
            spread = einsum(weights, apart, "b n, b n h a -> b h a").sqrt().clamp_min(NARROWEST)
            value, index = values.max(dim=1)
            best = candidates[torch.arange(len(obs), device=obs.device), index]
            centres, kept = rearrange(mean, "b h a -> b 1 h a"), torch.stack([best, mean], dim=1)
        return Plan(best, value)

    def _known(self, obs: Tensor, acts: Tensor, last: Tensor, chance: Chance) -> Tensor:
        """Return the plans to begin with ``(b, c, h, a)``: the last one moved on, and what the proposal would do."""
        moved = torch.cat([last[:, 1:], last[:, -1:]], dim=1)
        if self.proposal is None:
            return rearrange(moved, "b h a -> b 1 h a")
        propose = self.proposal
        steps = self._imagine(obs, acts, chance, lambda _, newest: propose(newest).clamp(-1.0, 1.0))
        return torch.stack([moved, torch.stack([act for act, _ in steps], dim=1)], dim=1)

    def _values(self, obs: Tensor, acts: Tensor, candidates: Tensor, chance: Chance) -> Tensor:
        """Return what each candidate ``(b, n, h, a)`` is worth ``(b, n)``, in ``[0, 1]``."""
        b, n = candidates.shape[:2]
        obs, acts, noise, choice = (
            repeat(part, "b t ... -> (b n) t ...", n=n) for part in (obs, acts, chance.noise, chance.choice)
        )
        flat = rearrange(candidates, "b n h a -> (b n) h a")
        value, running = obs.new_zeros(b * n), obs.new_ones(b * n)
        steps = self._imagine(obs, acts, Chance(noise, choice, chance.scatter), lambda i, _: flat[:, i])
        for i, (_, out) in enumerate(steps):
            running = running * (out.disagreement <= 1.0)
            value = value + self.discount**i * running * out.success
            running = running * (1.0 - out.success)
        if not bool(value.isfinite().all()):
            raise NumericsError(
                "what the world model imagines must be finite, got nan or inf: shorten the horizon, or fit it longer."
            )
        return rearrange(value + HAIR * running, "(b n) -> b n", b=b)

    def _imagine(
        self, obs: Tensor, acts: Tensor, chance: Chance, choose: Callable[[int, Tensor], Tensor]
    ) -> Iterator[tuple[Tensor, Imagined]]:
        """Yield the actions ``choose(step, newest observations)`` ``(b, a)`` of each step, and what they lead to."""
        for i in range(self.horizon):
            act = choose(i, obs[:, -1])
            acts = torch.cat([acts, rearrange(act, "b a -> b 1 a")], dim=1)
            out = self.model.imagine(obs, acts, noise=chance.noise[:, i], choice=chance.choice[:, i])
            self.imagined_steps += len(obs)
            yield act, out
            obs, acts = torch.cat([obs[:, 1:], out.obs[:, None]], dim=1), acts[:, 1:]

    def _chances(self, keys: Array, device: torch.device) -> list[Chance]:
        """Draw the chance of every iteration, each problem from a generator of its own; on the CPU for all devices."""
        rngs = [torch.Generator().manual_seed(_seed(self.seed, key)) for key in keys.tolist()]
        h, a = self.horizon, self.model.act_dim

        def draw() -> Chance:
            noise = torch.stack([torch.randn(h, *self.model.obs_shape, generator=rng) for rng in rngs])
            choice = torch.stack([torch.rand(h, generator=rng) for rng in rngs])
            scatter = torch.stack([torch.randn(self.samples, h, a, generator=rng) for rng in rngs])
            return Chance(noise.to(device), choice.to(device), _persist(scatter).to(device))

        return [draw() for _ in range(self.iterations)]


def check_search(*, method: str, samples: int) -> None:
    """Refuse what no search can be made of.

    Raises:
        ConfigError: If there is no such method, or there are too few candidates.
    """
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{method}'.")
    if samples < 4:
        raise ConfigError(f"samples must be at least 4, got {samples}: up to 2 of them are plans made before.")


def _check_positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise ConfigError(f"{name} must be positive, got {number}.")


def _elites(count: int) -> Callable[[Tensor], Tensor]:
    """Return the weights of the cross-entropy method: the best ``count`` candidates count alike, the others nothing."""

    def weigh(values: Tensor) -> Tensor:
        order = values.argsort(dim=1, descending=True, stable=True)
        return torch.zeros_like(values).scatter(1, order[:, :count], 1.0 / count)

    return weigh


def _powers(temperature: float) -> Callable[[Tensor], Tensor]:
    """Return the weights of path integral control: values to the power of one over the temperature."""

    def weigh(values: Tensor) -> Tensor:
        logs = values.clamp_min(torch.finfo(values.dtype).tiny).log()
        return (logs / temperature).softmax(dim=1)

    return weigh


def _scatter(centres: Tensor, spread: Tensor, scatter: Tensor) -> Tensor:
    """Return candidates ``(b, n, h, a)`` around the centres ``(b, c, h, a)`` in turn, within bounds."""
    turns = torch.arange(scatter.shape[1], device=scatter.device) % centres.shape[1]
    return (centres[:, turns] + rearrange(spread, "b h a -> b 1 h a") * scatter).clamp(-1.0, 1.0)


def _persist(noise: Tensor) -> Tensor:
    """Correlate standard normal noise ``(b, n, h, a)`` over ``h``; it stays standard normal at every step."""
    steps = [noise[:, :, 0]]
    for fresh in noise.unbind(dim=2)[1:]:
        steps.append(PERSISTENCE * steps[-1] + (1.0 - PERSISTENCE**2) ** 0.5 * fresh)
    return torch.stack(steps, dim=2)


def _seed(seed: int, key: list[int]) -> int:
    """Return one seed of a planner's and a problem's."""
    return int(np.random.SeedSequence([seed, *key]).generate_state(1, np.uint64)[0])
