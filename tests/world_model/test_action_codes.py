"""A world model imagines with any action code, takes it along when saved, and takes no other for it."""

from itertools import permutations
from pathlib import Path

import pytest
import torch

from worldrl import checkpoint
from worldrl.diffusion.actions import ACTION_CODES
from worldrl.errors import CheckpointError, ConfigError
from worldrl.types import Imagined
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel

SHAPE = (3, 5)


def make(code: str) -> DiffusionWorldModel:
    torch.manual_seed(0)
    model = DiffusionWorldModel(obs_shape=SHAPE, act_dim=2, net=TOKEN_SIZES["tiny"], action_code=code)
    model.action_code.fit(torch.rand(300, 2) * 2 - 1)
    return model.freeze()


def imagine(model: DiffusionWorldModel, act: float = 0.3) -> Imagined:
    rng = torch.Generator().manual_seed(1)
    obs, noise = torch.randn(4, 4, *SHAPE, generator=rng), torch.randn(4, *SHAPE, generator=rng)
    return model.imagine(obs, torch.full((4, 4, 2), act), noise=noise, choice=torch.zeros(4))


@pytest.mark.parametrize("code", ACTION_CODES)
def test_a_saved_model_has_the_same_code_hash_and_imagination(code: str, tmp_path: Path) -> None:
    model = make(code)
    model.save_pretrained(tmp_path / "model")
    again = DiffusionWorldModel.from_pretrained(tmp_path / "model")
    assert again.action_code.name == code and again.config() == model.config() and again.hash() == model.hash()
    assert torch.equal(imagine(again).obs, imagine(model).obs)


@pytest.mark.parametrize("code", ACTION_CODES)
def test_the_action_reaches_the_network(code: str) -> None:
    model = make(code)
    assert (imagine(model, 0.9).obs - imagine(model, -0.9).obs).abs().max() > 1e-3


@pytest.mark.parametrize(("code", "other"), list(permutations(ACTION_CODES, 2)))
def test_weights_for_one_code_are_refused_for_another(code: str, other: str, tmp_path: Path) -> None:
    model = make(code)
    config = model.config() | {"action_code": other}
    checkpoint.save(tmp_path / "model", kind="world_model", config=config, tensors=model.state_dict())
    with pytest.raises(CheckpointError, match="does not fit its config"):
        DiffusionWorldModel.from_pretrained(tmp_path / "model")


def test_the_hash_tells_codes_and_codebooks_apart() -> None:
    hashes = [make(code).hash() for code in ACTION_CODES]
    moved = make("vq")
    moved.action_code.get_buffer("entries")[0] += 0.1
    assert len({*hashes, moved.hash()}) == 5


def test_a_code_that_nobody_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="action_code must be one of two_hot, one_hot, linear, vq, got 'fast'"):
        DiffusionWorldModel(obs_shape=SHAPE, act_dim=2, action_code="fast")
    model = make("two_hot")
    config = model.config() | {"action_code": "fast"}
    checkpoint.save(tmp_path / "model", kind="world_model", config=config, tensors=model.state_dict())
    with pytest.raises(CheckpointError, match="does not describe a world model"):
        DiffusionWorldModel.from_pretrained(tmp_path / "model")
