"""What a policy does in imagination is kept, start by start."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldrl.agents.imagination import imagine_run
from worldrl.agents.refinement import try_out
from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.types import Array, Imagined, Starts


class Line:
    """A world of one number, to which the action is added; from 2 on it is a success, below -2 it has left the data."""

    history, obs_shape, act_dim, success_threshold = 1, (1,), 1, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        nxt = obs[:, -1] + acts[:, -1]
        return Imagined(nxt, (nxt[:, 0] >= 2).float(), 2.0 * (nxt[:, 0] < -2))


class Outward:
    """Pushes away from zero by half, or a random share of it, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, list[bool]]] = []

    def predict(
        self, observation: Array, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Array, Any]:
        self.asked.append((state, episode_start.tolist()))
        share = 1.0 if deterministic else torch.rand(len(observation), 1).numpy()
        return 0.5 * np.sign(observation) * share, (state or 0) + 1


def env(*places: float, horizon: int = 4) -> ImaginedVectorEnv:
    obs = torch.tensor(places)[:, None, None]
    starts = Starts(obs, torch.zeros(len(places), 0, 1))
    return ImaginedVectorEnv(Line(), starts, num_envs=len(places), horizon=horizon)


def test_each_start_ends_in_its_own_way_and_time() -> None:
    run = imagine_run(env(1.2, 0.0, -1.2, 0.1), Outward(), seed=0)
    assert run.success.tolist() == [True, False, False, True]
    assert run.halted.tolist() == [False, False, True, False]
    assert run.lengths.tolist() == [2, 4, 2, 4]
    assert len(run) == 4


def test_actions_are_kept_until_the_end_and_zero_after_it() -> None:
    run = imagine_run(env(1.2, -1.2, 0.1), Outward(), seed=0)
    assert run.acts.dtype == np.float32
    assert run.acts[..., 0].tolist() == [[0.5, 0.5, 0, 0], [-0.5, -0.5, 0, 0], [0.5, 0.5, 0.5, 0.5]]


def test_a_policy_with_a_memory_is_told_where_episodes_begin() -> None:
    policy = Outward()
    imagine_run(env(1.2, 0.1), policy, seed=0)
    assert policy.asked == [(None, [True, True]), (1, [False, False]), (2, [True, False]), (3, [False, False])]


def test_samples_follow_from_the_seed_and_leave_other_chance_alone() -> None:
    places = (0.1, 0.2, -0.3)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    runs = [imagine_run(env(*places), Outward(), seed=seed, deterministic=False) for seed in (0, 0, 1)]
    torch.testing.assert_close(torch.rand(3), expected)
    np.testing.assert_array_equal(runs[0].acts, runs[1].acts)
    assert not np.array_equal(runs[0].acts, runs[2].acts)


def test_a_trial_sums_a_run_up() -> None:
    trial = try_out(env(1.2, 0.0, -1.2, 0.1), Outward(), seed=0)
    assert (trial.success, trial.halted, trial.length) == (0.5, 0.25, 3.0)
    assert trial.wins.tolist() == [True, False, False, True] and trial.lengths.tolist() == [2, 4, 2, 4]
    assert try_out(env(0.0), Outward(), seed=0).length == float("inf")
