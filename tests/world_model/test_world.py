"""A world is saved in parts that know each other."""

from pathlib import Path

import pytest
import torch

from worldrl import checkpoint
from worldrl.errors import CheckpointError
from worldrl.types import Starts
from worldrl.world_model.decoder import TokenDecoder
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.world import World


def make(seed: int) -> World:
    torch.manual_seed(seed)
    model = DiffusionWorldModel(obs_shape=(3, 5), act_dim=2, net=TOKEN_SIZES["tiny"]).freeze()
    starts = Starts(torch.randn(6, model.history, 3, 5), torch.rand(6, model.history - 1, 2))
    decoder = TokenDecoder(obs_shape=(3, 5), width=8).eval()
    return World(
        model,
        starts,
        firsts=4,
        horizon=40,
        task="toy",
        real_steps=123,
        wins=(7, 9),
        outcomes=(True, None, False, None),
        decoder=decoder,
    )


def test_a_saved_world_is_the_same_world(tmp_path: Path) -> None:
    world = make(0)
    world.save_pretrained(tmp_path / "world")
    again = World.from_pretrained(tmp_path / "world")
    assert again.model.hash() == world.model.hash()
    assert torch.equal(again.starts.obs, world.starts.obs) and torch.equal(again.starts.acts, world.starts.acts)
    assert (again.firsts, again.horizon, again.task, again.real_steps) == (4, 40, "toy", 123)
    assert again.decoder is not None and world.decoder is not None
    assert checkpoint.hash_tensors(again.decoder.state_dict()) == checkpoint.hash_tensors(world.decoder.state_dict())


def test_the_model_of_one_world_and_the_starts_of_another_are_refused(tmp_path: Path) -> None:
    make(0).save_pretrained(tmp_path / "world")
    make(1).model.save_pretrained(tmp_path / "world" / "model")
    with pytest.raises(CheckpointError, match="model of one world and the starts of another: fit it again"):
        World.from_pretrained(tmp_path / "world")


@pytest.mark.parametrize("part", ["model", "starts", "decoder"])
def test_a_missing_part_is_named(part: str, tmp_path: Path) -> None:
    make(0).save_pretrained(tmp_path / "world")
    (tmp_path / "world" / part / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=rf"no manifest\.json in .*{part}"):
        World.from_pretrained(tmp_path / "world")


def test_starts_that_say_too_little_are_refused(tmp_path: Path) -> None:
    world = make(0)
    world.save_pretrained(tmp_path / "world")
    checkpoint.save(tmp_path / "world" / "starts", kind="starts", config={"model": world.model.hash()}, tensors={})
    with pytest.raises(CheckpointError, match="does not describe the starts of a world"):
        World.from_pretrained(tmp_path / "world")
