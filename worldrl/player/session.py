"""What can be done with an imagined episode while it runs: a machine of states, without a page or a clock."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from worldrl.envs.imagined_inputs import Decode
from worldrl.errors import ConfigError, WorldRLError
from worldrl.player import BY_HAND, IMAGINATION, MUJOCO, PACES, SIGHTS
from worldrl.player.film import Film, free_name, joined
from worldrl.player.moments import Moments
from worldrl.player.sides import Dream, Side, Simulator
from worldrl.player.view import Acting, View
from worldrl.types import Array, WorldModel

LONGEST = 20_000
"""Frames after which a film ends by itself: twenty minutes at the usual pace (our choice)."""


class Session:
    """One imagined episode at a time, driven by hand or by a policy, the simulator beside it under the same actions.

    Chance is the same after every reset: where two episodes from one moment differ, they were driven differently. The
    last of the policies drives at first, and looks at imagination. Where it looks at the simulator, the episode is over
    with that of the simulator, and imagination runs along.

    Args:
        model: The world model.
        moments: Where episodes may begin.
        horizon: Steps until the time of an episode is over.
        decode: Draws observations.
        policies: Who may drive, by name.
        real: The simulator that the moments were recorded in; None for imagination alone.
        films: Folder for films; None if none may be recorded.
        pace: Frames a second.
        rest: The action ``(a,)`` while nobody has given another; zeros if empty.
        seed: Of imagination and policies.

    Attributes:
        playing: Whether it runs.

    Raises:
        ConfigError: If there is nothing to draw with, or a pace that there cannot be.
    """

    def __init__(
        self,
        model: WorldModel,
        moments: Moments,
        *,
        horizon: int,
        decode: Decode | None,
        policies: Mapping[str, Acting] | None = None,
        real: Simulator | None = None,
        films: Path | None = None,
        pace: float = 16.0,
        rest: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        self.moments, self.films, self.seed = moments, films, seed
        self.policies, self.playing = dict(policies or {}), False
        self._film: Film | None = None
        self._saved = self._problem = ""
        self._episode = self._start = 0
        self._beyond, self._looks_at = False, IMAGINATION
        self.pace(pace)
        self._action = np.zeros(model.act_dim, np.float32)
        self._hand = np.array(rest, np.float32) if rest else self._action
        moment = moments.at(0, 0)
        self._dream = Dream(model, decode, seed=seed, horizon=horizon, moment=moment)
        self._real = real
        if self._real is not None:
            self._real.begin(moment, step=0)
        self.drive(next(reversed(self.policies), BY_HAND))

    def reset(self, episode: int, step: int) -> None:
        """Begin at a recorded moment; whether it plays stays as it is.

        Raises:
            ConfigError: If there is no such moment.
            WorldRLError: If a world cannot be put there.
        """
        moment = self.moments.at(episode, step)
        self._dream.begin(moment)
        if self._real is not None:
            self._real.begin(moment, step=step)
        if self._blind():
            self._looks_at = IMAGINATION
        self._episode, self._start, self._problem = episode, step, ""
        self._action = np.zeros_like(self._hand)
        self.drive(self._driver)
        self._shoot()

    def step(self) -> None:
        """Take one step in both worlds.

        Raises:
            ConfigError: If the episode is over.
            WorldRLError: If a world cannot go on.
        """
        if self._is_over():
            ended, mend = self._dream.side.ended, "let it go on past its end"
            if (real := self._leader()) is not None:
                ended, mend = real.ended, "look at imagination"
            raise ConfigError(
                f"step must come before the end of an episode, got one that is over ({ended}): reset it, or {mend}."
            )
        act = self._choose()
        self._dream.step(act)
        if self._real is not None:
            self._real.step(act)
        self._action, self._problem = act, ""
        self._shoot()
        self.playing = self.playing and not self._is_over()

    def play(self) -> None:
        """Let it run; an episode that is over begins again.

        Raises:
            WorldRLError: If it cannot.
        """
        if self._is_over():
            self.reset(self._episode, self._start)
        self.playing, self._problem = True, ""

    def pause(self) -> None:
        """Let it stand."""
        self.playing = False

    def drive(self, by: str) -> None:
        """Let somebody act, with a fresh memory.

        Raises:
            ConfigError: If there is nobody of that name.
        """
        if by != BY_HAND and by not in self.policies:
            known = ", ".join([BY_HAND, *self.policies])
            raise ConfigError(f"by must be one of {known}, got '{by[:40]}': no other policy was found in the run.")
        self._driver = by
        self._memory = None if by == BY_HAND else self.policies[by].begin(self.seed)

    def look(self, at: str) -> None:
        """Let a policy look at imagination or at the simulator, with a fresh memory.

        Raises:
            ConfigError: If there is no such thing to look at.
        """
        if at not in SIGHTS:
            raise ConfigError(f"at must be one of {', '.join(SIGHTS)}, got '{at[:40]}'.")
        if at == MUJOCO and (why := self._blind()):
            raise ConfigError(f"at must be {IMAGINATION} {why}.")
        self._looks_at = at
        self.drive(self._driver)

    def act(self, action: Sequence[float]) -> None:
        """Hold an action ``(a,)`` until the next is given; it is taken while you drive.

        Raises:
            ConfigError: If it has another size or leaves ``[-1, 1]``.
        """
        act = np.array(action, np.float64)
        if act.shape != self._hand.shape or not (np.abs(act) <= 1.0).all():
            got = [round(number, 3) for number in action[:20]]
            raise ConfigError(f"action must be {len(self._hand)} numbers in [-1, 1], got {got}: clip them.")
        self._hand = act.astype(np.float32)

    def go_on(self, on: bool) -> None:
        """Say whether imagination goes on past the end of its episode, where nothing of it counts any more."""
        self._beyond = on

    def pace(self, fps: float) -> None:
        """Set how many frames a second it should run at.

        Raises:
            ConfigError: If that is out of range.
        """
        if not PACES[0] <= fps <= PACES[1]:
            raise ConfigError(f"fps must be in {PACES[0]:g} to {PACES[1]:g}, got {fps:g}.")
        self._pace = float(fps)

    def record(self, on: bool) -> None:
        """Begin a film of what is seen from now on, or finish it.

        Raises:
            ConfigError: If no films may be recorded here.
            WorldRLError: If it cannot be written.
        """
        if not on:
            self._finish()
        elif self.films is None:
            raise ConfigError("record must be off without a folder for films, got on: there is none.")
        elif self._film is None:
            self._film = Film(free_name(self.films), fps=self._pace)
            self._shoot()

    def fail(self, problem: str) -> None:
        """Stand still and say why."""
        self.playing, self._problem = False, problem

    def view(self) -> View:
        """Return all that there is to see."""
        dream = self._dream
        return View(
            imagined=dream.side,
            real=None if self._real is None else self._real.side,
            episode=self._episode,
            start=self._start,
            step=dream.steps,
            success_probability=dream.success_probability,
            threshold=float(dream.model.success_threshold),
            disagreement=dream.disagreement,
            action=tuple(round(float(number), 4) for number in self._action),
            driver=self._driver,
            looks_at=self._looks_at,
            playing=self.playing,
            over=self._is_over(),
            beyond=self._beyond,
            pace=self._pace,
            film=self._film.path.name if self._film else "",
            saved=self._saved,
            problem=self._problem,
        )

    def close(self) -> None:
        """Finish a film that is being recorded, and close the simulator."""
        try:
            self._finish()
        finally:
            if self._real is not None:
                self._real.close()

    def _blind(self) -> str:
        """Return why the simulator cannot be looked at; empty where it can."""
        if self._real is None or self._real.side is None:
            return "where no MuJoCo stands beside it, got MuJoCo: begin from what was recorded with it"
        return "" if self._real.observe else "without an observation pipeline, got MuJoCo: name one by observation="

    def _leader(self) -> Side | None:
        """Return the simulator where what happens in it decides what is done, and when the episode is over."""
        looked = self._driver != BY_HAND and self._looks_at == MUJOCO
        return self._real.side if looked and self._real is not None else None

    def _is_over(self) -> bool:
        real = self._leader()
        return bool(self._dream.side.ended) and not self._beyond if real is None else bool(real.ended)

    def _choose(self) -> Array:
        if self._driver == BY_HAND:
            return self._hand.copy()
        obs = self._dream.obs if self._real is None or self._leader() is None else self._real.obs
        acts = self.policies[self._driver].act(obs, [self._memory], deterministic=True)
        return np.asarray(np.clip(acts[0], -1.0, 1.0), np.float32)

    def _shoot(self) -> None:
        """Add what is seen to the film, if there is one; a film that cannot be written is given up."""
        if self._film is None:
            return
        left, right = self._dream.side, None if self._real is None else self._real.side
        won = (left.success, right is not None and right.success)
        try:
            self._film.add(joined(left.frame, None if right is None else right.frame, success=won))
        except WorldRLError:
            self._film = None
            raise
        if self._film.length >= LONGEST:
            self._finish()

    def _finish(self) -> None:
        film, self._film = self._film, None
        if film is not None:
            film.close()
            self._saved = film.path.name
