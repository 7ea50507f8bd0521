"""A point that is pushed over a line of eight pixels; a whole simulated environment in numpy."""

import os
import signal
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from worldrl.types import Array

REACH = 0.08
MAX_STEPS = 12


class PointMass(gym.Env[dict[str, Array], Array]):
    """Push a point to a goal. State: position, velocity, steps; the goal is a model field, the colour a parameter."""

    objects = ("point", "goal")

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
                "proprio": spaces.Box(-np.inf, np.inf, (2,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._state = np.zeros(3)
        self._goal = np.zeros(1)
        self._shade = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        super().reset(seed=seed)
        self._state[:] = self.np_random.uniform(-1, -0.3), 0.0, 0.0
        self._goal = self.np_random.uniform(0.2, 1.0, 1)
        self._shade = int(self.np_random.integers(50, 200))
        return self._observe(), {"success": self._solved()}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        position, velocity, age = self._state
        velocity = 0.5 * velocity + 0.2 * float(action[0]) + 0.01 * float(action[1])
        self._state[:] = position + velocity, velocity, age + 1  # in place, as a simulator does
        rew = -abs(self._state[0] - self._goal[0])
        return self._observe(), float(rew), False, bool(age + 1 >= MAX_STEPS), {"success": self._solved()}

    def labels(self) -> Array:
        labels = np.zeros((8, 8), np.uint8)
        labels[:, self._column(self._goal[0])] = 2
        labels[3:5, self._column(self._state[0])] = 1
        return labels

    def positions(self) -> Array:
        return np.array([[self._state[0], 0.0, 0.0], [self._goal[0], 0.0, 0.0]])

    def state(self) -> Array:
        return self._state

    def fields(self) -> dict[str, Array]:
        return {"goal": self._goal}

    def params(self) -> dict[str, Any]:
        return {"shade": self._shade}

    def restore(self, state: Array, fields: dict[str, Array], params: dict[str, Any]) -> dict[str, Array]:
        self._state, self._goal, self._shade = np.array(state), np.array(fields["goal"]), params["shade"]
        return self._observe()

    def _solved(self) -> bool:
        return bool(abs(self._state[0] - self._goal[0]) < REACH)

    def _observe(self) -> dict[str, Array]:
        image = np.full((8, 8, 3), self._shade, np.uint8)
        image[self.labels() == 1] = (255, 0, int(100 * abs(self._state[1])) % 256)
        image[self.labels() == 2] = (0, 255, 0)
        return {"image": image, "proprio": self._state[:2].astype(np.float32)}

    @staticmethod
    def _column(position: float) -> int:
        return int(np.clip(4 + 4 * position, 0, 7))


def seek(observations: list[dict[str, Array]], envs: list[gym.Env], slots: Array) -> Array:
    """Push towards the goal, which only the simulator knows."""
    goals = [env.unwrapped.fields()["goal"][0] for env in envs]
    return np.array(
        [[np.clip(2 * (g - o["proprio"][0]), -1, 1), 0.0] for g, o in zip(goals, observations, strict=True)]
    )


class Noisy:
    """Push at random, with a random stream for each slot that begins with the episode's seed."""

    def __init__(self) -> None:
        self.streams: dict[int, np.random.Generator] = {}

    def begin(self, slot: int, env: gym.Env, seed: int) -> None:
        self.streams[slot] = np.random.default_rng(seed)

    def act(self, observations: list[dict[str, Array]], envs: list[gym.Env], slots: Array) -> Array:
        return np.stack([self.streams[slot].uniform(-1, 1, 2) for slot in slots])


class Trouble(Noisy):
    """An actor that comes to grief in the episode of seed 3, in the way that the environment variable TROUBLE says."""

    def begin(self, slot: int, env: gym.Env, seed: int) -> None:
        super().begin(slot, env, seed)
        trouble = os.environ["TROUBLE"]
        if seed != 3:
            return
        if trouble == "raise":
            raise RuntimeError("out of ideas")
        if trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
