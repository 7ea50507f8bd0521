"""The two worlds that are played side by side: the imagined one and the simulator, each with what is seen of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from worldrl.data.replay import enter
from worldrl.data.rollout import AnyEnv
from worldrl.envs.guards import Guards
from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.envs.imagined_inputs import Decode
from worldrl.errors import ConfigError
from worldrl.evaluation.video import Frame
from worldrl.player.moments import Moment
from worldrl.types import Array, Ensemble, WorldModel

Observe = Callable[[Any, AnyEnv], Array]
"""What an environment shows, and the environment itself, to the observation ``(1, *o)`` of a policy."""
ENDLESS = 2**31
"""Steps that the imagined environment would take: where an episode ends is decided here, so that it can go on."""


@dataclass(frozen=True)
class Side:
    """One of the two worlds as it stands.

    Attributes:
        frame: ``(h, w, 3)`` uint8.
        success: Whether its task is solved in it.
        ended: Why its episode is over: ``success``, ``halted`` (imagination has left the data) or ``time``; empty
            while it goes on.
        seconds: That the last step took, its picture included.
    """

    frame: Frame
    success: bool = False
    ended: str = ""
    seconds: float = 0.0


class Dream:
    """An imagined episode that says where training would have ended it, and can go on from there.

    Args:
        model: The world model.
        decode: Draws observations.
        seed: Of its chance, the same in every episode.
        horizon: Steps until an episode's time is over.
        moment: Where the first one begins.

    Attributes:
        obs: The observation ``(1, *o)``.
        side: What is seen.
        success_probability: In ``[0, 1]``.
        disagreement: Of the ensemble, in units of the threshold at which imagination halts; None where there is none.
        steps: Taken since it began.
    """

    def __init__(self, model: WorldModel, decode: Decode | None, *, seed: int, horizon: int, moment: Moment) -> None:
        if decode is None:
            raise ConfigError("world must have a decoder to be looked at, got one without: fit it with decoder_steps.")
        self.model, self.decode, self.seed, self.horizon = model, decode, seed, horizon
        self.begin(moment)

    def begin(self, moment: Moment) -> None:
        """Begin an episode at a moment.

        Raises:
            DataError: If the moment is not of this model.
        """
        env = ImaginedVectorEnv(
            self.model, moment.start, num_envs=1, horizon=ENDLESS, guards=Guards(halt=False, mask=False),
            decode=self.decode, render_mode="rgb_array",
        )  # fmt: skip
        self.obs, _ = env.reset(seed=self.seed)
        self._env, self.steps = env, 0
        self.success_probability = 0.0
        alone = isinstance(self.model, Ensemble) and self.model.members == 1
        self.disagreement: float | None = None if alone else 0.0
        self.side = Side(self._drawn())

    def step(self, act: Array) -> None:
        """Imagine one step under an action ``(a,)``.

        Raises:
            NumericsError: If what the model imagines is not finite.
        """
        began = perf_counter()
        self.obs, *_, info = self._env.step(act[None])
        self.steps += 1
        success, ended = self._judge(info)
        self.side = Side(self._drawn(), success, self.side.ended or ended, perf_counter() - began)

    def _judge(self, info: Mapping[str, Any]) -> tuple[bool, str]:
        """Return whether a step is a success, and why it would have ended an episode under the default guards."""
        figures = [info[name] for name in ("success_probability", "disagreement", "agreed", "departure")]
        threshold = float(self.model.success_threshold)
        facts = Guards().judge(np.array(figures, np.float64), np.array([True]), threshold=threshold)
        self.success_probability = float(facts["success_probability"][0])
        if self.disagreement is not None:
            self.disagreement = float(facts["disagreement"][0])
        if facts["halted"][0]:
            return False, "halted"
        if facts["success"][0]:
            return True, "success"
        return False, "time" if self.steps >= self.horizon else ""

    def _drawn(self) -> Frame:
        frames = self._env.render()
        assert frames is not None
        return frames[0]


class Simulator:
    """The simulator that moments were recorded in, put where imagination begins.

    Args:
        env: An environment of this package; it is used, and closed, from one thread.
        observe: The observation pipeline; None where nobody can look at it but by eye.

    Attributes:
        side: What is seen; None where it could not be put where imagination began.
    """

    def __init__(self, env: AnyEnv, observe: Observe | None = None) -> None:
        self.env, self.observe = env, observe
        self.side: Side | None = None
        self._shown: Any = None
        self._obs: Array | None = None

    @property
    def obs(self) -> Array:
        """The observation ``(1, *o)`` of a policy; computed when it is looked at, for an encoder takes its time.

        Raises:
            DataError: If the pipeline cannot read what the simulator shows.
        """
        assert self.observe is not None and self.side is not None
        if self._obs is None:
            self._obs = self.observe(self._shown, self.env)
        return self._obs

    def begin(self, moment: Moment, *, step: int) -> None:
        """Enter a moment, if it was recorded with the state of the simulator; otherwise there is nothing to see.

        Raises:
            DataError: If the recorded state is not of this simulator.
        """
        self.side = None
        if moment.recorded is not None and moment.recorded.states.shape[1]:
            _, obs = enter(self.env, moment.recorded, step)
            self._show(obs, Side(np.array(obs["image"]), bool(moment.recorded.success[step])))

    def step(self, act: Array) -> None:
        """Take an action ``(a,)``; where its own episode is over the simulator stands still."""
        if self.side is None or self.side.ended:
            return
        began = perf_counter()
        obs, _, end, trunc, info = self.env.step(act.copy())
        ended = "success" if info["success"] else "time" if end or trunc else ""
        self._show(obs, Side(np.array(obs["image"]), bool(info["success"]), ended, perf_counter() - began))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _show(self, shown: Any, side: Side) -> None:
        self._shown, self.side, self._obs = shown, side, None
