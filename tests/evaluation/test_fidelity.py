"""Fidelity is measured right on worlds whose answers are known."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from worldrl.errors import DataError
from worldrl.evaluation.fidelity import Replay, hallucinated_success, judged_successful, one_step_error, rollout_error
from worldrl.evaluation.heeding import action_sensitivity, action_verdict
from worldrl.types import Imagined, Starts

T, A, OBS = 2, 2, (2, 2)
"""History, action size, and observations of two tokens of two numbers."""


def walk(obs: Tensor, act: Tensor) -> Tensor:
    """The true world: the first token moves by the action, the second rests."""
    return obs + torch.stack([act, torch.zeros_like(act)], dim=1)


@dataclass
class World:
    """A world that answers with ``step(newest observation, newest action)`` and a success where it exceeds two."""

    step: Callable[[Tensor, Tensor], Tensor] = walk
    jitter: float = 0.0
    history: int = T
    obs_shape: tuple[int, ...] = OBS
    act_dim: int = A
    success_threshold: float = 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        b = len(obs)
        assert obs.shape == (b, T, *OBS)
        assert acts.shape == (b, T, A)
        assert noise.shape == (b, *OBS)
        assert choice.shape == (b,)
        assert choice.min() >= 0
        assert choice.max() < 1
        nxt = self.step(obs[:, -1], acts[:, -1]) + self.jitter * noise
        return Imagined(nxt, (nxt[:, 0, 0] > 2).float(), torch.zeros(b))


def record(b: int = 64, t: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    acts = torch.randn(b, t, A, generator=rng)
    obs = [torch.randn(b, *OBS, generator=rng)]
    for i in range(t):
        obs.append(walk(obs[-1], acts[:, i]))
    return torch.stack(obs, dim=1), acts


def replay(pushes: list[list[float]], steps: list[int] | None = None) -> Replay:
    """Episodes that start at zero and push the first number."""
    m = len(pushes)
    acts = torch.zeros(m, len(pushes[0]), A)
    acts[..., 0] = torch.tensor(pushes)
    starts = Starts(torch.zeros(m, T, *OBS), torch.zeros(m, T - 1, A))
    return Replay(starts, acts, None if steps is None else torch.tensor(steps))


def test_the_true_world_has_no_error() -> None:
    result = one_step_error(World(), [record(seed=0), record(seed=1)])
    torch.testing.assert_close(result.model, torch.zeros(OBS).double())
    assert float(result.r2[result.moving].mean()) == pytest.approx(1.0)
    assert result.skill == pytest.approx(1.0)


def test_a_resting_object_is_left_out_of_the_score() -> None:
    result = one_step_error(World(jitter=0.1), [record()])
    assert result.moving.tolist() == [[True, True], [False, False]]
    assert result.r2[1].isnan().all()
    assert float(result.r2[result.moving].mean()) == pytest.approx(1 - 0.1**2, abs=0.005)


def test_repeating_the_last_observation_explains_none_of_the_change() -> None:
    obs, acts = record()
    result = one_step_error(World(lambda obs, _: obs), [(obs, acts)])
    torch.testing.assert_close(result.model, result.repeat_last)
    assert result.skill == pytest.approx(0.0)
    assert -0.05 < float(result.r2[result.moving].mean()) <= 0
    assert float(result.repeat_last[0].mean()) == pytest.approx(float(acts[:, 1:].square().mean()), rel=1e-5)
    assert (result.mean[0] > result.repeat_last[0]).all()


def test_the_mean_is_that_of_all_the_targets() -> None:
    obs, acts = record()
    targets = obs[:, T:].double()
    mean = (targets - targets.mean(dim=(0, 1))).square().mean(dim=(0, 1))
    torch.testing.assert_close(one_step_error(World(), [(obs, acts)]).mean, mean)
    halves = [(obs[:20], acts[:20]), (obs[20:], acts[20:])]
    torch.testing.assert_close(one_step_error(World(), halves).mean, mean)


def test_a_seed_gives_the_same_figure_and_another_seed_another() -> None:
    figures = [one_step_error(World(jitter=0.1), [record()], seed=seed).skill for seed in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]


def test_nothing_that_moves_is_refused() -> None:
    still = torch.zeros(4, T + 1, *OBS), torch.zeros(4, T, A)
    with pytest.raises(DataError, match="batches must hold movement"):
        one_step_error(World(), [still])
    with pytest.raises(DataError, match="obs must change in the last step"):
        action_sensitivity(World(), *still)
    with pytest.raises(DataError, match="batches must hold at least 1 segment, got 0"):
        one_step_error(World(), [])


def test_a_constant_error_grows_with_the_square_of_the_steps() -> None:
    obs, acts = record()
    result = rollout_error(World(lambda obs, act: walk(obs, act) + 0.1), obs, acts, horizon=4)
    torch.testing.assert_close(result.model, 0.01 * torch.tensor([1.0, 4.0, 9.0, 16.0]).double(), rtol=1e-4, atol=0)
    change = (obs[:, T] - obs[:, T - 1]).square().mean()
    torch.testing.assert_close(result.repeat_last[0], change.double())
    assert result.useful_steps == 4


def test_the_useful_steps_end_where_no_change_would_be_better() -> None:
    obs = torch.zeros(1, 6, *OBS)
    obs[0, :, 0, 0] = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 3.0])
    world = World(lambda obs, _: obs + torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    result = rollout_error(world, obs, torch.zeros(1, 5, A), horizon=4)
    assert result.useful_steps == 1
    torch.testing.assert_close(result.model, torch.tensor([0.0, 1.0, 9.0, 1.0]).double() / 4)


def test_the_true_world_hears_the_action_and_a_deaf_one_does_not() -> None:
    obs, acts = record(b=256)
    assert action_sensitivity(World(), obs, acts) == pytest.approx(2**0.5, abs=0.15)
    assert action_sensitivity(World(lambda obs, _: obs + 0.3, jitter=0.5), obs, acts) == 0
    half = World(lambda obs, act: walk(obs, act / 2))
    assert action_sensitivity(half, obs, acts) == pytest.approx(action_sensitivity(World(), obs, acts) / 2)


@pytest.mark.parametrize(
    ("step", "gain"),
    [
        (walk, 2),  # with another's action it errs by the difference of two, whose variances add up
        (lambda obs, _: obs + 0.3, 0),
        (lambda obs, act: walk(obs, act.flip(1)), 0),  # the action of the other dimension says nothing
        (lambda obs, act: walk(obs, -act), -2),  # with its own action it errs by twice that, a variance of four
    ],
)
def test_only_a_right_answer_to_the_action_counts(step: Callable[[Tensor, Tensor], Tensor], gain: int) -> None:
    verdict = action_verdict(World(step, jitter=0.5), *record(b=40_000, t=T))
    assert verdict.gain == pytest.approx(gain, abs=0.04)
    assert verdict.passed is (gain == 2)


def test_no_row_keeps_its_own_action() -> None:
    obs, acts = record(b=2)
    seen = [action_sensitivity(World(), obs, acts, seed=seed) for seed in range(5)]
    assert min(seen) == max(seen) > 0


def test_made_up_and_recalled_successes_are_counted() -> None:
    failed = replay([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0], [1.0, -1.0, 1.5], [0.9, 0.9, 0.0]])
    succeeded = replay([[1.0, 1.0, 1.0], [3.0, -3.0, 0.0]])
    honest = hallucinated_success(World(), failed=failed, succeeded=succeeded)
    assert (honest.hallucinated, honest.recalled) == (0.0, 1.0)
    eager = World(lambda obs, act: walk(obs, 1.5 * act))
    assert hallucinated_success(eager, failed=failed, succeeded=succeeded).hallucinated == 0.75
    timid = World(lambda obs, act: walk(obs, 0.69 * act))
    assert hallucinated_success(timid, failed=failed, succeeded=succeeded).recalled == 1.0
    shy = World(lambda obs, act: walk(obs, 0.6 * act))
    assert hallucinated_success(shy, failed=failed, succeeded=succeeded).recalled == 0.0


def test_padding_after_an_episode_cannot_make_it_a_success() -> None:
    pushes = [[1.0, 0.5, 9.0], [1.0, 1.5, 9.0]]
    assert judged_successful(World(), replay(pushes, steps=[2, 2])).tolist() == [False, True]
    assert judged_successful(World(), replay(pushes)).tolist() == [True, True]


@pytest.mark.parametrize(
    ("obs", "acts", "message"),
    [
        ((4, 3, 2, 2), (4, 2, 3), r"acts must be \(b, t, 2\), got \(4, 2, 3\)"),
        ((4, 3, 2, 2), (8,), r"acts must be \(b, t, 2\), got \(8,\)"),
        ((4, 2, 2, 2), (4, 2, 2), r"obs must be \(4, 3, 2, 2\), one more than acts, got \(4, 2, 2, 2\)"),
        ((4, 2, 2, 2), (4, 1, 2), "acts must be at least 2 steps long, got 1"),
    ],
)
def test_segments_of_another_shape_are_refused(obs: tuple[int, ...], acts: tuple[int, ...], message: str) -> None:
    segments = torch.zeros(obs), torch.zeros(acts)
    with pytest.raises(ValueError, match=message):
        one_step_error(World(), [segments])
    with pytest.raises(ValueError, match=message):
        action_sensitivity(World(), *segments)
    with pytest.raises(ValueError, match=message):
        rollout_error(World(), *segments, horizon=1)


def test_other_wrong_input_is_refused() -> None:
    obs, acts = record(b=1)
    with pytest.raises(ValueError, match="horizon must be at least 1, got 0"):
        rollout_error(World(), obs, acts, horizon=0)
    with pytest.raises(ValueError, match="acts must be at least 7 steps long, got 6"):
        rollout_error(World(), obs, acts, horizon=6)
    with pytest.raises(ValueError, match="obs must have at least 2 rows"):
        action_sensitivity(World(), obs, acts)
    good = replay([[1.0]])
    with pytest.raises(ValueError, match=r"starts\.obs must be \(1, 2, 2, 2\), got \(1, 1, 2, 2\)"):
        judged_successful(World(), Replay(Starts(good.starts.obs[:, 1:], good.starts.acts), good.acts))
    with pytest.raises(ValueError, match=r"starts\.acts must be \(1, 1, 2\), got \(1, 0, 2\)"):
        judged_successful(World(), Replay(Starts(good.starts.obs, good.starts.acts[:, 1:]), good.acts))
    with pytest.raises(ValueError, match=r"steps must be \(1,\), got \(2,\)"):
        judged_successful(World(), Replay(good.starts, good.acts, torch.ones(2)))
    with pytest.raises(ValueError, match=r"acts must be \(m, s, 2\), m and s at least 1, got \(0, 1, 2\)"):
        judged_successful(World(), Replay(good.starts, good.acts[:0]))
