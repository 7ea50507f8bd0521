"""A planner acts in real environments and in imagination from the same memory, and from nothing else."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.agents.planning import Plan, Planner
from worldrl.agents.planning_policy import PlanningActor, PlanningPolicy
from worldrl.agents.refinement import try_out
from worldrl.data.rollout import Outcome, roll_out
from worldrl.data.segments import SegmentSampler
from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.errors import CheckpointError
from worldrl.types import Array, Imagined, Starts

STEP, T, MAX_STEPS = 0.15, 3, 12
GOAL = np.array([0.5, -0.5], np.float32)


class Field:
    """A model of the field below that is right; its success is a probability."""

    history, obs_shape, act_dim, success_threshold = T, (2,), 2, 0.5

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        place = obs[:, -1] + STEP * acts[:, -1]
        apart = (place - torch.from_numpy(GOAL)).square().sum(dim=1)
        return Imagined(place, torch.sigmoid(3.0 - 300.0 * apart), torch.zeros(len(obs)))


class FieldEnv(gym.Env[dict[str, Array], Array]):
    """A point on a field, without labels, state or anything else that a simulator could tell."""

    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    objects = ("point",)

    def __init__(self) -> None:
        self.places: list[list[Array]] = []
        self.acts: list[list[Array]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.2, 0.2, 2).astype(np.float32)
        self.places.append([self.place])
        self.acts.append([])
        return self._observe(), {"success": False}

    def step(self, action: Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = self.place + np.float32(STEP) * action
        self.places[-1].append(self.place)
        self.acts[-1].append(action)
        success = bool(((self.place - GOAL) ** 2).sum() < 0.01)
        return self._observe(), 0.0, False, len(self.acts[-1]) >= MAX_STEPS, {"success": success}

    def _observe(self) -> dict[str, Array]:
        return {"image": np.zeros((2, 2, 3), np.uint8), "proprio": self.place}


class Proprio:
    """A pipeline whose observation is the proprioception."""

    def __init__(self, masks: str = "none") -> None:
        self.masks, self.objects = masks, ("point", "goal")
        self.labelled = self.objects

    def __call__(self, frames: Any, proprio: Array, labels: Any) -> Array:
        return proprio


class Watched(Planner):
    """A planner that keeps what it is asked to plan from."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.histories: list[Starts] = []
        self.keys: list[Any] = []

    def plan(self, obs: Tensor, acts: Tensor, *, last: Tensor | None = None, keys: Array | None = None) -> Plan:
        self.histories.append(Starts(obs, acts))
        self.keys += [] if keys is None else keys.tolist()
        return super().plan(obs, acts, last=last, keys=keys)


def make(planner: Planner | None = None, **settings: Any) -> PlanningPolicy:
    return PlanningPolicy(planner or Planner(Field(), **{"horizon": 6, "samples": 48, "elites": 8, **settings}))


def play(policy: PlanningPolicy, seeds: list[int], *, slots: int = 1) -> list[Outcome]:
    return roll_out([FieldEnv() for _ in range(slots)], PlanningActor(policy, Proprio()), seeds=seeds, record=False)


def test_a_right_model_is_enough_to_succeed() -> None:
    outcomes = play(make(), [0, 1, 2, 3], slots=2)
    assert all(outcome.success for outcome in outcomes)
    assert max(outcome.length for outcome in outcomes) <= 7


def test_the_history_is_that_of_recorded_episodes_from_the_first_step_to_the_last() -> None:
    env, planner = FieldEnv(), Watched(Field(), horizon=2, samples=4, elites=2, iterations=1)
    roll_out([env], PlanningActor(make(planner), Proprio()), seeds=[3, 4], record=False)
    acts = [np.stack(episode) for episode in env.acts]
    success = [np.zeros(len(episode) + 1, bool) for episode in acts]
    places = [np.stack(episode) for episode in env.places]
    recorded = SegmentSampler(places, acts, success, history=T, seed=0).starts(first_only=False)
    assert torch.equal(torch.cat([history.obs for history in planner.histories]), recorded.obs)
    assert torch.equal(torch.cat([history.acts for history in planner.histories]), recorded.acts)
    assert planner.keys == [
        [seed, step] for seed, episode in zip((3, 4), acts, strict=True) for step in range(len(episode))
    ]


@pytest.mark.parametrize("slots", [2, 5])
def test_what_happens_does_not_depend_on_the_number_of_slots(slots: int) -> None:
    seeds = [5, 3, 8, 1, 0]
    assert play(make(), seeds, slots=slots) == play(make(), seeds)


def test_the_chance_of_an_episode_follows_its_seed_and_its_step() -> None:
    policy, first = make(), np.zeros((3, 2), np.float32)
    acts, memory = policy.choose(policy.begin(first, seeds=[7, 8, 7]))
    assert np.array_equal(acts[0], acts[2]) and np.abs(acts[0] - acts[1]).max() > 0.01
    assert memory.keys.tolist() == [[7, 1], [8, 1], [7, 1]]
    again, _ = policy.choose(policy.begin(first, seeds=[7, 8, 7])._replace(keys=memory.keys))
    assert np.abs(again[0] - acts[0]).max() > 0.01


def test_the_last_plan_is_taken_up_again() -> None:
    policy = make(sigma=1e-6, iterations=1)
    memory = policy.begin(np.zeros((1, 2), np.float32), seeds=[0])
    plan = np.tile(np.linspace(0.1, 0.6, 6, dtype=np.float32)[None, :, None], (1, 1, 2)) * np.array([1, -1], np.float32)
    acts, memory = policy.choose(memory._replace(plan=plan))
    np.testing.assert_allclose(acts[0], plan[0, 1], atol=1e-4)
    np.testing.assert_allclose(memory.plan[0, :5], plan[0, 1:], atol=1e-4)


def test_it_plans_in_imagination_too_and_begins_anew_where_an_episode_does() -> None:
    far = torch.tensor([[0.0, 0.0], [0.45, -0.45]])[:, None].repeat(1, T, 1)
    env = ImaginedVectorEnv(Field(), Starts(far, torch.zeros(2, T - 1, 2)), num_envs=2, horizon=MAX_STEPS)
    planner = Watched(Field(), horizon=6, samples=48, elites=8)
    trial = try_out(env, make(planner), seed=0)
    assert trial.success == 1.0 and trial.lengths[1] < trial.lengths[0] <= 6
    begun = planner.histories[trial.lengths[1]]
    assert (begun.acts[1] == 0).all() and (begun.obs[1] == begun.obs[1, -1]).all()  # its second episode
    assert (begun.acts[0] != 0).any()


def test_a_task_with_other_objects_is_refused_where_their_masks_are_used() -> None:
    with pytest.raises(CheckpointError, match="made for the objects point, goal, this task has point"):
        PlanningActor(make(), Proprio("simulator")).begin(0, FieldEnv(), 0)
    PlanningActor(make(), Proprio("none")).begin(0, FieldEnv(), 0)
