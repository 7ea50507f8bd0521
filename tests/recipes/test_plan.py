"""Planning is measured from its own command as policies are: same episodes, same report."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from worldrl.agents.policy import Origin, make_policy
from worldrl.errors import CheckpointError, ConfigError
from worldrl.recipes import collect, encode, evaluate, plan
from worldrl.recipes.config import compose
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions
from worldrl.recipes.parts import pipeline_at, seeds_for
from worldrl.types import Starts
from worldrl.world_model.model import TOKEN_SIZES, DiffusionWorldModel
from worldrl.world_model.world import World

ENV = EnvOptions(id="worldrl/CloseDrawer-v0", kwargs={"size": 56, "max_steps": 3})
ACTS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an untrained world and an untrained policy over the observations of two random episodes."""
    out = tmp_path_factory.mktemp("planning")
    collect.run(collect.Config(env=ENV, out=str(out / "episodes"), policy="random", episodes=2))
    encode.run(
        encode.Config(
            episodes=str(out / "episodes"), out=str(out / "observation"),
            encoder=EncoderOptions(name="none"), objects=ObjectOptions(components=2),
        )
    )  # fmt: skip
    with pipeline_at(out / "observation", None) as pipeline:
        shape, pipeline_hash = pipeline.shape, pipeline.hash
    for name, made_for in (("world", pipeline_hash), ("foreign", "of another")):
        world_for(made_for, shape).save_pretrained(out / name)
    make_policy(shape, ACTS).save_pretrained(out / "clone", origin=Origin(pipeline_hash, 5, 7))
    return out


def world_for(pipeline: str, shape: tuple[int, ...]) -> World:
    torch.manual_seed(0)
    model = DiffusionWorldModel(obs_shape=shape, act_dim=ACTS, pipeline=pipeline, net=TOKEN_SIZES["tiny"], history=2)
    starts = Starts(torch.randn(3, 2, *shape), torch.zeros(3, 1, ACTS))
    return World(
        model.freeze(),
        starts,
        firsts=3,
        horizon=3,
        task=ENV.id,
        real_steps=6,
        wins=(),
        outcomes=(None,) * 3,
        decoder=None,
    )


def config(made: Path, out: Path, **changes: Any) -> plan.Config:
    small = {"horizon": 2, "samples": 4, "iterations": 2, "episodes": 3, "slots": 2}
    paths = {"world": str(made / "world"), "observation": str(made / "observation"), "out": str(out / "plan.json")}
    return plan.Config(env=ENV, **(small | paths | changes))  # type: ignore[arg-type]


def test_a_report_is_that_of_an_evaluation_on_the_same_episodes(made: Path, tmp_path: Path) -> None:
    table = str(plan.run(config(made, tmp_path, policy=str(made / "clone"), imagined=2)))
    evaluate.run(
        evaluate.Config(
            env=ENV, policies=[str(made / "clone")], observation=str(made / "observation"), episodes=3,
            out=str(tmp_path / "evaluation.json"),
        )
    )  # fmt: skip
    files = [json.loads((tmp_path / name).read_text()) for name in ("plan.json", "evaluation.json")]
    planned, evaluated = (file["reports"][0] for file in files)
    assert set(planned) == set(evaluated) and files[0].keys() == files[1].keys()
    assert planned["seeds"] == evaluated["seeds"] == list(seeds_for("evaluation", 0, 3))
    assert planned["policy"] == "cem from clone" and "cem from clone" in table
    assert planned["imagined_success"] is not None and planned["masks"] == "simulator"


@pytest.mark.parametrize("method", ["cem", "mppi"])
def test_its_steps_are_counted_and_it_repeats(method: str, made: Path, tmp_path: Path) -> None:
    reports = []
    for slots in (1, 3):
        plan.run(config(made, tmp_path, method=method, slots=slots))
        (report,) = json.loads((tmp_path / "plan.json").read_text())["reports"]
        reports.append(report)
    assert reports[0] == reports[1]
    decisions = 3 * reports[0]["mean_length"]
    assert reports[0]["imagined_steps"] == decisions * 2 * 4 * 2 and reports[0]["real_steps"] == 6
    assert reports[0]["imagined_success"] is None


def test_the_steps_that_a_proposal_brings_and_takes_are_counted_too(made: Path, tmp_path: Path) -> None:
    plan.run(config(made, tmp_path, policy=str(made / "clone"), iterations=1))
    (report,) = json.loads((tmp_path / "plan.json").read_text())["reports"]
    follows = report["episodes"] * report["mean_length"] * 2  # the proposal is imagined once a decision
    assert report["imagined_steps"] == 7 + follows + 4 * follows and report["real_steps"] == 6


def test_a_world_of_another_pipeline_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="foreign"):
        plan.run(config(made, tmp_path, world=str(made / "foreign")))
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("method=cma", "method must be one of cem, mppi, got 'cma'"),
        ("samples=2", "samples must be at least 4, got 2"),
        ("horizon=0", "horizon must be positive, got 0"),
        ("imagined=-1", "imagined must be 0 or more, got -1"),
        ("method=[", "plan cannot use these options"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_loaded(word: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        compose("plan", ["world=w", "observation=o", "out=x.json", word])


def test_the_command_composes_from_its_file() -> None:
    composed = compose("plan", ["world=w", "observation=o", "out=x.json", "env=push", "method=mppi"])
    assert composed.env.id == "worldrl/Push-v0" and composed.method == "mppi" and composed.episodes == 20
