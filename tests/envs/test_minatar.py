"""Games of MinAtar behind our interface."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import worldrl.envs  # noqa: F401
from worldrl.agents.experts import RandomActor
from worldrl.data.rollout import roll_out
from worldrl.envs.minatar import COLOURS, GAMES, MinAtarEnv
from worldrl.errors import ConfigError, DataError

pytest.importorskip("minatar")


@pytest.mark.parametrize("game", GAMES)
def test_gymnasium_finds_nothing_to_complain_of(game: str) -> None:
    check_env(gym.make("worldrl/MinAtar-v0", game=game, size=20).unwrapped)


def test_a_seed_and_the_actions_determine_a_game() -> None:
    outcomes = [
        roll_out([MinAtarEnv(size=20)], RandomActor(), seeds=range(20), record=False) for _ in range(2)
    ]  # fmt: skip
    assert outcomes[0] == outcomes[1]
    assert len({outcome.length for outcome in outcomes[0]}) > 1
    assert sum(outcome.ret for outcome in outcomes[0]) > 0


def test_masks_are_where_things_are_drawn() -> None:
    env = MinAtarEnv(size=64)
    obs, _ = env.reset(seed=0)
    obs, *_ = env.step(0)
    labels = env.labels()
    assert env.objects == ("paddle", "ball", "trail", "brick")
    assert (obs["image"] == COLOURS[labels]).all()
    assert {int(label) for label in np.unique(labels)} == {0, 1, 2, 3, 4}
    assert (labels == 4).sum() == pytest.approx(0.3 * 64**2, rel=0.05)  # three of ten rows are bricks


def test_a_time_limit_truncates() -> None:
    env = MinAtarEnv(size=20, max_steps=2)
    env.reset(seed=0)
    assert env.step(0)[3] is False
    assert env.step(0)[3] is True


@pytest.mark.fault(38)
def test_an_action_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match="action must be one of 0 to 2, got 3"):
        roll_out([MinAtarEnv(size=20)], lambda *_: np.array([3]), seeds=[0], record=False)


def test_an_unknown_game_is_refused() -> None:
    with pytest.raises(ConfigError, match="game must be one of asterix, breakout"):
        MinAtarEnv("pong")
