"""What happens in one environment depends on its seed and on nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.types import Array, Imagined, Starts

D, A, T = 3, 2, 4


class Drift:
    """A world that adds its action, its noise and its choice of member, and never ends."""

    history, obs_shape, act_dim, success_threshold = T, (D,), A, 0.5

    def __init__(self) -> None:
        self.seen: list[tuple[Tensor, Tensor]] = []

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        self.seen.append((noise.clone(), choice.clone()))
        nxt = obs[:, -1].clone()
        nxt[:, 1:] += acts[:, -1] + noise[:, 1:] + choice[:, None]
        return Imagined(nxt, torch.zeros_like(choice), torch.zeros_like(choice))


def starts() -> Starts:
    obs = torch.zeros(5, T, D)
    obs[:, :, 2] = 100.0 * torch.arange(5)[:, None]
    return Starts(obs, torch.zeros(5, T - 1, A))


def make(num_envs: int = 3, model: Drift | None = None, **options: Any) -> ImaginedVectorEnv:
    return ImaginedVectorEnv(model or Drift(), starts(), num_envs=num_envs, **{"horizon": 100, **options})


def rollout(env: ImaginedVectorEnv, seed: Any, acts: Array) -> Array:
    obs, _ = env.reset(seed=seed)
    return np.stack([obs, *(env.step(act)[0] for act in acts)])


def actions(steps: int, n: int) -> Array:
    return np.random.default_rng(0).uniform(-1, 1, (steps, n, A)).astype(np.float32)


@pytest.mark.fault(44)
def test_the_same_seed_gives_the_same_rollout_and_another_seed_another() -> None:
    acts = actions(10, 4)
    first, second = (rollout(make(4, horizon=3), 7, acts) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, rollout(make(4, horizon=3), 8, acts))


@pytest.mark.fault(44)
def test_an_environment_does_not_depend_on_how_many_there_are() -> None:
    acts = actions(10, 8)
    few, many = (rollout(make(n, horizon=3), 7, acts[:, :n]) for n in (4, 8))
    np.testing.assert_array_equal(few, many[:, :4])
    assert len(np.unique(many[1, :, 1])) == 8  # and yet no two share their noise


@pytest.mark.fault(44)
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_an_environment_does_not_depend_on_when_the_others_end(mode: str) -> None:
    acts = actions(12, 3)
    calm, wild = acts.copy(), acts.copy()
    calm[:, 1:], wild[:, 1:] = 0.0, 1.0
    first, second = (
        rollout(ImaginedVectorEnv(Ending(), starts(), num_envs=3, horizon=5, autoreset_mode=mode), 3, a)
        for a in (calm, wild)
    )
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    assert not np.array_equal(first[:, 1], second[:, 1])


class Ending(Drift):
    """A drift that succeeds as soon as both actions are 1, and never else."""

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        out = super().imagine(obs, acts, noise=noise, choice=choice)
        return Imagined(out.obs, (acts[:, -1].min(dim=1).values >= 1.0).float(), out.disagreement)


def test_resetting_one_environment_leaves_the_chance_of_the_others_alone() -> None:
    acts = actions(6, 3)
    whole, parted = make(autoreset_mode="Disabled"), make(autoreset_mode="Disabled")
    whole.reset(seed=1), parted.reset(seed=1)
    for act in acts:
        parted.reset(seed=9, options={"reset_mask": np.array([False, True, False])})
        np.testing.assert_array_equal(whole.step(act)[0][[0, 2]], parted.step(act)[0][[0, 2]])


def test_a_list_seeds_each_environment_as_a_single_one_would_be() -> None:
    acts = actions(6, 3)
    batch = rollout(make(), [4, 5, 6], acts)
    for i, seed in enumerate((4, 5, 6)):
        np.testing.assert_array_equal(batch[:, i : i + 1], rollout(make(1), seed, acts[:, i : i + 1]))


def test_without_a_seed_chance_goes_on_and_two_environments_differ() -> None:
    one, two = make(), make()
    assert not np.array_equal(rollout(one, None, actions(1, 3)), rollout(two, None, actions(1, 3)))
    one.reset(seed=0), two.reset(seed=0)
    np.testing.assert_array_equal(rollout(one, None, actions(3, 3)), rollout(two, [None] * 3, actions(3, 3)))
    assert not np.array_equal(rollout(one, None, actions(1, 3)), rollout(one, None, actions(1, 3)))


def test_a_chosen_start_changes_the_start_and_nothing_else() -> None:
    env, model = make(2, drawn := Drift()), Drift()
    env.reset(seed=0)
    env.step(actions(1, 2)[0])
    other = make(2, model)
    obs, _ = other.reset(seed=0, options={"start": np.array([4, 1])})
    assert obs[:, 2].tolist() == [400.0, 100.0]
    other.step(actions(1, 2)[0])
    torch.testing.assert_close(model.seen[0], drawn.seen[0], rtol=0, atol=0)


def test_starts_are_all_drawn() -> None:
    obs, _ = make(64).reset(seed=0)
    assert set(obs[:, 2]) == {0.0, 100.0, 200.0, 300.0, 400.0}


def test_noise_is_standard_normal_and_choice_uniform() -> None:
    model = Drift()
    rollout(make(64, model), 0, actions(60, 64))
    noise, choice = (torch.cat([seen[i] for seen in model.seen]) for i in (0, 1))
    assert noise.shape == (3840, D) and choice.shape == (3840,)
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    assert choice.min() >= 0 and choice.max() < 1 and abs(choice.mean() - 0.5) < 0.02


@pytest.mark.gpu
def test_a_gpu_sees_the_same_chance() -> None:
    acts = actions(8, 4)
    on_cpu, on_gpu = (rollout(make(4, horizon=3, device=device), 7, acts) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cpu, on_gpu, rtol=1e-5)
