"""The baselines from their own command: learnt from one data set, and then used like the cloned policy."""

import json
from pathlib import Path
from typing import Any

import pytest

from worldrl import cli
from worldrl.agents.policy import load_policy
from worldrl.data.dataset import Dataset
from worldrl.errors import ConfigError
from worldrl.recipes import collect, encode, evaluate, offline, refine
from worldrl.recipes.config import compose
from worldrl.recipes.options import EncoderOptions, EnvOptions

CLASSES = {"diffusion_policy": "DiffusionPolicy", "td3_bc": "GaussianPolicy", "iql": "GaussianPolicy"}


def task(max_steps: int) -> EnvOptions:
    return EnvOptions(id="worldrl/CloseDrawer-v0", kwargs={"size": 56, "max_steps": max_steps})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few episodes, their observation pipeline, and a policy of each method after three steps."""
    out = tmp_path_factory.mktemp("run")
    episodes, observation = str(out / "episodes"), str(out / "observation")
    collect.run(collect.Config(env=task(40), out=episodes, policy="expert", episodes=5))
    encode.run(encode.Config(episodes=episodes, out=observation, encoder=EncoderOptions(name="none")))
    for method in CLASSES:
        words = [f"episodes={episodes}", f"observation={observation}", f"out={out / method}", f"method={method}"]
        assert cli.main(["offline", *words, "steps=3", "batch_size=8", "proprio=2"]) == 0
    return out


@pytest.mark.parametrize(("method", "name"), CLASSES.items())
def test_each_method_leaves_a_policy_that_knows_what_it_was_made_from(run: Path, method: str, name: str) -> None:
    policy, origin = load_policy(run / method)
    assert type(policy).__name__ == name
    assert origin.pipeline == json.loads((run / "observation/config.json").read_text())["hash"]
    assert policy.proprio == 2  # type: ignore[attr-defined]
    assert (origin.real_steps, origin.imagined_steps) == (Dataset(run / "episodes").num_steps, 0)


def test_all_of_them_are_evaluated_by_one_command(run: Path) -> None:
    policies = [str(run / method) for method in CLASSES]
    files = {"observation": str(run / "observation"), "out": str(run / "evaluation.json")}
    evaluate.run(evaluate.Config(env=task(6), policies=policies, episodes=3, slots=2, **files))  # type: ignore[arg-type]
    reports = json.loads((run / "evaluation.json").read_text())["reports"]
    assert [report["policy"] for report in reports] == list(CLASSES)
    assert all(len(report["outcomes"]) == 3 for report in reports)


def test_a_diffusion_policy_records_episodes(run: Path, tmp_path: Path) -> None:
    collect.run(
        collect.Config(
            env=task(6), out=str(tmp_path / "data"), policy=str(run / "diffusion_policy"), episodes=2,
            observation=str(run / "observation"),
        )
    )  # fmt: skip
    assert len(Dataset(tmp_path / "data")) == 2


def test_ppo_refuses_what_is_not_gaussian(run: Path) -> None:
    with pytest.raises(ConfigError, match="policy must be a GaussianPolicy, got a DiffusionPolicy"):
        refine.run(refine.Config(world=str(run), policy=str(run / "diffusion_policy"), out=str(run / "refined")))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["method=bc"], "method must be one of diffusion_policy, td3_bc, iql, got 'bc'"),
        (["method=iql", "steps=0"], "steps must be positive, got 0"),
        (["method=iql", "iql.expectyle=0.9"], "did you mean 'expectile'?"),
        ([], "method must be given"),
    ],
)
def test_a_wrong_option_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("offline", ["episodes=e", "observation=o", "out=x", *words])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "iql", "iql": offline.IqlOptions(expectile=1.5)},
        {"method": "td3_bc", "td3_bc": offline.Td3BcOptions(alpha=0.0)},
        {"method": "diffusion_policy", "diffusion_policy": offline.DiffusionOptions(execute=9)},
    ],
)
def test_an_option_of_a_method_is_refused_before_anything_is_observed(
    run: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline, "tokens_of", lambda *_: pytest.fail("observed"))
    config = offline.Config(
        episodes=str(run / "episodes"), observation=str(run / "observation"), out=str(run / "x"), **changes
    )
    with pytest.raises(ConfigError, match="must be"):
        offline.run(config)
    assert not (run / "x").exists()
