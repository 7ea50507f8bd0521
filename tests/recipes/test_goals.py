"""A goal as text, from the simulator's statements to a refined policy, on a tiny budget."""

from pathlib import Path
from typing import Any

import pytest
import torch

import worldrl.encoders
from worldrl.agents.policy import load_policy
from worldrl.data.dataset import Dataset
from worldrl.encoders import FrozenTextEncoder
from worldrl.encoders.bert import Bert
from worldrl.encoders.frozen import seeded
from worldrl.envs.drawer import DESCRIPTIONS, CloseDrawerEnv
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.facts import known
from worldrl.recipes import clone, collect, encode, fit, goals, refine
from worldrl.recipes.config import compose
from worldrl.recipes.held_out import split_of
from worldrl.recipes.options import EncoderOptions, EnvOptions, WorldModelOptions
from worldrl.recipes.text_goals import Goals
from worldrl.world_model.world import World

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for said in DESCRIPTIONS.values() for s in said for word in s.split()})]  # fmt: skip # noqa: E501
CLOSED, OPEN = "the drawer is closed", "the drawer is open"


def toy(name: str = "minilm", *, random_init: bool = False, seed: int = 0) -> FrozenTextEncoder:
    return FrozenTextEncoder(seeded(lambda: Bert(len(WORDS)), seed + random_init), WORDS, name=name)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worldrl.encoders, "load_text_encoder", toy)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("run")
    kwargs = {"size": 56, "max_steps": 30}
    for task, folder in (("CloseDrawer", "episodes"), ("OpenDrawer", "others")):
        env = EnvOptions(id=f"worldrl/{task}-v0", kwargs=kwargs)
        for who, count in (("noisy_expert", 8), ("random", 3)):
            collect.run(collect.Config(env=env, out=str(at / folder), policy=who, episodes=count))
    data: dict[str, Any] = {"episodes": str(at / "episodes"), "threads": 1}
    encode.run(encode.Config(out=str(at / "observation"), encoder=EncoderOptions(name="none"), **data))
    data["observation"] = str(at / "observation")
    clone.run(clone.Config(out=str(at / "clone"), steps=60, **data))
    fit.run(
        fit.Config(
            out=str(at / "world"), world_model=WorldModelOptions(size="tiny"), steps=30, success_steps=20,
            decoder_steps=0, **data,
        )
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worldrl.encoders, "load_text_encoder", toy)
        told = goals.run(config(at, episodes=[str(at / "episodes"), str(at / "others")])).figures
    assert told["out"] == str(at / "goal") and "closed" in told["states"] and told["statements"] > len(told["states"])
    return at


def config(at: Path, **changes: Any) -> goals.Config:
    settings: dict[str, Any] = {
        "episodes": [str(at / "episodes")], "observation": str(at / "observation"), "world": str(at / "world"),
        "out": str(at / "goal"), "steps": 250, "threads": 1,
    }  # fmt: skip
    return goals.Config(**(settings | changes))


def test_the_card_of_goals_tells_the_task_and_what_they_learned_from(run: Path) -> None:
    own = Dataset(run / "episodes")
    train, held = split_of(run / "world", own)
    steps = own.subset(train).num_steps + Dataset(run / "others").num_steps
    assert known(run / "goal") == {
        "task": "worldrl/CloseDrawer-v0",
        "masks": "simulator",
        "encoder": "none",
        "episodes": len(train) + 11,
        "real_steps": steps,
    }
    assert held and known(run / "world")["episodes"] == len(train)


def test_the_simulator_says_what_holds_and_nobody_reads_the_success_flag(run: Path) -> None:
    dataset = Dataset(run / "episodes")
    env = CloseDrawerEnv(size=16, drawing=False)
    episode = next(one for one in dataset if one.success.any())
    facts = goals.facts_of(env, episode)
    names = list(env.descriptions)
    assert facts.shape == (len(episode) + 1, len(names))
    assert (facts[:, names.index("closed")] == episode.success).all()
    assert (facts[:, :4].sum(axis=1) == 1).all()  # how far it is open is one of four
    env.restore(episode.states[0], episode.fields, dict(episode.params))
    assert env.facts() == dict(zip(names, facts[0].tolist(), strict=True))


def test_a_goal_replaces_success_and_whatever_is_known_of_it(run: Path) -> None:
    world, goal = World.from_pretrained(run / "world"), Goals.from_pretrained(run / "goal")
    before = world.model.hash()
    closed, opened = goal.aim(world, CLOSED), goal.aim(world, OPEN)
    assert world.model.hash() == before != closed.model.hash() != opened.model.hash()
    assert closed.wins == world.wins and closed.outcomes == world.outcomes
    assert closed.model.imagine is not None and not closed.model._audits
    obs = world.starts.obs[: world.firsts, -1]
    with torch.no_grad():
        assert (opened.model.success(obs) > closed.model.success(obs)).float().mean() > 0.7  # open is how they begin
    others = set(dict(closed.model.named_parameters())) ^ set(dict(world.model.named_parameters()))
    assert all(name.startswith(("success.", "audit.")) for name in others)


def test_statements_about_frames_are_learnt_and_told_apart(run: Path) -> None:
    goal = Goals.from_pretrained(run / "goal")
    assert goal.reader.told(CLOSED).startswith("closed 1.00")
    assert goal.thresholds.shape == (8,) and ((goal.thresholds >= 0.3) & (goal.thresholds <= 0.97)).all()
    assert goal.first.shape == (World.from_pretrained(run / "world").firsts, 8)


def test_a_policy_is_refined_towards_a_text(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "refined"
    result = refine.run(
        refine.Config(
            world=str(run / "world"), policy=str(run / "clone"), out=str(out), goal=str(run / "goal"), text=CLOSED,
            steps=5120, trials=8, trust=refine.TrustOptions(slack=1.0),
        )
    ).figures  # fmt: skip
    assert result["world_model_hash_before"] == result["world_model_hash_after"]
    assert result["world_model_hash_before"] != World.from_pretrained(run / "world").model.hash()
    assert f"goal '{CLOSED}' is read as closed 1.00" in capsys.readouterr().out
    assert load_policy(out)[1].imagined_steps > 0


def test_goals_of_another_world_or_another_encoder_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, goal = World.from_pretrained(run / "world"), Goals.from_pretrained(run / "goal")
    world.model.success_threshold = 0.123
    with pytest.raises(CheckpointError, match="goal was made beside another world"):
        goal.aim(world, CLOSED)
    monkeypatch.setattr(worldrl.encoders, "load_text_encoder", lambda **_: toy(seed=7))
    with pytest.raises(CheckpointError, match="made with another text encoder"):
        Goals.from_pretrained(run / "goal")


def test_what_cannot_be_described_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="episodes must begin with the data set that the world was fitted to"):
        goals.run(config(run, held_out=0.5, out=str(tmp_path / "goal")))
    env = EnvOptions(id="worldrl/Reach-v0", kwargs={"size": 56, "max_steps": 3})
    collect.run(collect.Config(env=env, out=str(tmp_path / "reach"), policy="random", episodes=1))
    with pytest.raises(ConfigError, match=r"worldrl/Reach-v0 says nothing of its states: give its class"):
        goals.described(tmp_path / "reach", None)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["goal=somewhere"], "go together, got goal='somewhere' and text=''"), (["text='shut it'"], "go together")],
)
def test_goal_and_text_go_together(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compose("refine", ["world=w", "policy=p", "out=o", *words])
    with pytest.raises(ConfigError, match="episodes must name at least one data set"):
        compose("goals", ["observation=o", "world=w", "out=g"])
