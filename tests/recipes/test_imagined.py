"""A fitted world, saved, is a registered gymnasium environment."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import worldrl
from worldrl.errors import CheckpointError
from worldrl.types import Starts
from worldrl.world_model.decoder import TokenDecoder
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.world import World

SHAPE = (3, 8)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = DiffusionWorldModel(obs_shape=SHAPE, act_dim=2, net=TOKEN_SIZES["tiny"]).freeze()
    model.halt_threshold = 100.0
    starts = Starts(torch.randn(5, model.history, *SHAPE), torch.zeros(5, model.history - 1, 2))
    decoder = TokenDecoder(obs_shape=SHAPE, width=8).eval()
    world = World(model, starts, 5, 6, "worldrl/Reach-v0", 100, (), (None,) * 5, decoder)
    world.save_pretrained(tmp_path / "world")
    return tmp_path / "world"


@pytest.mark.filterwarnings("ignore:.*infinity")  # imagined tokens have no bound
@pytest.mark.filterwarnings("ignore:.*unconventional shape")  # tokens are (k, d); the policy reads them as they are
def test_the_imagined_environment_follows_both_apis(checkpoint: Path) -> None:
    assert worldrl.envs is not None
    env = gym.make("worldrl/Imagined-v0", checkpoint=checkpoint, render_mode="rgb_array").unwrapped
    check_env(env, skip_render_check=True)
    check_env_sb3(env)
    env.reset(seed=0)
    assert env.render().shape == (64, 64, 3)
    env.close()


def test_the_vector_entry_point_makes_as_many_as_asked_for(checkpoint: Path) -> None:
    env = gym.make_vec(
        "worldrl/Imagined-v0", num_envs=4, vectorization_mode="vector_entry_point", checkpoint=checkpoint
    )
    obs, _ = env.reset(seed=0)
    assert obs.shape == (4, *SHAPE)
    for _ in range(6):
        *_, trunc, _ = env.step(np.zeros((4, 2), np.float32))
    assert env.horizon == 6 and trunc.dtype == bool
    env.close()


def test_model_and_starts_of_two_worlds_are_refused_together(checkpoint: Path) -> None:
    DiffusionWorldModel(obs_shape=SHAPE, act_dim=2, net=TOKEN_SIZES["tiny"]).save_pretrained(checkpoint / "model")
    with pytest.raises(CheckpointError, match="the model of one world and the starts of another: fit it again"):
        World.from_pretrained(checkpoint)
