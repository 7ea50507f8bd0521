"""Stable-baselines3 sees an imagined environment as one of its own, and learns in it."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor

from worldrl.agents.sb3 import Sb3VecEnv
from worldrl.envs.imagined import ImaginedEnv, ImaginedVectorEnv
from worldrl.types import Array, Imagined, Starts

N = 4


@pytest.fixture(autouse=True)
def _logs_stay_out_of_sight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path))


class Line:
    """A point moves by a quarter of its action; success right of 1, lost left of -0.6."""

    history, obs_shape, act_dim, success_threshold = 2, (1,), 1, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        place = obs[:, -1] + 0.25 * acts[:, -1]
        return Imagined(place, (place[:, 0] > 1).float(), 2.0 * (place[:, 0] < -0.6).float())


def starts(place: float = 0.0) -> Starts:
    return Starts(torch.full((1, 2, 1), place), torch.zeros(1, 1, 1))


def make(n: int = N, horizon: int = 8, place: float = 0.0, **options: Any) -> Sb3VecEnv:
    return Sb3VecEnv(ImaginedVectorEnv(Line(), starts(place), num_envs=n, horizon=horizon, **options))


@pytest.mark.fault(46)
def test_transitions_are_those_of_a_dummy_vec_env() -> None:
    ours = make()
    theirs = DummyVecEnv([lambda: Monitor(ImaginedEnv(Line(), starts(), horizon=8))] * N)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng, met = np.random.default_rng(0), set()
    for _ in range(60):
        act = rng.uniform(-1, 1, (N, 1)).astype(np.float32)
        (*got, infos), (*wanted, their_infos) = ours.step(act), theirs.step(act)
        for mine, its in zip(got, wanted, strict=True):
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its)
        for info, its in zip(infos, their_infos, strict=True):
            met |= {name for name in ("success", "halted", "TimeLimit.truncated") if info[name]}
            same(info, its)
    assert met == {"success", "halted", "TimeLimit.truncated"}


def same(info: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(info) - {"is_success"} == set(wanted)
    for name, value in wanted.items():
        if name == "terminal_observation":
            np.testing.assert_array_equal(info[name], value)
        elif name == "episode":
            assert (info[name]["r"], info[name]["l"]) == (value["r"], value["l"]) and info[name]["t"] >= 0
        else:
            assert info[name] == value and type(info[name]) is type(value)
    assert ("is_success" in info) == ("episode" in info) and info.get("is_success", info["success"]) == info["success"]


def test_takes_any_vector_env_that_resets_in_the_same_step() -> None:
    def single() -> gym.Env[Any, Any]:
        return gym.make("Pendulum-v1", max_episode_steps=3)

    ours = Sb3VecEnv(SyncVectorEnv([single] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    assert ours.reset().shape == (2, 3)
    for _ in range(3):
        obs, _, done, infos = ours.step(np.zeros((2, 1), np.float32))
    assert done.all() and all(info["TimeLimit.truncated"] for info in infos)
    assert not np.array_equal(obs[0], infos[0]["terminal_observation"])


@pytest.mark.fault(46)
@pytest.mark.parametrize(
    ("place", "act", "reward", "truncated"),
    [(0.0, 0.0, 0.99 * 10.0, True), (0.9, 1.0, 1.0, False), (-0.5, -1.0, 0.0, False)],
    ids=["horizon", "success", "halt"],
)
def test_ppo_bootstraps_truncations_only(place: float, act: float, reward: float, truncated: bool) -> None:
    model = PPO("MlpPolicy", make(horizon=1, place=place), n_steps=1, batch_size=N, device="cpu", gamma=0.99)
    with torch.no_grad():  # every state is worth ten, and the action is always the same
        for layer, value in ((model.policy.value_net, 10.0), (model.policy.action_net, act)):
            layer.weight.zero_()
            layer.bias.fill_(value)
        model.policy.log_std.fill_(-20.0)
    _, callback = model._setup_learn(N)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, n_rollout_steps=1)
    np.testing.assert_allclose(model.rollout_buffer.rewards, np.full((1, N), reward), rtol=1e-5)
    assert [info["TimeLimit.truncated"] for info in model.env.step(np.full((N, 1), act))[3]] == [truncated] * N


def test_ppo_learns_to_reach_the_goal_and_logs_its_episodes() -> None:
    torch.set_num_threads(1)
    model = PPO("MlpPolicy", make(16), n_steps=32, batch_size=128, n_epochs=6, learning_rate=3e-3, seed=0, device="cpu")
    before, _ = evaluate_policy(model, make(16), n_eval_episodes=32, deterministic=False)
    model.learn(5120)
    after, _ = evaluate_policy(model, make(16), n_eval_episodes=32, deterministic=False)
    assert before < 0.4 and after > 0.9
    assert np.mean([episode["r"] for episode in model.ep_info_buffer]) > 0.6
    assert np.mean(model.ep_success_buffer) > 0.6
    assert model.env.get_attr("imagined_steps", 0) == [5120]


def test_an_episode_reports_its_return_and_length_once() -> None:
    env = make(horizon=3)
    env.reset()
    reports = [[info.get("episode") for info in env.step(np.zeros((N, 1)))[3]] for _ in range(6)]
    assert [all(reports[step]) for step in range(6)] == [False, False, True] * 2
    assert not any(reports[0] + reports[1] + reports[3] + reports[4])
    assert [(report["r"], report["l"]) for report in reports[2] + reports[5]] == [(0.0, 3)] * 2 * N


class Noisy(Line):
    """A line on which the point is put at random."""

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        return Imagined(0.01 * noise, torch.zeros(len(obs)), torch.zeros(len(obs)))


def test_a_seed_is_used_by_the_next_reset_and_only_once() -> None:
    env = Sb3VecEnv(ImaginedVectorEnv(Noisy(), starts(), num_envs=N, horizon=8))

    def first_step() -> Array:
        env.reset()
        return np.asarray(env.step(np.zeros((N, 1)))[0])

    assert list(env.seed(3)) == [3] * N
    seeded, after = first_step(), first_step()
    env.seed(3)
    np.testing.assert_array_equal(first_step(), seeded)
    np.testing.assert_array_equal(first_step(), after)
    assert not np.array_equal(seeded, after) and len(np.unique(seeded)) == N
    env.seed()
    assert not np.array_equal(first_step(), seeded)


def test_options_reach_the_next_reset() -> None:
    many = Starts(torch.arange(3.0)[:, None, None].repeat(1, 2, 1) / 10, torch.zeros(3, 1, 1))
    env = Sb3VecEnv(ImaginedVectorEnv(Line(), many, num_envs=2, horizon=8))
    env.set_options([{"start": 2}, {"start": 1}])
    np.testing.assert_allclose(env.reset(), [[0.2], [0.1]])
    env.set_options({"start": 1})
    np.testing.assert_allclose(env.reset(), [[0.1], [0.1]])
    assert len({float(env.reset()[0, 0]) for _ in range(20)}) > 1  # used once
    env.set_options([{"start": 2}, {}])
    with pytest.raises(ValueError, match="options must have the same names for every environment"):
        env.reset()


def test_attributes_and_methods_are_those_of_the_environment() -> None:
    env = make(horizon=5)
    assert env.get_attr("horizon") == [5] * N and env.get_attr("horizon", [0, 2]) == [5, 5]
    assert env.has_attr("guards") and not env.has_attr("nothing")
    env.set_attr("horizon", 7)
    assert env.env.horizon == 7
    with pytest.raises(ValueError, match="indices must be all of the environments or None, got 1"):
        env.set_attr("horizon", 9, indices=1)
    env.reset()
    assert env.env_method("render", indices=[1]) == [None]
    assert env.env_is_wrapped(Monitor) == [True] * N and env.env_is_wrapped(gym.wrappers.TimeLimit, 0) == [False]


def test_pictures_are_tiled() -> None:
    def decode(obs: Tensor) -> Array:
        return np.arange(len(obs), dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)

    env = make(decode=decode, render_mode="rgb_array")
    env.reset()
    assert [int(image.max()) for image in env.get_images()] == [0, 1, 2, 3]
    assert env.env_method("render", indices=2)[0].max() == 2
    picture = env.render()
    assert picture.shape == (16, 16, 3) and picture[0, 8, 0] == 1 and picture[8, 0, 0] == 2
    plain = make()
    plain.reset()
    assert plain.get_images() == [None] * N


def test_works_under_the_wrappers_of_stable_baselines3_and_closes() -> None:
    env = VecNormalize(make(horizon=1))
    env.reset()
    assert all("episode" in info for info in env.step(np.ones((N, 1)))[3])
    env.close()
    with pytest.raises(gym.error.ClosedEnvironmentError):
        env.reset()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_refuses_another_autoreset_mode_and_tensors(mode: AutoresetMode) -> None:
    with pytest.raises(ValueError, match="autoreset_mode must be SAME_STEP for stable-baselines3, got"):
        make(autoreset_mode=mode)
    with pytest.raises(ValueError, match="must speak numpy"):
        make(tensors=True)
