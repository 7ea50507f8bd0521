"""A diffusion policy keeps several ways of doing a task, remembers by episode, and acts like every other policy."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.agents.diffusion_cloning import Windows, clone_chunks, warm_average
from worldrl.agents.diffusion_policy import DiffusionPolicy
from worldrl.agents.policy import Origin, PolicyActor, load_policy
from worldrl.agents.refinement import try_out
from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.errors import ConfigError, DataError, NumericsError
from worldrl.types import Array, Imagined, Starts

SHAPE = (2, 3)


def make(**changes: Any) -> DiffusionPolicy:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"horizon": 4, "execute": 2, "past": 2, "width": 64, "depth": 2}
    return DiffusionPolicy(SHAPE, 1, **(settings | changes))


def windows(chunk: Tensor, obs: Tensor, policy: DiffusionPolicy) -> Windows:
    """Return windows in which each of ``n`` observations ``(n, k, d)`` stands still and is answered by one action."""
    rows = torch.arange(len(obs))[:, None].expand(-1, policy.past)
    return Windows(obs, rows, chunk[:, None].expand(-1, policy.horizon, -1))


def counting(length: int, *, first: int) -> tuple[Array, Array]:
    """Return an episode whose observations count up from ``first`` and whose actions from ``first`` hundredths."""
    obs = np.arange(first, first + length + 1, dtype=np.float32).reshape(-1, 1, 1)
    return obs, obs[:-1, 0] / 100


def test_a_window_looks_back_into_its_own_episode_and_plans_to_its_end() -> None:
    cut = Windows.of(*zip(counting(2, first=10), counting(3, first=20), strict=True), past=2, horizon=3)
    assert cut.seen[cut.rows].flatten(1).tolist() == [[10, 10], [10, 11], [20, 20], [20, 21], [21, 22]]
    expected = [[10, 11, 11], [11, 11, 11], [20, 21, 22], [21, 22, 22], [22, 22, 22]]
    torch.testing.assert_close(100 * cut.chunks[..., 0], torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize(
    ("episodes", "message"),
    [(([], []), "must hold a step, got none"), (([np.zeros((3, 1, 1))], [np.zeros((3, 1))]), "got 3 and 3")],
)
def test_episodes_that_cannot_be_cut_are_refused(episodes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Windows.of(*episodes, past=2, horizon=3)


def test_it_plans_by_the_first_numbers_of_proprioception_alone() -> None:
    policy, past, noise = make(proprio=2), torch.randn(3, 2, *SHAPE), torch.randn(3, 4, 1)
    seen, hidden = past.clone(), past.clone()
    seen[:, :, 0, 1] += 1  # the first token is proprioception
    hidden[:, :, 0, 2] += 1
    plan = policy.plan(past, noise)
    assert torch.equal(policy.plan(hidden, noise), plan)
    assert not torch.equal(policy.plan(seen, noise), plan)


def test_two_ways_of_doing_it_stay_two() -> None:
    policy = make()
    ways = torch.where(torch.arange(64) % 2 == 0, 0.7, -0.7)[:, None]
    clone_chunks(policy, windows(ways, torch.zeros(64, *SHAPE), policy), steps=400, batch_size=64, lr=3e-3)
    noise = torch.randn(200, 4, 1, generator=torch.Generator().manual_seed(1))
    plans = policy.plan(torch.zeros(200, 2, *SHAPE), noise)[..., 0]
    assert (plans.abs() - 0.7).abs().median() < 0.1
    assert ((plans.abs() - 0.7).abs() < 0.3).float().mean() > 0.9  # hardly any lie between
    assert 0.25 < (plans > 0).float().mean() < 0.75
    assert (plans.sign() == plans[:, :1].sign()).float().mean() > 0.95  # a plan keeps to one of them


def test_a_simple_expert_is_cloned() -> None:
    policy, obs = make(), torch.randn(300, *SHAPE, generator=torch.Generator().manual_seed(2))
    acts = torch.tanh(obs[:, 1, :1] - obs[:, 0, :1])
    losses: list[float] = []
    last = clone_chunks(
        policy,
        windows(acts, obs, policy),
        steps=400,
        batch_size=64,
        lr=3e-3,
        progress=lambda _, loss: losses.append(loss),
    )
    done, _ = policy.predict(obs.numpy())
    assert np.abs(done - acts.numpy()).mean() < 0.25 * acts.abs().mean()
    assert len(losses) == 400 and last == pytest.approx(sum(losses[360:]) / 40)
    assert not policy.training


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    def weights(seed: int) -> Tensor:
        policy = make()
        obs = torch.randn(30, *SHAPE, generator=torch.Generator().manual_seed(2))
        torch.manual_seed(seed + 77)  # what others drew before does not matter
        clone_chunks(policy, windows(obs[:, 0, :1].tanh(), obs, policy), steps=3, batch_size=8, seed=seed)
        return policy.net.leave.weight

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_the_average_is_short_at_first_and_then_ever_longer() -> None:
    zero, one = torch.zeros(1), torch.ones(1)
    assert warm_average(zero, one, 1).item() == pytest.approx(2**-0.75)
    assert warm_average(zero, one, 15).item() == pytest.approx(1 / 8)
    assert warm_average(zero, one, 10**9).item() == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.fault(43)
def test_a_loss_that_is_no_number_stops_it() -> None:
    policy = make()
    with pytest.raises(NumericsError, match="the denoising loss is nan at step 0"):
        clone_chunks(policy, windows(torch.zeros(8, 1), torch.full((8, *SHAPE), float("nan")), policy), steps=3)


class Diary(DiffusionPolicy):
    """Plans its own count: the first plan is 0.00, 0.01 and so on, the second 0.10, 0.11."""

    def plan(self, past: Tensor, noise: Tensor) -> Tensor:
        """Write down what it is asked, and count."""
        self.asked: list[Tensor] = [*getattr(self, "asked", []), past[:, :, 0, 0]]
        steps = 0.1 * (len(self.asked) - 1) + 0.01 * torch.arange(self.horizon)
        return steps[None, :, None].expand(len(past), -1, -1)


def test_it_takes_the_start_of_a_plan_and_plans_again_from_the_last_observations() -> None:
    policy = Diary(SHAPE, 1, horizon=4, execute=3, past=2)
    memory = policy.begin(0)
    seen = [np.full((1, *SHAPE), i, np.float32) for i in range(5)]
    acts = [policy.act(obs, [memory])[0, 0] for obs in seen]
    np.testing.assert_allclose(acts, [0.00, 0.01, 0.02, 0.10, 0.11], atol=1e-6)
    assert [asked.tolist() for asked in policy.asked] == [[[0, 0]], [[2, 3]]]


def test_an_episode_that_begins_forgets_the_plan_and_the_past_of_the_last() -> None:
    policy = Diary(SHAPE, 1, horizon=4, execute=3, past=2)
    obs = np.array([1.0, 2.0], np.float32)[:, None, None] * np.ones((2, *SHAPE), np.float32)
    _, state = policy.predict(obs)
    acts, _ = policy.predict(10 * obs, state, np.array([False, True]))
    np.testing.assert_allclose(acts[:, 0], [0.01, 0.10], atol=1e-6)
    assert policy.asked[-1].tolist() == [[20, 20]]


class Still:
    """A world in which nothing moves and nothing is solved."""

    history, obs_shape, act_dim, success_threshold = 1, SHAPE, 1, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        return Imagined(obs[:, -1], torch.zeros(len(obs)), torch.zeros(len(obs)))


def test_in_imagination_it_remembers_its_plan_too() -> None:
    policy = Diary(SHAPE, 1, horizon=4, execute=3, past=2)
    env = ImaginedVectorEnv(Still(), Starts(torch.zeros(2, 1, *SHAPE), torch.zeros(2, 0, 1)), num_envs=2, horizon=5)
    trial = try_out(env, policy, seed=0)
    assert trial.lengths.tolist() == [5, 5] and trial.success == 0.0
    assert [len(asked) for asked in policy.asked] == [2, 2]  # at steps 0 and 3


class Numbers:
    """A pipeline whose observation is the proprioception, repeated."""

    masks = "none"

    def __call__(self, frames: Any, proprio: Any, labels: Any) -> Any:
        return np.repeat(proprio[:, None], 2, axis=1)


def drift(policy: DiffusionPolicy, seeds: list[int], *, slots: int) -> dict[int, Array]:
    """Run an episode of seven steps for each seed, in as many slots as are given, and return their actions."""
    actor, waiting, done = PolicyActor(policy, Numbers()), list(seeds), dict[int, Array]()
    running: dict[int, tuple[int, list[Array]]] = {}
    while waiting or running:
        for slot in range(slots):
            if waiting and slot not in running:
                running[slot] = (waiting.pop(0), [])
                actor.begin(slot, SimpleNamespace(), running[slot][0])
        places = {slot: np.float32(seed + sum(acts)) for slot, (seed, acts) in running.items()}
        obs = [{"image": np.zeros((2, 2, 3)), "proprio": np.full(3, place, np.float32)} for place in places.values()]
        acts = actor.act(obs, [SimpleNamespace(unwrapped=None)] * len(obs), np.array(list(running)))
        for slot, act in zip(list(running), acts, strict=True):
            seed, taken = running[slot]
            taken.append(act[0])
            if len(taken) == 7 + seed % 2:  # of different lengths, so that slots fall out of step
                done[seed] = np.array(taken)
                del running[slot]
    return done


def test_an_episode_depends_on_its_seed_and_not_on_slots_or_company() -> None:
    policy, seeds = make().eval(), [5, 2, 8, 1, 4]
    alone, beside = drift(policy, seeds, slots=1), drift(policy, seeds, slots=3)
    assert all(np.allclose(alone[seed], beside[seed], atol=1e-5) for seed in seeds)
    assert not np.allclose(alone[5][:7], drift(policy, [7], slots=1)[7][:7], atol=1e-2)


def test_it_says_the_same_after_a_round_trip_through_the_disk(tmp_path: Path) -> None:
    policy = make(sample_steps=5).eval()
    policy.save_pretrained(tmp_path / "policy", origin=Origin("abc", 10))
    again, origin = load_policy(tmp_path / "policy")
    obs = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
    assert isinstance(again, DiffusionPolicy) and origin == Origin("abc", 10)
    np.testing.assert_array_equal(again.predict(obs)[0], policy.predict(obs)[0])


def test_it_acts_on_frames_too() -> None:
    policy = DiffusionPolicy((3, 16, 16), 2).eval()
    acts, _ = policy.predict(np.zeros((4, 3, 16, 16), np.float32))
    assert acts.shape == (4, 2) and (np.abs(acts) <= 1).all()
    assert policy.gates() is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"execute": 5}, r"execute must be in \[1, horizon\]"),
        ({"execute": 0}, r"execute must be in \[1, horizon\]"),
        ({"past": 0}, "past 1 or more"),
        ({"sample_steps": 101}, r"sample_steps must be in \[1, 100\], got 101"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**wrong)
