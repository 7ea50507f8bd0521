"""A prompt's start and the rule of its steps are learnt through the steps; the tower is not."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from worldrl.checkpoint import hash_tensors
from worldrl.errors import ConfigError
from worldrl.language.episodes import Episodes
from worldrl.language.gram import PromptStart, Regulator, score
from worldrl.language.gram_fit import fit_start, measure_start

NAMES = ("red", "green", "blue", "white")


class Tower(nn.Module):
    """Embeds a name as a vector of its own, moved and turned by the mean of the context."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Parameter(torch.randn(4, 6))
        self.mix = nn.Linear(6, 6)
        self.requires_grad_(False)

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        words = self.words[[NAMES.index(text) for text in texts]]
        moved = words if context is None else words + self.mix(torch.tanh(words + context.mean(dim=0)))
        return F.normalize(moved, dim=-1)


def images(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return embeddings near where a hidden context puts the names, their classes, and two domains with an offset."""
    rng = torch.Generator().manual_seed(seed)
    classes, domains = torch.arange(4).repeat(20), torch.arange(2).repeat_interleave(40)
    hidden = torch.full((2, 6), 1.5)
    centres = Tower().texts(NAMES, context=hidden)
    offset = torch.randn(2, 6, generator=rng) * 0.4
    vectors = centres[classes] + offset[domains] + 0.15 * torch.randn(80, 6, generator=rng)
    return F.normalize(vectors, dim=-1), classes, domains


def test_a_new_regulator_changes_no_gradient() -> None:
    grad = torch.randn(3, 6)
    assert torch.allclose(Regulator(tokens=3, width=6)(grad), grad)


def test_a_regulator_scales_with_its_input() -> None:
    regulator = Regulator(tokens=3, width=6)
    nn.init.normal_(regulator.gate.weight)
    nn.init.normal_(regulator.shift.weight)
    grad = torch.randn(3, 6)
    assert torch.allclose(regulator(4.0 * grad), 4.0 * regulator(grad), atol=1e-5)
    assert not torch.allclose(regulator(grad), grad)


def test_one_plain_inner_step_is_a_step_along_the_gradient() -> None:
    tower, (vectors, _, _) = Tower(), images()
    start = PromptStart(torch.zeros(2, 6), regulator=None, rate=0.5, steps=1)
    context = torch.zeros(2, 6, requires_grad=True)
    loss = F.cross_entropy(score(tower, context, vectors[:4], NAMES), torch.arange(4))
    (grad,) = torch.autograd.grad(loss, context)
    assert torch.allclose(start.adapt(tower, vectors[:4].unsqueeze(1), NAMES), -0.5 * grad, atol=1e-6)


def test_the_outer_gradient_is_that_of_finite_differences_through_the_steps() -> None:
    tower, (vectors, _, _) = Tower().double(), images()
    support, query = vectors[:4].unsqueeze(1).double(), vectors[40:44].unsqueeze(1).double()
    start = PromptStart(torch.zeros(2, 6), regulator=None, rate=0.3, steps=3).double()
    start.loss(tower, support, query, NAMES).backward()
    grad = start.context.grad
    assert grad is not None
    nudge, numbers = 1e-6, []
    for sign in (1, -1):
        moved = torch.zeros(2, 6, dtype=torch.float64)
        moved[1, 2] = sign * nudge
        again = PromptStart(moved, regulator=None, rate=0.3, steps=3)
        numbers.append(again.loss(tower, support, query, NAMES).item())
    assert float(grad[1, 2]) == pytest.approx((numbers[0] - numbers[1]) / (2 * nudge), rel=1e-4)


def test_the_outer_loss_reaches_start_and_regulator_but_not_the_tower() -> None:
    tower, (vectors, _, _) = Tower(), images()
    before = hash_tensors(tower.state_dict())
    start = PromptStart(torch.zeros(2, 6), regulator=Regulator(tokens=2, width=6), rate=0.3)
    start.loss(tower, vectors[:4].unsqueeze(1), vectors[40:44].unsqueeze(1), NAMES).backward()
    assert start.regulator is not None and start.context.grad is not None
    assert start.regulator.gate.weight.grad is not None and start.regulator.gate.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in tower.parameters())
    assert hash_tensors(tower.state_dict()) == before


def test_the_regulator_steers_the_steps_of_a_deployed_start() -> None:
    tower, (vectors, _, _) = Tower(), images()
    regulator = Regulator(tokens=2, width=6)
    plain = PromptStart(torch.zeros(2, 6), regulator=None, rate=0.3)
    gram = PromptStart(torch.zeros(2, 6), regulator=regulator, rate=0.3)
    support = vectors[:4].unsqueeze(1)
    assert torch.allclose(gram.adapt(tower, support, NAMES), plain.adapt(tower, support, NAMES), atol=1e-6)
    nn.init.constant_(regulator.gate.bias, -20.0)  # every gate closed
    assert torch.allclose(gram.adapt(tower, support, NAMES), torch.zeros(2, 6), atol=1e-6)


def test_adapting_leaves_the_start_where_it_is() -> None:
    tower, (vectors, _, _) = Tower(), images()
    start = PromptStart(torch.zeros(2, 6), regulator=None, rate=0.3)
    context = start.adapt(tower, vectors[:4].unsqueeze(1), NAMES)
    assert not start.context.any() and context.any() and not context.requires_grad


def test_a_learned_start_answers_more_after_as_many_steps_than_one_at_random() -> None:
    tower, (vectors, classes, domains) = Tower(), images()
    episodes = Episodes(classes, domains, ways=4, shots=1, queries=5)
    at_random = PromptStart(torch.zeros(2, 6), regulator=None, rate=0.1)
    learned = PromptStart(torch.zeros(2, 6), regulator=Regulator(tokens=2, width=6), rate=0.1)
    losses = fit_start(learned, tower, [episodes], vectors, NAMES, steps=60, seed=0, rate=0.03)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    scores = [
        measure_start(start, tower, episodes, vectors, NAMES, tasks=20, seed=9).mean() for start in (at_random, learned)
    ]
    assert scores[1] > scores[0] + 0.05


def test_each_class_is_measured_by_its_own_questions() -> None:
    tower, (_, classes, domains) = Tower(), images()
    perfect = torch.where(classes.unsqueeze(1) < 2, tower.texts(NAMES)[classes], -tower.texts(NAMES)[classes])
    episodes = Episodes(classes[classes < 3], domains[classes < 3], ways=3, shots=1, queries=4)
    shares = measure_start(None, tower, episodes, perfect[classes < 3], NAMES, tasks=2, seed=0)
    assert shares[:3].tolist() == [1.0, 1.0, 0.0] and shares[3].isnan()


def test_a_seed_gives_the_same_start() -> None:
    tower, (vectors, classes, domains) = Tower(), images()
    episodes = Episodes(classes, domains, ways=3, shots=1, queries=2)
    starts = [PromptStart(torch.zeros(2, 6), regulator=None, rate=0.1, steps=2) for _ in range(2)]
    for start in starts:
        fit_start(start, tower, [episodes], vectors, NAMES, steps=3, seed=4)
    assert torch.equal(starts[0].context, starts[1].context)


def test_a_saved_start_steps_the_same(tmp_path: Path) -> None:
    tower, (vectors, _, _) = Tower(), images()
    start = PromptStart(torch.randn(2, 6), regulator=Regulator(tokens=2, width=6, hidden=8), rate=0.3, steps=2)
    assert start.regulator is not None
    nn.init.normal_(start.regulator.shift.weight)
    start.save_pretrained(tmp_path / "start")
    again = PromptStart.from_pretrained(tmp_path / "start")
    support = vectors[:4].unsqueeze(1)
    assert torch.equal(again.adapt(tower, support, NAMES), start.adapt(tower, support, NAMES))


def test_a_start_that_cannot_step_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rate must be positive and steps at least 1, got 0.3 and 0\."):
        PromptStart(torch.zeros(2, 6), regulator=None, rate=0.3, steps=0)
