"""One verb under many options, through Hydra's launchers."""

from pathlib import Path

import pytest

from worldrl.data.dataset import Dataset
from worldrl.errors import ConfigError
from worldrl.recipes.parts import seeds_for
from worldrl.recipes.results import figures_of
from worldrl.recipes.sweep import sweep

WORDS = ["collect", "env.id=worldrl/CloseDrawer-v0", "env.kwargs.size=56", "+env.kwargs.drawing=false", "policy=random"]


@pytest.mark.parametrize(
    "launcher", [(), pytest.param(("hydra/launcher=joblib",), marks=pytest.mark.slow)], ids=["here", "joblib"]
)
def test_every_combination_is_run(launcher: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = sweep([*WORDS, "episodes=1", "seed=0,1", "beyond=0,1", "out='out/${seed}-${beyond}'", *launcher])
    assert len(result.text.splitlines()) == 4
    told = [one["figures"] for one in figures_of(result)["combinations"]]
    assert [one["out"] for one in told] == ["out/0-0", "out/0-1", "out/1-0", "out/1-1"]
    assert {one["episodes"] for one in told} == {1}
    for seed in (0, 1):
        for beyond in (0, 1):
            assert Dataset(tmp_path / "out" / f"{seed}-{beyond}").seeds == list(seeds_for("random", seed, 1))


def test_a_combination_that_fails_is_told_and_the_others_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"1 of 2 combinations failed, the first of them .*episodes=0") as failed:
        sweep([*WORDS, "episodes=0,1", "out=out"])
    assert "episodes must be positive, got 0" in capsys.readouterr().out
    assert [one["code"] for one in failed.value.details["combinations"]] == [2, 0]
    assert len(Dataset(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "sweep must be followed by a verb"),
        (["doctor"], "sweep must be followed by a verb"),
        (["collect", "sed=1,2"], "'sed' is not an option of collect: did you mean 'seed'"),
        ([*WORDS, "out=x", "hydra/launcher=nowhere"], "collect cannot be launched: .*nowhere"),
    ],
)
def test_what_cannot_be_launched_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep(words)
