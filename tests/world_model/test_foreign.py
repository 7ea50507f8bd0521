"""A checkpoint whose hashes agree but which describes something else is refused before anything is imported."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from worldrl import checkpoint
from worldrl.agents.policy import load_policy
from worldrl.errors import CheckpointError
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel

LURE = "antigravity"
"""A module of the standard library that nothing imports."""


@pytest.fixture
def model() -> DiffusionWorldModel:
    torch.manual_seed(0)
    return DiffusionWorldModel(obs_shape=(3, 4), act_dim=2, net=TOKEN_SIZES["tiny"])


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": f"{LURE}.geohash"}, "must hold a DiffusionWorldModel"),
        ({"_target_": f"{LURE}.geohash"}, "does not describe a world model"),
        ({"act_dim": "two"}, "does not describe a world model"),
        ({"obs_shape": None}, "does not describe a world model"),
        ({"net": {"width": 64, "depth": 1, "heads": 2, "members": 2}}, "does not fit its config"),
    ],
)
def test_a_config_of_something_else_is_refused(
    model: DiffusionWorldModel, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    checkpoint.save(tmp_path / "x", kind="world_model", config=model.config() | change, tensors=model.state_dict())
    with pytest.raises(CheckpointError, match=message):
        DiffusionWorldModel.from_pretrained(tmp_path / "x")
    assert LURE not in sys.modules


@pytest.mark.fault(12)
def test_weights_of_another_shape_are_refused(model: DiffusionWorldModel, tmp_path: Path) -> None:
    tensors = model.state_dict() | {"denoiser.weight": torch.ones(3, 5)}
    checkpoint.save(tmp_path / "x", kind="world_model", config=model.config(), tensors=tensors)
    with pytest.raises(CheckpointError, match=r"'denoiser.weight' must be \(3, 4\), got \(3, 5\)"):
        DiffusionWorldModel.from_pretrained(tmp_path / "x")


@pytest.mark.fault(10)
@pytest.mark.parametrize("name", ["GaussianPolicy", "DiffusionPolicy"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"origin": {}},
        {"origin": {"pipeline": ""}, "obs_shape": [3, 4]},
        {"origin": {"pipeline": ""}, "obs_shape": [3, 4], "act_dim": 2, "_target_": f"{LURE}.geohash"},
    ],
)
def test_a_policy_without_its_config_is_refused(name: str, config: dict[str, Any], tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x", kind="policy", config=config | {"class": name}, tensors={})
    with pytest.raises(CheckpointError, match="does not describe a policy"):
        load_policy(tmp_path / "x")
    assert LURE not in sys.modules


@pytest.mark.fault(10)
@pytest.mark.parametrize("name", [f"{LURE}.geohash", "ActorCriticPolicy", 3, None])
def test_a_policy_of_a_class_that_is_not_registered_is_refused_and_not_imported(name: Any, tmp_path: Path) -> None:
    config = {"class": name, "origin": {"pipeline": ""}, "obs_shape": [3, 4], "act_dim": 2}
    checkpoint.save(tmp_path / "x", kind="policy", config=config, tensors={})
    with pytest.raises(CheckpointError, match="must hold one of GaussianPolicy, DiffusionPolicy, got") as caught:
        load_policy(tmp_path / "x")
    assert "\n" not in str(caught.value) and LURE not in sys.modules


@pytest.mark.parametrize("config", [{}, {"class": ["GaussianPolicy"], "origin": {"pipeline": ""}}])
def test_a_policy_without_a_class_is_refused(config: dict[str, Any], tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x", kind="policy", config=config, tensors={})
    with pytest.raises(CheckpointError, match="does not describe a policy"):
        load_policy(tmp_path / "x")
