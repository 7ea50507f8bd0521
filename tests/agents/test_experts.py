"""Scripted experts succeed, also when they are disturbed, and actors are reproducible."""

from typing import Any

import numpy as np
import pytest
from gymnasium.envs.registration import load_env_creator

from worldrl.agents.experts import RandomActor, ScriptedActor
from worldrl.agents.scripts import hover, script_for
from worldrl.envs.press_button import PressButtonEnv
from worldrl.envs.reach import ReachEnv
from worldrl.envs.registration import TABLETOP
from worldrl.envs.tabletop import TabletopEnv
from worldrl.errors import ConfigError

EPISODES = 20


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: experts do not look."""
    monkeypatch.setattr(TabletopEnv, "_image", lambda self: np.zeros((self.size, self.size, 3), np.uint8))


def acts(env: Any, actor: Any, seed: int, *, slot: int = 0) -> list[np.ndarray]:
    """Return the actions of one episode."""
    obs, _ = env.reset(seed=seed)
    actor.begin(slot, env, seed)
    taken, over = [], False
    while not over:
        taken.append(actor.act([obs], [env], np.array([slot]))[0])
        obs, _, end, trunc, _ = env.step(taken[-1])
        over = end or trunc
    return taken


@pytest.mark.parametrize("name", TABLETOP)
@pytest.mark.parametrize(("noise", "least"), [(0.0, 19), (0.2, 17)])
def test_the_expert_succeeds(name: str, noise: float, least: int, blind: None) -> None:
    env = load_env_creator(f"worldrl.envs.{TABLETOP[name]}")(size=16)
    actor, wins = ScriptedActor(noise=noise), 0
    for seed in range(100, 100 + EPISODES):
        acts(env, actor, seed)
        wins += env._solved()
    assert wins >= least


@pytest.mark.parametrize("name", TABLETOP)
def test_the_expert_moves_without_jumps(name: str, blind: None) -> None:
    """A switch from one phase to another would show as a reversal of several components at once."""
    env = load_env_creator(f"worldrl.envs.{TABLETOP[name]}")(size=16)
    jumps = [np.abs(np.diff([act[:3] for act in acts(env, ScriptedActor(), seed)], axis=0)) for seed in range(5)]
    assert np.mean(np.concatenate(jumps) > 1.2) < 0.05


@pytest.mark.parametrize("actor", [ScriptedActor(noise=0.3), RandomActor()])
def test_the_seed_of_the_episode_determines_the_actions(actor: Any, blind: None) -> None:
    env = ReachEnv(size=16)
    first, again, other = acts(env, actor, 3), acts(env, actor, 3, slot=5), acts(env, actor, 4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], other[0])


def test_every_slot_has_a_stream_of_its_own(blind: None) -> None:
    envs = [ReachEnv(size=16) for _ in range(2)]
    actor = RandomActor()
    for slot, env in enumerate(envs):
        env.reset(seed=slot)
        actor.begin(slot, env, slot)
    both = actor.act([None, None], envs, np.array([0, 1]))
    lone = RandomActor()
    lone.begin(7, envs[1], 1)
    assert np.array_equal(both[1], lone.act([None], envs[1:], np.array([7]))[0])


def test_actions_stay_in_their_box_whatever_the_noise(blind: None) -> None:
    env = PressButtonEnv(size=16, max_steps=10)
    assert all(env.action_space.contains(act) for act in acts(env, ScriptedActor(noise=5.0), 0))


def test_random_play_holds_what_it_has_drawn(blind: None) -> None:
    taken = np.stack(acts(ReachEnv(size=16, max_steps=50), RandomActor(hold=5.0), 0))
    kept = (taken[1:] == taken[:-1]).all(axis=1).mean()
    assert 0.6 < kept < 0.95


def test_the_funnel_sinks_as_the_fingertip_comes_above_the_target() -> None:
    env = ReachEnv(size=16)
    env.reset(seed=0)
    tip = env.fingertip()
    heights = [
        hover(env, tip + np.array([away, 0.0, 0.0]), height=0.1, width=0.03)[2] - tip[2] for away in (0.0, 0.03, 1.0)
    ]
    assert heights == pytest.approx([0.0, 0.05, 0.1], abs=0.001)


def test_an_environment_without_an_expert_is_named_with_those_that_have_one() -> None:
    with pytest.raises(ConfigError, match=r"no scripted expert for Unknown: there is one for each of CloseDrawerEnv,"):
        script_for(type("Unknown", (), {"unwrapped": property(lambda self: self)})())


@pytest.mark.parametrize("wrong", [{"noise": -0.1}, {"persistence": 1.0}])
def test_noise_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="noise must not be negative"):
        ScriptedActor(**wrong)


def test_a_draw_held_for_less_than_a_decision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hold must be at least 1 decision, got 0\.5"):
        RandomActor(hold=0.5)
