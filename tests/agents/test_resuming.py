"""A refinement that was stopped between any two rollouts ends as one that was not, bit for bit."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_canary import Corridor, beginnings  # beside this file

from worldrl import checkpoint, signals
from worldrl.agents.figures import FIGURES
from worldrl.agents.policy import GaussianPolicy, make_policy
from worldrl.agents.refinement import Candidate, refine, try_out
from worldrl.curves import Curves
from worldrl.envs.guards import Guards
from worldrl.envs.imagined import ImaginedVectorEnv
from worldrl.errors import ConfigError
from worldrl.resuming import Stops
from worldrl.types import Starts

ROLLOUT, ROLLOUTS = 32 * 8, 9


def draw(curves: Curves, steps: int, figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        curves.add(name, steps, value)


def improve(
    stops: Stops | None = None, *, die: int = -1, ask: int = -1, about: dict[str, Any] | None = None
) -> tuple[GaussianPolicy, list[Candidate], list[int], int]:
    """Refine a policy; die at the beginning of a rollout, or be asked to stop in the one before.

    Returns:
        The policy, the candidates, the rollouts at which somebody listened, and the imagined steps.
    """
    torch.manual_seed(0)
    policy = make_policy((2, 2), 2, sigma=0.5)
    starts = Starts(beginnings(64, seed=1)[:, None], torch.zeros(64, 0, 2))
    env, trials = (
        ImaginedVectorEnv(Corridor(), starts, num_envs=count, horizon=10, guards=Guards()) for count in (32, 16)
    )
    heard = list[int]()

    def listen(steps: int, candidate: Candidate | None) -> None:
        heard.append(steps // ROLLOUT)
        if steps // ROLLOUT == die:
            raise RuntimeError("killed")
        if steps // ROLLOUT == ask:
            signals._hear(15, None)

    candidates = refine(
        policy, env, lambda tried: try_out(trials, tried, seed=0), steps=ROLLOUTS * ROLLOUT, anchor=0.02,
        tighten=2.0, every=2, stops=stops, about=about or {"task": "corridor"}, progress=listen, n_steps=8,
        batch_size=64, n_epochs=2, tell=partial(draw, Curves() if stops is None else stops.curves),
    )  # fmt: skip
    if stops is None:  # what worldrl refine adds up, as a trial of before a stop cannot be asked
        tried = sum(one.trial.count * int(one.trial.lengths.max()) for one in candidates)
        assert trials.imagined_steps == tried
    return policy, candidates, heard, env.imagined_steps


@pytest.fixture(scope="module")
def unbroken() -> tuple[Any, ...]:
    return improve()


def same(found: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """Return whether weights, candidates and imagined steps are equal, to the last bit."""
    weights = [checkpoint.hash_tensors(one[0].state_dict()) for one in (found, wanted)]
    states = [[checkpoint.hash_tensors(one.state) for one in result[1]] for result in (found, wanted)]
    told = [
        [(c.steps, c.divergence, c.trial.success, c.trial.length, c.trial.agreed, c.trial.halted) for c in result[1]]
        for result in (found, wanted)
    ]
    each = all(
        np.array_equal(a.trial.wins, b.trial.wins) and np.array_equal(a.trial.lengths, b.trial.lengths)
        for a, b in zip(found[1], wanted[1], strict=True)
    )
    return weights[0] == weights[1] and states[0] == states[1] and told[0] == told[1] and each and found[3] == wanted[3]


@pytest.mark.fault(15)
@pytest.mark.parametrize("die", [1, 4, 8])
def test_a_refinement_that_died_ends_as_if_it_had_not(unbroken: tuple[Any, ...], tmp_path: Path, die: int) -> None:
    """Fault 15: killed at a rollout, gone on with, and compared with one that nobody killed."""
    stops = Stops(tmp_path / "kept", 3)
    with pytest.raises(RuntimeError, match="killed"):
        improve(stops, die=die)
    torch.rand(5), np.random.rand(5)  # chance of another process
    found = improve(stops)
    assert found[2][0] == die // 3 * 3 and same(found, unbroken)


@pytest.mark.fault(15)
@pytest.mark.parametrize("die", [4, 8])
def test_the_figures_of_ppo_go_on_where_they_were(tmp_path: Path, die: int) -> None:
    """Fault 15: every update is told once, whether a refinement was stopped or not, with the same figures."""
    whole, stops = Stops(tmp_path / "whole", 100), Stops(tmp_path / "kept", 3)
    improve(whole)
    wanted = whole.curves.points
    assert set(wanted) == {*FIGURES.values(), "entropy", "reward of a step", "imagined success"}
    assert [step for step, _ in wanted["value loss"]] == [ROLLOUT * (i + 1) for i in range(ROLLOUTS)]
    assert all(0.0 <= value <= 1.0 for _, value in wanted["clip fraction"])
    assert wanted["entropy"][0][1] == pytest.approx(2 * np.log(0.5 * np.sqrt(2 * np.pi * np.e)))  # before it learns
    with pytest.raises(RuntimeError, match="killed"):
        improve(stops, die=die)
    again = Stops(tmp_path / "kept", 3)
    improve(again)
    assert again.curves.points == wanted


@pytest.mark.fault(57)
def test_a_signal_loses_less_than_a_rollout(unbroken: tuple[Any, ...], tmp_path: Path) -> None:
    """Fault 57: SIGTERM in the middle of a rollout."""
    stops = Stops(tmp_path / "kept", 100)
    with pytest.raises(signals.Stopped), signals.listen():
        improve(stops, ask=5)
    found = improve(stops)
    assert found[2][0] == 5 and same(found, unbroken)


@pytest.mark.fault(16)
def test_another_refinement_is_refused(tmp_path: Path) -> None:
    """Fault 16: going on with what was kept for another task."""
    stops = Stops(tmp_path / "kept", 2)
    with pytest.raises(RuntimeError, match="killed"):
        improve(stops, die=3)
    with pytest.raises(ConfigError, match=r"task must be 'corridor' to go on with .*kept, got 'hall'"):
        improve(stops, about={"task": "hall"})
    assert checkpoint.load(stops.folder, kind="training").config["rollouts"] == 2


def test_keeping_changes_nothing(unbroken: tuple[Any, ...], tmp_path: Path) -> None:
    assert same(improve(Stops(tmp_path / "kept", 1)), unbroken)
    assert len(unbroken[1]) > 2 and unbroken[1][-1].divergence > 0
