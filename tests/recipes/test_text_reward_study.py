"""The study of reward from text, on a tiny world with a toy encoder of sentences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import worldrl.encoders
from worldrl.encoders import FrozenTextEncoder
from worldrl.encoders.bert import Bert
from worldrl.encoders.frozen import seeded
from worldrl.envs.drawer import DESCRIPTIONS
from worldrl.errors import ConfigError
from worldrl.recipes.studies import grid, text_reward, worlds
from worldrl.recipes.studies.stock import Need, Stock

SAID = {word for said in DESCRIPTIONS.values() for sentence in said for word in sentence.split()}
TINY = replace(
    worlds.PLANS["close_drawer"], demonstrations=4, random=2, rollouts=8, others=4, clone_steps=80, fit_steps=20,
    success_steps=20, held=6,
)  # fmt: skip


def toy(name: str = "minilm", *, random_init: bool = False, seed: int = 0) -> FrozenTextEncoder:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(SAID)]
    return FrozenTextEncoder(seeded(lambda: Bert(len(words)), seed + random_init), words, name=name)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    stock = Stock(tmp_path_factory.mktemp("shared"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(worlds.PLANS, "tiny", TINY)
        patch.setattr(worlds, "KWARGS", {"size": 56, "max_steps": 20})
        worlds.make(stock.world("tiny", 0), stock=stock, what="tiny", seed=0)
    return stock


def test_an_arm_judges_frames_refines_and_is_measured_in_mujoco(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(worlds.PLANS, "tiny", TINY)
    monkeypatch.setattr(worlds, "KWARGS", {"size": 56, "max_steps": 20})
    monkeypatch.setattr(worldrl.encoders, "load_text_encoder", toy)
    monkeypatch.setattr(text_reward, "_agreement", lambda *_: {"auroc": 0.5})  # nobody may have succeeded so soon
    options = grid.options_of(
        "text_reward", {"what": "tiny", "text": "the drawer is closed", "both": True, "goal_steps": 20, "steps": 5120,
                        "episodes": 4},
    )  # fmt: skip
    assert text_reward.needs(options) == (Need("world", "tiny"),)
    figures = text_reward.run(options, seed=0, stock=stock, folder=tmp_path)
    assert figures["gap"] == pytest.approx(figures["imagined"] - figures["refined"])
    assert 0.0 <= figures["read"] <= 1.0 and figures["kept_after"] > 0
    assert (tmp_path / "picture.png").exists() and (tmp_path / "refined").is_dir()


def test_whole_episodes_are_called_by_their_highest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    scores = [torch.tensor([0.1, 0.9]), torch.tensor([0.2, 0.3]), torch.tensor([0.8, 0.1]), torch.tensor([0.1, 0.1])]
    truth = [torch.tensor([False, won]) for won in (True, True, False, False)]
    monkeypatch.setattr(text_reward, "_judged", lambda *_: (scores, truth))
    world = type("World", (), {"model": type("Model", (), {"success_threshold": 0.5})})
    assert text_reward._called(world, Path(), None) == {"false_positive": 0.5, "found": 0.5}
    assert np.isclose(text_reward._agreement(world, Path(), None)["balanced_accuracy"], (1 / 2 + 5 / 6) / 2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"what": "nowhere"}, "world must be one of close_drawer"),
        ({"episodes": 101}, r"episodes must be in \[1, 100\], got 101"),
        ({"random_text": True}, "random_text and both need a text"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        grid.options_of("text_reward", given)
