"""The online loop: a tiny run of every kind leaves what it promises, and what it is told wrong it refuses."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from worldrl import checkpoint
from worldrl.agents.actor_critic import ActorCritic
from worldrl.data.buffer import ReplayBuffer
from worldrl.errors import ConfigError
from worldrl.facts import known
from worldrl.observation import ObservationPipeline
from worldrl.recipes import robust, train
from worldrl.recipes.config import compose
from worldrl.recipes.results import figures_of
from worldrl.recipes.telling import curves_path
from worldrl.storm.model import StormWorldModel
from worldrl.verification import verify_tree

TINY = [
    "steps=80", "warmup=40", "every=8", "checks=1", "episodes=3", "storm.size=tiny", "storm.batch_size=2",
    "storm.length=8", "agent.width=16", "agent.depth=1", "agent.starts=4", "agent.horizon=3", "env.kwargs.size=32",
]  # fmt: skip


def config(out: Path, *words: str) -> Any:
    return compose("train", [*TINY, f"out={out}", *words], schema=train.Config)


@pytest.mark.parametrize("inputs", train.INPUTS)
def test_a_run_leaves_what_it_promises(tmp_path: Path, inputs: str) -> None:
    out = tmp_path / "run"
    result = train.run(config(out, f"inputs={inputs}", "objects.names=[fingers,bead]"))
    summary = checkpoint.read_json(out / "summary.json")
    assert figures_of(result) == {"out": str(out)} | summary
    pipeline = ObservationPipeline.from_pretrained(out / "observation")
    model = StormWorldModel.from_pretrained(out / "model")
    assert model.tokens == pipeline.shape
    assert pipeline.shape[0] == (1 if inputs == "visual" else 3)
    assert model.visual == (inputs != "objects")
    assert ActorCritic.from_pretrained(out / "agent").args["state_dim"] == model.state_dim
    assert summary["masks"] == ("none" if inputs == "visual" else "simulator")
    assert summary["real_steps"] == 80
    assert 0.0 <= summary["success"] <= 1.0
    for part in ("observation", "model", "agent", "starts"):
        text = (out / part / "README.md").read_text()
        assert "| Task | worldrl/Touch-v0 |" in text and f"| What it is shown | {inputs} |" in text
        assert f"| Masks | {summary['masks']} |" in text and "| Real steps it learned from | 80 |" in text
    assert (
        f"| Success in the task itself | {100 * summary['success']:.1f} % ["
        in (out / "agent" / "README.md").read_text()
    )
    assert known(out / "agent")["imagined_ret"] == summary["imagined_ret"]
    assert verify_tree(out).damaged == ()
    assert f"inputs: {inputs}" in result.text


def test_discrete_actions_are_played(tmp_path: Path) -> None:
    pytest.importorskip("minatar")
    out = tmp_path / "run"
    train.run(config(out, "env=minatar_breakout", "env.kwargs.max_steps=20"))
    assert StormWorldModel.from_pretrained(out / "model").acts == 3
    assert checkpoint.read_json(out / "summary.json")["ret"] >= 0.0


@pytest.mark.fault(15)
@pytest.mark.fault(16)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faults 15 and 16: killed twice in the middle, gone on with under the same options, refused under others."""
    words, learn = ("inputs=both", "keep_every=10", "env.kwargs.max_steps=10"), train._learn
    whole, out = tmp_path / "whole", tmp_path / "run"
    train.run(config(whole, *words))
    for die in (3, 2):
        left = [die]

        def dying(parts: Any, times: int, left: list[int] = left) -> dict[str, float]:
            left[0] -= 1
            if not left[0]:
                raise RuntimeError("killed")
            return learn(parts, times)

        monkeypatch.setattr(train, "_learn", dying)
        with pytest.raises(RuntimeError, match="killed"):
            train.run(config(out, *words))
    assert not out.exists() and (tmp_path / "run.training/state").exists()
    monkeypatch.setattr(train, "_learn", learn)
    with pytest.raises(ConfigError, match=r"steps must be 80 to go on with .*, got 90"):
        train.run(config(out, *words, "steps=90"))
    train.run(config(out, *words))
    assert "goes on after step " in capsys.readouterr().out
    for part in ("model", "agent", "observation"):
        assert checkpoint.sha256(out / part / "weights.safetensors") == checkpoint.sha256(
            whole / part / "weights.safetensors"
        )
    found, wanted = (checkpoint.read_json(folder / "summary.json") for folder in (out, whole))
    apart = {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
    assert apart == {"config", "seconds_by_stage"} and not (tmp_path / "run.training").exists()
    drawn, wanted = (curves_path(folder).read_bytes() for folder in (out, whole))
    assert drawn == wanted and len(json.loads(drawn)["train/critic"]) == 6  # after random play, and every 8 of 40 steps


def test_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        train.run(config(tmp_path / name, "inputs=objects"))
        found.append(checkpoint.hash_tensors(StormWorldModel.from_pretrained(tmp_path / name / "model").state_dict()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["inputs=everything"], "inputs must be one of both, objects, visual, got 'everything'"),
        (["storm.size=huge"], "storm.size must be one of tiny, small, published"),
        (["warmup=4"], "warmup must be at least 8 steps and less than steps=80, got 4"),
        (["warmup=80"], "warmup must be at least 8 steps and less than steps=80, got 80"),
        (["agent.horizon=0"], "horizon must be positive, got 0"),
        (["env.id=worldrl/Tuch-v0"], "did you mean 'worldrl/Touch-v0'"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config(tmp_path / "run", *words)


def test_an_unknown_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"names must be among fingers, bead, .*got 'bed'"):
        train.run(config(tmp_path / "run", "objects.names=[bed]"))


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="out must be a new folder"):
        train.run(config(tmp_path))


def test_a_trained_agent_is_measured_where_objects_are_disturbed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train.run(config(out, "inputs=objects", "objects.names=[fingers,bead]"))
    result = robust.run(robust.Config(run=str(out), shares=[0.5], episodes=2))
    found = checkpoint.read_json(out / "robust.json")["rows"]
    assert result.figures["rows"] == found and result.figures["out"] == out / "robust.json"
    assert [row["disturbance"] for row in found] == [
        "nothing", "fingers missing", "bead missing", "fingers and bead swapped", "50 % dropped"
    ]  # fmt: skip
    assert found[0]["change"] == [0.0, 0.0, 0.0]
    assert len({row["ret"] for row in found}) > 1
    assert "bead missing" in result.text


def test_an_agent_that_sees_no_objects_cannot_be_disturbed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train.run(config(out, "inputs=visual"))
    with pytest.raises(ConfigError, match="sees no objects that could be disturbed"):
        robust.run(robust.Config(run=str(out)))


@pytest.mark.parametrize("inputs", ["objects", "both"])
def test_a_run_is_an_imagined_environment(tmp_path: Path, inputs: str) -> None:
    out = tmp_path / "run"
    train.run(config(out, f"inputs={inputs}"))
    mode = "rgb_array" if inputs == "both" else None
    env = gym.make("worldrl/Imagined-v0", checkpoint=str(out), render_mode=mode, disable_env_checker=True)
    obs, _ = env.reset(seed=0)
    again, rew, end, *_ = env.step(np.zeros(4, np.float32))
    assert obs.shape == again.shape == env.observation_space.shape
    assert rew == float(end)
    picture = env.render()
    assert picture is None if mode is None else np.asarray(picture).shape == (64, 64, 3)


def test_the_offset_is_on_every_reward_that_is_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived: list[float] = []
    real = ReplayBuffer.add
    monkeypatch.setattr(ReplayBuffer, "add", lambda self, **step: (lived.append(step["rews"]), real(self, **step))[1])
    train.run(config(tmp_path / "run", "inputs=objects", "offset=-5.0"))
    assert len(lived) == 80
    assert max(lived) <= -4.0 and min(lived) >= -5.0
    assert checkpoint.read_json(tmp_path / "run" / "summary.json")["ret"] >= 0.0
