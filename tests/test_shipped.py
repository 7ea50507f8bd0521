from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import worldrl
from worldrl.agents.policy import load_policy
from worldrl.data.dataset import Dataset
from worldrl.errors import ConfigError
from worldrl.recipes.parts import pipeline_at
from worldrl.shipped import SHIPPED, shipped
from worldrl.world_model.world import World


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_run_is_whole_and_of_one_piece(name: str) -> None:
    run = shipped(name)
    world = World.from_pretrained(run / "world")
    with pipeline_at(run / "observation", None) as pipeline:
        assert pipeline.hash == world.model.pipeline
    for policy in ("clone", "refined"):
        assert load_policy(run / policy)[1].pipeline == world.model.pipeline
    assert all(np.isfinite(episode.acts).all() for episode in Dataset(run / "episodes"))
    assert world.task == Dataset(run / "episodes").manifest.env_id


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_world_is_an_environment(name: str) -> None:
    env = gym.make("worldrl/Imagined-v0", checkpoint=shipped(name) / "world")
    obs, _ = env.reset(seed=0)
    after, *_ = env.step(np.ones(env.action_space.shape, np.float32))
    assert env.observation_space.contains(after) and not np.array_equal(obs, after)
    env.close()


def test_what_is_shipped_is_small() -> None:
    files = [file for file in Path(worldrl.__file__).parent.joinpath("shipped").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 16e6


def test_an_unknown_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="name must be one of reach, got 'push'"):
        shipped("push")
