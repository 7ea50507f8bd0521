"""A judge of texts learns from statements what holds, and a goal is judged by what it may mean."""

import pytest
import torch
from torch import Tensor

from worldrl.checkpoint import hash_tensors
from worldrl.errors import DataError
from worldrl.world_model.goals import GoalSuccess, TextJudge, chances, fit_judge

TEXTS = torch.eye(4)[:3]


def judge(shape: tuple[int, ...] = (3, 4)) -> TextJudge:
    torch.manual_seed(0)
    return TextJudge(obs_shape=shape, text_width=4, width=16)


def states(rows: int) -> tuple[Tensor, Tensor]:
    """Return observations and three facts: an object is left, in the middle or right of another."""
    obs = torch.randn(rows, 3, 4, generator=torch.Generator().manual_seed(1))
    gap = obs[:, 1, 0] - obs[:, 2, 1]
    return obs, torch.stack([gap < -0.7, gap.abs() <= 0.7, gap > 0.7], dim=1)


@pytest.mark.parametrize("shape", [(3, 4), (3, 32, 32)])
def test_there_is_one_logit_a_row_and_text_that_depends_on_these_two_alone(shape: tuple[int, ...]) -> None:
    one, obs = judge(shape).eval(), torch.randn(5, *shape)
    with torch.no_grad():
        logits, alone = one(obs, TEXTS), one(obs[3:4], TEXTS[1:2])
    assert logits.shape == (5, 3)
    torch.testing.assert_close(alone, logits[3:4, 1:2], atol=1e-4, rtol=1e-4)


def test_it_learns_from_statements_what_holds_and_texts_between_them_mean_something_between() -> None:
    obs, holds = states(512)
    one = judge()
    loss = fit_judge(one, obs, obs, holds, TEXTS, steps=400, lr=1e-2, price=0.0)
    fresh, truth = states(1024)
    with torch.no_grad():
        found = one(fresh[512:], TEXTS) > 0
    assert loss < 0.2
    assert (found == truth[512:]).float().mean() > 0.93


def test_what_lies_far_from_everything_seen_is_no_state_at_all() -> None:
    one, direction = judge().eval(), torch.randn(64, 3, 4)
    with torch.no_grad():
        assert (one(1000.0 * direction, TEXTS).sigmoid() < 0.01).all()


def test_a_goal_holds_as_likely_as_what_it_may_mean() -> None:
    one, obs = judge().eval(), torch.randn(6, 3, 4)
    goal = GoalSuccess(one, states=TEXTS, shares=torch.tensor([0.75, 0.25, 0.0]))
    with torch.no_grad():
        each = one(obs, TEXTS).sigmoid()
        torch.testing.assert_close(goal(obs).sigmoid(), 0.75 * each[:, 0] + 0.25 * each[:, 1])


def test_a_goal_is_frozen_whatever_is_asked_of_it() -> None:
    goal = GoalSuccess(judge(), states=TEXTS, shares=torch.tensor([1.0, 0.0, 0.0]))
    before = hash_tensors(goal.state_dict())
    obs = torch.randn(2, 3, 4, requires_grad=True)
    goal.train()
    goal(obs).sum().backward()
    assert not goal.training and not any(parameter.requires_grad for parameter in goal.parameters())
    assert hash_tensors(goal.state_dict()) == before


def test_shares_must_be_those_of_the_states() -> None:
    for shares in ([0.5, 0.5], [0.5, 0.5, 0.5], [1.5, -0.5, 0.0]):
        with pytest.raises(DataError, match=r"shares must be 3 numbers of at least 0 that sum to 1, got \["):
            GoalSuccess(judge(), states=TEXTS, shares=torch.tensor(shares))


def test_facts_of_other_observations_are_refused() -> None:
    obs, holds = states(8)
    with pytest.raises(DataError, match=r"of the same observations and texts, got 8, 8, \(7, 3\) and 3"):
        fit_judge(judge(), obs, obs, holds[:7], TEXTS, steps=1)


def test_what_is_rare_in_one_task_is_drawn_often_there_however_common_it_is_in_another() -> None:
    holds = torch.tensor([[True]] + [[False]] * 9 + [[True]] * 10)
    chance = chances(holds.float(), torch.tensor([0] * 10 + [1] * 10))
    torch.testing.assert_close(chance, torch.tensor([10 / 19] + [1 / 19] * 9 + [0.1] * 10))
