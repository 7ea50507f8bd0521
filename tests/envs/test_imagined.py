"""An imagined environment steps a world model, pays for success and ends where the data ends."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from torch import Tensor

from worldrl.envs.guards import Guards
from worldrl.envs.imagined import ImaginedEnv, ImaginedVectorEnv
from worldrl.errors import ConfigError
from worldrl.types import Array, Imagined, Starts

D, A, T = 3, 2, 4


class Drift:
    """A world whose first number counts steps; the rest adds the action, its noise and its choice of member.

    Success is certain from ``goal`` on; without noise, disagreement is the second number.
    """

    history, obs_shape, act_dim, success_threshold = T, (D,), A, 0.5

    def __init__(self, goal: float = 1e9, noise: float = 1.0) -> None:
        self.goal, self.noise = goal, noise
        self.seen: list[tuple[Tensor, Tensor]] = []

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        self.seen.append((obs.clone(), acts.clone()))
        nxt = obs[:, -1].clone()
        nxt[:, 0] += 1
        nxt[:, 1:] += acts[:, -1] + self.noise * (noise[:, 1:] + choice[:, None])
        far = nxt[:, 1].abs() if self.noise == 0 else torch.zeros_like(choice)
        return Imagined(nxt, (nxt[:, 0] >= self.goal).float(), far)


def starts(m: int = 5) -> Starts:
    obs = torch.zeros(m, T, D)
    obs[:, :, 2] = 100.0 * torch.arange(m)[:, None]
    return Starts(obs, torch.zeros(m, T - 1, A))


def make(num_envs: int = 3, model: Drift | None = None, **options: Any) -> ImaginedVectorEnv:
    return ImaginedVectorEnv(model or Drift(), starts(), num_envs=num_envs, **{"horizon": 100, **options})


def still(n: int = 3) -> Array:
    return np.zeros((n, A), np.float32)


def rollout(env: ImaginedVectorEnv, seed: Any, acts: Array) -> Array:
    obs, _ = env.reset(seed=seed)
    return np.stack([obs, *(env.step(act)[0] for act in acts)])


def actions(steps: int, n: int) -> Array:
    return np.random.default_rng(0).uniform(-1, 1, (steps, n, A)).astype(np.float32)


def test_the_model_sees_the_last_observations_and_actions_in_order() -> None:
    model = Drift(noise=0.0)
    env, acts = make(1, model, guards=Guards(halt=False)), actions(5, 1)
    seen = rollout(env, 0, acts)
    obs, given = model.seen[4]
    np.testing.assert_array_equal(obs[0], seen[1:5, 0])
    np.testing.assert_array_equal(given[0], acts[1:5, 0])


def test_the_first_step_sees_the_recorded_history() -> None:
    recorded = Starts(torch.randn(1, T, D), torch.rand(1, T - 1, A))
    model = Drift()
    env = ImaginedVectorEnv(model, recorded, num_envs=1, horizon=5)
    obs, _ = env.reset()
    env.step(np.full((1, A), 0.25, np.float32))
    np.testing.assert_array_equal(obs, recorded.obs[:, -1])
    np.testing.assert_array_equal(model.seen[0][0], recorded.obs)
    np.testing.assert_array_equal(model.seen[0][1][:, :-1], recorded.acts)
    assert (model.seen[0][1][:, -1] == 0.25).all()


def test_success_pays_one_and_terminates() -> None:
    env = make(model=Drift(goal=2))
    env.reset(seed=0)
    _, rew, end, trunc, info = env.step(still())
    assert not rew.any() and not end.any() and not trunc.any() and not info["success"].any()
    _, rew, end, trunc, info = env.step(still())
    assert (rew == 1.0).all() and end.all() and not trunc.any()
    assert info["success"].all() and info["final_info"]["success"].all() and (info["success_probability"] == 1).all()


def test_a_probability_at_the_threshold_is_a_success() -> None:
    class Sure(Drift):
        success_threshold = 0.9

        def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
            near = torch.tensor([0.9, 0.8999, 0.9001])
            return Imagined(obs[:, -1], near, torch.zeros(3))

    env = make(model=Sure())
    env.reset()
    assert env.step(still())[1].tolist() == [1.0, 0.0, 1.0]


def test_a_halt_pays_nothing_terminates_and_wins_over_success() -> None:
    env = make(model=Drift(goal=1, noise=0.0))
    env.reset(seed=0)
    env._obs[1, -1, 1] = 5.0  # only the second is far from the data
    _, rew, end, trunc, info = env.step(still())
    assert rew.tolist() == [1.0, 0.0, 1.0] and end.all() and not trunc.any()
    assert info["halted"].tolist() == [False, True, False] and info["success"].tolist() == [True, False, True]
    assert info["final_info"]["disagreement"].tolist() == [0.0, 5.0, 0.0]


def test_disagreement_of_exactly_one_does_not_halt_and_halt_can_be_switched_off() -> None:
    for size, halt, halted in ((1.0, True, False), (1.01, True, True), (9.0, False, False)):
        env = make(model=Drift(noise=0.0), guards=Guards(halt=halt))
        env.reset(seed=0)
        env._obs[:, -1, 1] = size
        _, _, end, _, info = env.step(still())
        assert end.all() == info["halted"].all() == halted


def test_the_horizon_truncates_unless_the_step_terminates() -> None:
    for goal, truncated in ((9, True), (3, False)):
        env = make(model=Drift(goal=goal), horizon=3)
        env.reset(seed=0)
        flags = [env.step(still())[2:4] for _ in range(3)]
        assert [(bool(e.all()), bool(t.all())) for e, t in flags] == [(False, False)] * 2 + [(not truncated, truncated)]


def test_a_returned_observation_is_the_callers_own() -> None:
    env, twin = make(autoreset_mode="Disabled"), make(autoreset_mode="Disabled")
    obs, _ = env.reset(seed=0)
    twin.reset(seed=0)
    obs[:] = 1e6
    np.testing.assert_array_equal(kept := env.step(still())[0], twin.step(still())[0])
    before = kept.copy()
    env.reset(options={"reset_mask": np.array([True, False, False])})
    np.testing.assert_array_equal(kept, before)


def test_counts_the_steps_it_imagines() -> None:
    env = make(horizon=2, autoreset_mode="NextStep")
    rollout(env, 0, actions(3, 3))
    assert env.imagined_steps == 6  # the third call only resets


def test_renders_what_the_observations_show() -> None:
    def decode(obs: Tensor) -> Array:
        return obs[:, 2].div(100).to(torch.uint8)[:, None, None, None].expand(-1, 4, 4, 3).numpy()

    env = make(decode=decode, render_mode="rgb_array")
    env.reset(options={"start": [3, 0, 2]})
    frames = env.render()
    assert isinstance(frames, tuple) and [frame.shape for frame in frames] == [(4, 4, 3)] * 3
    assert [int(frame.max()) for frame in frames] == [3, 0, 2]
    quiet = make()
    quiet.reset()
    assert quiet.render() is None


def test_tensors_are_the_same_figures_without_a_graph() -> None:
    arrays, tensors = make(horizon=2), make(horizon=2, tensors=True)
    np.testing.assert_array_equal(arrays.reset(seed=0)[0], tensors.reset(seed=0)[0])
    for act in actions(2, 3):
        expected, got = arrays.step(act), tensors.step(torch.from_numpy(act).requires_grad_())
        for wanted, tensor in zip(expected[:4], got[:4], strict=True):
            assert isinstance(tensor, Tensor) and not tensor.requires_grad and not tensor.is_inference()
            np.testing.assert_array_equal(wanted, tensor)
    assert got[1].dtype == torch.float32 and got[2].dtype == torch.bool
    np.testing.assert_array_equal(np.stack(expected[4]["final_obs"]), got[4]["final_obs"])
    assert got[4]["_final_obs"].all() and not got[4]["final_info"]["success"].any()


def test_no_graph_grows_through_the_model() -> None:
    class Learned(Drift):
        weight = torch.ones(1, requires_grad=True)

        def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
            out = super().imagine(obs, acts, noise=noise, choice=choice)
            return Imagined(self.weight * out.obs, out.success, out.disagreement)

    env = make(model=Learned(), tensors=True)
    env.reset(seed=0)
    assert not env.step(torch.zeros(3, A))[0].requires_grad


def test_the_single_one_is_the_first_of_many() -> None:
    acts = actions(5, 4)
    batch = rollout(make(4), 7, acts)
    env = ImaginedEnv(Drift(), starts(), horizon=100)
    obs, _ = env.reset(seed=7)
    single = np.stack([obs, *(env.step(act[0])[0] for act in acts)])
    np.testing.assert_array_equal(single, batch[:, 0])


def test_the_single_one_speaks_python_and_ends_for_good() -> None:
    env = ImaginedEnv(Drift(goal=1), starts(), horizon=9)
    obs, info = env.reset(seed=0, options={"start": 2})
    assert obs[2] == 200.0 and info == {}
    _, rew, end, trunc, info = env.step(still(1)[0])
    assert (rew, end, trunc) == (1.0, True, False)
    assert info == {
        "success": True,
        "halted": False,
        "agreed": True,
        "disagreement": 0.0,
        "departure": 0.0,
        "success_probability": 1.0,
    }
    assert type(info["success"]) is bool and type(info["halted"]) is bool
    with pytest.raises(ResetNeeded, match="episode of env 0 is over"):
        env.step(still(1)[0])


class Measured(Drift):
    """A world that knows its data: they end at the count of two."""

    def departure(self, obs: Tensor) -> Tensor:
        return obs[:, 0] / 2


@pytest.mark.parametrize("support", [False, True])
def test_departure_is_measured_where_support_is_guarded_and_ends_there(support: bool) -> None:
    env = make(model=Measured(), guards=Guards(support=support))
    env.reset(seed=0)
    for step in (1, 2):
        *_, info = env.step(still())
        assert info["departure"].tolist() == [step / 2 * support] * 3
    *_, end, _, info = env.step(still())
    assert end.tolist() == [support] * 3
    assert not support or info["final_info"]["halted"].all()


def test_support_cannot_be_guarded_in_a_world_that_knows_of_none() -> None:
    with pytest.raises(ConfigError, match=r"guards\.support needs a world that knows its data, got a Drift"):
        make(guards=Guards(support=True))


@pytest.mark.fault(47)
@pytest.mark.filterwarnings("ignore:.*infinity")  # a latent has no bound
def test_the_single_one_passes_both_checkers_and_can_be_made() -> None:
    def decode(obs: Tensor) -> Array:
        return np.zeros((len(obs), 4, 4, 3), np.uint8)

    gym.register("toys/Drift-v0", entry_point=ImaginedEnv)
    try:
        options = {"model": Drift(), "starts": starts(), "horizon": 100, "decode": decode}
        env = gym.make("toys/Drift-v0", render_mode="rgb_array", **options)
        check_env(env.unwrapped, skip_render_check=True)
        env.reset(seed=0)
        assert env.render().shape == (4, 4, 3)
        box = Box(-1e6, 1e6, (D,), np.float32)
        sb3_check_env(ImaginedEnv(Drift(), starts(), horizon=100, observation_space=box))
    finally:
        gym.registry.pop("toys/Drift-v0")


def test_gymnasium_makes_many_and_counts_their_episodes() -> None:
    gym.register("toys/Drift-v1", vector_entry_point=ImaginedVectorEnv)
    try:
        env = gym.make_vec("toys/Drift-v1", num_envs=3, model=Drift(), starts=starts(), horizon=4)
        env = gym.wrappers.vector.RecordEpisodeStatistics(env)
        env.reset(seed=0)
        infos = [env.step(still())[4] for _ in range(4)]
        assert infos[-1]["episode"]["l"].tolist() == [4, 4, 4] and "episode" not in infos[0]
    finally:
        gym.registry.pop("toys/Drift-v1")


def test_an_environment_goes_on_from_its_state_as_if_nothing_had_happened() -> None:
    acts = np.random.default_rng(0).uniform(-1, 1, (30, 3, A)).astype(np.float32)
    env = make(horizon=7)
    env.reset(seed=3)
    for act in acts[:10]:
        env.step(act)
    state = env.state()
    assert all(isinstance(tensor, Tensor) for tensor in state.values())
    wanted = [env.step(act) for act in acts[10:]]
    other = make(horizon=7)
    other.reset(seed=8)
    other.step(acts[0])
    for fresh in (other, make(horizon=7)):
        fresh.restore(state)
        found = [fresh.step(act) for act in acts[10:]]
        for one, two in zip(found, wanted, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
            assert np.array_equal(one[4]["success_probability"], two[4]["success_probability"])
        assert fresh.imagined_steps == env.imagined_steps == 90
