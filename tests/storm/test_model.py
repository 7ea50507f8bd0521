"""The world model of OC-STORM: what it learns, what it sees, and how large it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldrl.agents.actor_critic import ActorCritic
from worldrl.errors import CheckpointError, ConfigError
from worldrl.storm.model import StormWorldModel
from worldrl.storm.steps import Steps

Make = Callable[..., StormWorldModel]


def fitted(model: StormWorldModel, steps: Steps, times: int) -> dict[str, float]:
    optimizer, rng, parts = torch.optim.Adam(model.parameters(), lr=1e-2), torch.Generator().manual_seed(0), {}
    model.train()
    for _ in range(times):
        loss, parts = model.loss(steps, rng=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    return parts


def test_it_learns_one_batch(make_model: Make, steps: Steps) -> None:
    model = make_model()
    first = model.loss(steps, rng=torch.Generator().manual_seed(1))[1]
    last = fitted(model, steps, 60)
    assert last["objects"] < 0.3 * first["objects"]
    assert last["frame"] < 0.3 * first["frame"]
    assert last["reward"] < 0.6 * first["reward"]
    assert last["termination"] < 0.7 * first["termination"]


def test_without_the_frame_nothing_of_it_is_looked_at(make_model: Make, steps: Steps) -> None:
    model = make_model(visual=False)
    assert "frame" not in model.loss(steps)[1]
    assert model.state_dim == 3 * (8 * 8 + 32)


def test_what_crosses_the_end_of_an_episode_teaches_no_dynamics(make_model: Make, steps: Steps) -> None:
    model = make_model()
    cut = replace(steps, episodes=torch.arange(8).expand(6, 8))
    assert model.loss(cut)[1]["divergence"] == pytest.approx(2 * (0.5 + 0.1))  # all of it free bits: objects and frame


def test_free_bits_are_given_to_each_object(make_model: Make, steps: Steps) -> None:
    """One object that surprises does not use up what another, which never does, has free."""
    model = make_model(visual=False)
    quiet, loud = torch.zeros(1, 1, 1, 2), torch.tensor([[[[3.0, -3.0]]]])
    p = [quiet.log_softmax(-1)] * 2 + [loud.log_softmax(-1)]
    q = [quiet.log_softmax(-1)] * 2 + [(-loud).log_softmax(-1)]
    same = torch.ones(1, 1)
    found = model._divergence([torch.cat([one, one], dim=1) for one in p], q, same)
    surprise = (p[2].exp() * (p[2] - q[2])).sum()
    assert found.item() == pytest.approx(0.6 * (1.0 + 1.0 + surprise.item()) / 3, rel=1e-5)


def test_the_same_seed_is_the_same_dream_and_another_action_another(make_model: Make, steps: Steps) -> None:
    model = make_model()
    fitted(model, steps, 10)

    def dream(seed: int, act: float) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        return model.dream(steps, lambda states: torch.full((len(states), 2), act), horizon=4, rng=rng).states

    assert torch.equal(dream(0, 1.0), dream(0, 1.0))
    assert not torch.equal(dream(0, 1.0), dream(1, 1.0))
    assert not torch.equal(dream(0, 1.0), dream(0, -1.0))
    assert dream(0, 1.0).shape == (6, 5, model.state_dim)


def test_the_first_step_of_an_episode_has_no_past(make_model: Make, steps: Steps) -> None:
    model = make_model()
    beginning = replace(steps, episodes=torch.tensor([0] * 7 + [1]).expand(6, 8))
    _, hidden, _ = model.observe(beginning)
    assert not hidden.any()
    assert model.observe(steps)[1].any()


def test_reading_a_shuffled_set_of_objects_is_not_the_same(make_model: Make, steps: Steps) -> None:
    """The order of objects is fixed for a task: which is which is told by its place."""
    model = make_model(visual=False)
    shuffled = steps.tokens[:, :, [0, 2, 1]]
    swapped = [model.posterior(shuffled, None)[i] for i in (0, 2, 1)]
    assert not torch.allclose(swapped[2], model.posterior(steps.tokens, None)[2])


def test_the_published_size_can_be_counted_without_memory() -> None:
    with torch.device("meta"):
        model = StormWorldModel(tokens=(3, 2048), visual=True, acts=18, size="published")
        agent = ActorCritic(state_dim=model.state_dim, acts=18, discrete=True)
    assert model.state_dim == 3 * 256 + 1024 + 256 * 4
    assert sum(p.numel() for p in model.parameters()) == 20_389_219
    assert sum(p.numel() for p in agent.actor.parameters()) == 1_978_386


def test_it_is_the_same_after_saving(make_model: Make, steps: Steps, tmp_path: Path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path / "model")
    again = StormWorldModel.from_pretrained(tmp_path / "model")
    rngs = [torch.Generator().manual_seed(0) for _ in range(2)]
    assert torch.equal(model.loss(steps, rng=rngs[0])[0], again.loss(steps, rng=rngs[1])[0])


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="size must be one of tiny, small, published, got 'huge'"):
        StormWorldModel(tokens=(2, 3), visual=False, acts=2, size="huge")


def test_another_checkpoint_is_refused(tmp_path: Path) -> None:
    ActorCritic(state_dim=4, acts=2, discrete=True, width=4, depth=1).save_pretrained(tmp_path / "agent")
    with pytest.raises(CheckpointError, match="must be a checkpoint of kind 'storm', got 'actor_critic'"):
        StormWorldModel.from_pretrained(tmp_path / "agent")


def test_the_prior_is_held_against_what_is_seen_next(make_model: Make) -> None:
    model = make_model(visual=False)
    posterior = [(3.0 * torch.randn(2, 5, 8, 8)).log_softmax(-1) for _ in range(3)]
    same = torch.ones(2, 4)
    right = model._divergence(posterior, [one[:, 1:] for one in posterior], same)
    late = model._divergence(posterior, [one[:, :-1] for one in posterior], same)
    assert right.item() == pytest.approx(0.6)  # nothing but free bits
    assert late > 2.0
