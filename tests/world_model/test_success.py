"""The success classifier judges every observation by itself, and learns a rule between hand and object."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from worldrl.world_model.success import FrameSuccess, TokenSuccess


def tokens() -> nn.Module:
    torch.manual_seed(0)
    return TokenSuccess(obs_shape=(3, 4), width=32)


def frames() -> nn.Module:
    torch.manual_seed(0)
    return FrameSuccess(obs_shape=(3, 32, 32), width=4)


def learn(judge: nn.Module, obs: Tensor, answers: Tensor, *, steps: int) -> float:
    """Return the share of right answers after some steps on all rows."""
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-2)
    judge.train()
    for _ in range(steps):
        loss = binary_cross_entropy_with_logits(judge(obs), answers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    judge.eval()
    with torch.no_grad():
        return ((judge(obs) > 0) == answers.bool()).float().mean().item()


@pytest.mark.parametrize(("make", "shape"), [(tokens, (3, 4)), (frames, (3, 32, 32)), (frames, (3, 20, 28))])
def test_there_is_one_logit_a_row_that_does_not_depend_on_the_batch(make: Any, shape: tuple[int, ...]) -> None:
    judge, obs = make().eval(), torch.randn(5, *shape)
    with torch.no_grad():
        logits, alone = judge(obs), judge(obs[3:4])
    assert logits.shape == (5,)
    torch.testing.assert_close(alone, logits[3:4], atol=1e-5, rtol=1e-4)
    assert logits.std() > 1e-4


def test_it_learns_when_the_hand_is_at_an_object_wherever_that_is() -> None:
    rng = torch.Generator().manual_seed(0)
    obs = torch.randn(256, 3, 4, generator=rng)
    answers = ((obs[:, 0, 0] - obs[:, 1, 0]).abs() < 0.7).float()
    assert learn(tokens(), obs, answers, steps=300) > 0.95


def test_it_learns_which_corner_is_bright() -> None:
    obs, answers = -torch.ones(32, 3, 32, 32), (torch.arange(32) % 2).float()
    obs[answers == 1, :, :8, :8] = 1.0
    obs[answers == 0, :, -8:, -8:] = 1.0
    obs = obs + 0.1 * torch.randn(obs.shape, generator=torch.Generator().manual_seed(0))
    assert learn(frames(), obs, answers, steps=40) == 1.0


def test_what_lies_far_from_everything_seen_is_never_a_success() -> None:
    judge, direction = tokens(), torch.randn(64, 3, 4)
    with torch.no_grad():
        near, far, farther = (judge(distance * direction) for distance in (1.0, 100.0, 1000.0))
    assert (far < near).all() and (farther < far).all()
    assert (far.sigmoid() < 0.01).all()
