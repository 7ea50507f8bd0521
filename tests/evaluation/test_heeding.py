"""A world model that does not heed its actions fails, whichever code they reach it in; one that does passes."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.data.segments import SegmentSampler
from worldrl.diffusion.actions import ACTION_CODES
from worldrl.evaluation.heeding import ACTION_GAIN, ActionVerdict, action_verdict
from worldrl.types import Imagined
from worldrl.world_model.fit import fit_dynamics
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.tokens import Tokens

SHAPE, HISTORY = (2, 3), 2


class Deaf(DiffusionWorldModel):
    """A world model that is told nothing of its actions."""

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        return super().imagine(obs, torch.zeros_like(acts), noise=noise, choice=choice)


def push(episodes: int, *, seed: int) -> Tokens:
    """Point masses that move by 0.3 times the action, beside something that rests."""
    rng = np.random.default_rng(seed)
    acts = rng.uniform(-1, 1, (episodes, 15, 2)).astype(np.float32)
    obs = np.zeros((episodes, 16, *SHAPE), np.float32)
    obs[:, :, 1] = rng.normal(size=(episodes, 1, 3))
    obs[:, 1:, 0, :2] = 0.3 * np.cumsum(acts, axis=1)
    return Tokens(list(obs), list(acts), [np.zeros(16, bool)] * episodes, ["random"] * episodes)


def unrelated(tokens: Tokens) -> Tokens:
    """Give every episode the actions of the one after it."""
    return Tokens(tokens.obs, [*tokens.acts[1:], tokens.acts[0]], tokens.success, tokens.policies)


@cache
def held_out() -> tuple[Tensor, Tensor]:
    tokens = push(20, seed=1)
    batch = next(SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=HISTORY, seed=0).epoch(300))
    return batch.obs, batch.acts


def fitted(code: str, tokens: Tokens, kind: type[DiffusionWorldModel] = DiffusionWorldModel) -> DiffusionWorldModel:
    torch.manual_seed(0)
    model = kind(obs_shape=SHAPE, act_dim=2, history=HISTORY, net=TOKEN_SIZES["tiny"], action_code=code)
    fit_dynamics([model], [tokens], steps=20, seed=0)
    return model.freeze()


@pytest.mark.parametrize("code", ACTION_CODES)
def test_a_model_that_was_fitted_to_what_happened_passes(code: str) -> None:
    verdict = action_verdict(fitted(code, push(100, seed=2)), *held_out())
    assert verdict.passed and verdict.gain > 1.5
    assert verdict.gain == pytest.approx(verdict.sensitivity**2, rel=0.1)  # what it answers is right


@pytest.mark.parametrize("code", ACTION_CODES)
def test_a_model_that_is_not_told_its_actions_fails(code: str) -> None:
    verdict = action_verdict(fitted(code, push(100, seed=2), Deaf), *held_out())
    assert (verdict.passed, verdict.sensitivity, verdict.gain) == (False, 0.0, 0.0)


@pytest.mark.parametrize("code", ACTION_CODES)
def test_a_model_that_was_fitted_to_unrelated_actions_fails_though_it_answers_to_them(code: str) -> None:
    verdict = action_verdict(fitted(code, unrelated(push(300, seed=2))), *held_out())
    assert not verdict.passed and verdict.sensitivity > 0


def test_the_verdict_turns_at_the_minimum_and_is_loud_where_it_is_bad() -> None:
    good, bad = ActionVerdict(0.3, ACTION_GAIN), ActionVerdict(0.3, ACTION_GAIN - 1e-6)
    assert good.passed and not bad.passed and not ActionVerdict(0.3, float("nan")).passed
    assert str(good) == "action gain 0.05, sensitivity 0.30"
    assert str(bad) == "IT IGNORES ITS ACTIONS, gain must be at least 0.05: action gain 0.05, sensitivity 0.30"
