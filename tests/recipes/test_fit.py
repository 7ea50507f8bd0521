"""Fitting says what the world is worth, loudly where it ignores its actions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl.data.segments import SegmentSampler
from worldrl.errors import ConfigError
from worldrl.recipes import collect, encode, fit
from worldrl.recipes.fit_figures import heeding, measure
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions, WorldModelOptions, check_world_model
from worldrl.world_model.fit import LOOK, OWN, SIGHT, fit_dynamics, set_scale
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.tokens import Tokens


def push(*, deaf: bool) -> Tokens:
    """Point masses that move by 0.3 times the action; if deaf, the actions are none of theirs."""
    rng = np.random.default_rng(2)
    acts, others = rng.uniform(-1, 1, (2, 200, 15, 2)).astype(np.float32)
    obs = np.zeros((200, 16, 2, 3), np.float32)
    obs[:, 1:, 0, :2] = 0.3 * np.cumsum(acts, axis=1)
    success = obs[:, :, 0, 0] > 0.6
    return Tokens(list(obs), list(others if deaf else acts), list(success), ["policy"] * 200)


@pytest.mark.parametrize("deaf", [False, True])
def test_a_world_that_ignores_its_actions_does_not_pass_silently(deaf: bool) -> None:
    torch.manual_seed(0)
    model = DiffusionWorldModel(obs_shape=(2, 3), act_dim=2, history=2, net=TOKEN_SIZES["tiny"])
    fit_dynamics([model], [push(deaf=deaf)], steps=20)
    figures = measure(model.freeze(), push(deaf=False).subset(range(20)), seed=0)
    line = heeding(figures)
    assert figures["heeds_actions"] is not deaf
    assert line.startswith("IT IGNORES ITS ACTIONS, gain must be at least 0.05" if deaf else "action gain ")
    assert line.endswith("collect more random play before you refine") is deaf


def test_all_numbers_of_a_visual_token_weigh_alike_and_those_of_objects_as_they_did() -> None:
    rng = np.random.default_rng(0)
    obs, acts = rng.standard_normal((8, 12, 3, 12)).astype(np.float32), np.zeros((8, 11, 2), np.float32)
    sampler = SegmentSampler(list(obs), list(acts), [np.zeros(12, bool)] * 8, history=2, seed=0)
    model = DiffusionWorldModel(obs_shape=(3, 12), act_dim=2, history=2, net=TOKEN_SIZES["tiny"])
    set_scale(model, sampler, visual=1)
    weight = model.denoiser.weight
    assert weight[1, :10].unique() == 1.0 and weight[1, 10:].unique() == pytest.approx(LOOK)
    assert weight[2].unique() == pytest.approx(SIGHT) and weight[0].unique() == OWN


def test_an_action_code_that_nobody_made_is_refused() -> None:
    check_world_model(WorldModelOptions(action_code="vq"))
    message = "world_model.action_code must be one of two_hot, one_hot, linear, vq, got 'fast'"
    with pytest.raises(ConfigError, match=message):
        check_world_model(WorldModelOptions(action_code="fast"))


def test_each_task_is_read_from_its_own_feature_cache(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("episodes", "observation", "features")}
    for task in ("CloseDrawer", "OpenDrawer"):
        at = {name: str(folder / task) for name, folder in folders.items()}
        env = EnvOptions(f"worldrl/{task}-v0", {"size": 64, "max_steps": 6})
        collect.run(collect.Config(env=env, out=at["episodes"], policy="noisy_expert", episodes=6))
        encode.run(
            encode.Config(
                episodes=at["episodes"], out=at["observation"], features=at["features"],
                encoder=EncoderOptions("efficientnet_lite0", random_init=True),
                objects=ObjectOptions(components=2, slots=5),
            )
        )  # fmt: skip

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_size for path in folders["features"].rglob("*") if path.is_file()}

    before, places = kept(), {name: str(folder) for name, folder in folders.items()}
    fit.run(fit.Config(**places, out=str(tmp_path / "world"), steps=2, success_steps=2, decoder_steps=0))
    assert before and kept() == before
