"""What stages learn is kept beside what they make, whole, whether they were stopped or not."""

import json
from pathlib import Path
from typing import Any

import pytest

from worldrl.recipes import clone, collect, encode, fit
from worldrl.recipes.options import EncoderOptions, EngineOptions, EnvOptions, WorldModelOptions
from worldrl.recipes.telling import Training, curves_path

TASKS = ("CloseDrawer", "OpenDrawer")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two tasks, a few episodes each, as folders by task."""
    at = {name: tmp_path_factory.mktemp("data") / name for name in ("episodes", "observation")}
    for task in TASKS:
        episodes, env = str(at["episodes"] / task), EnvOptions(f"worldrl/{task}-v0", {"size": 28, "max_steps": 40})
        collect.run(collect.Config(env=env, out=episodes, policy="noisy_expert", episodes=4))
        seen = encode.Config(episodes=episodes, out=str(at["observation"] / task), encoder=EncoderOptions(name="none"))
        encode.run(seen)
    return {name: str(folder) for name, folder in at.items()}


def cloned(data: dict[str, str], out: Path) -> clone.Config:
    at = {name: str(Path(folder) / TASKS[0]) for name, folder in data.items()}
    return clone.Config(**at, out=str(out), steps=30, keep_every=10)


def fitted(data: dict[str, str], out: Path) -> fit.Config:
    return fit.Config(
        **data, out=str(out), world_model=WorldModelOptions(size="tiny"), steps=30, success_steps=20, decoder_steps=12,
        engine=EngineOptions(keep_every=10),
    )  # fmt: skip


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("recipe", "options", "deaths", "labels"),
    [
        (clone, cloned, [("clone", 17)], ["clone"]),
        (
            fit, fitted, [("fit dynamics", 17), ("fit decoder CloseDrawer", 11), ("fit success OpenDrawer", 4)],
            ["fit dynamics", *(f"fit {what} {task}" for task in TASKS for what in ("success", "decoder"))],
        ),
    ],
)  # fmt: skip
def test_the_curves_of_a_stage_that_was_killed_are_those_of_one_that_was_not(
    recipe: Any, options: Any, deaths: list[tuple[str, int]], labels: list[str], data: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Fault 15: raised inside a step of one training after the other; every task has curves of its own."""
    recipe.run(options(data, tmp_path / "whole"))
    learn, out = Training.__call__, tmp_path / "out"
    for death in deaths:

        def dying(training: Training, step: int, loss: float, death: tuple[str, int] = death) -> None:
            if (training.label, step) == death:
                raise RuntimeError("killed")
            learn(training, step, loss)

        monkeypatch.setattr(Training, "__call__", dying)
        with pytest.raises(RuntimeError, match="killed"):
            recipe.run(options(data, out))
        assert not curves_path(out).exists()
    monkeypatch.undo()
    recipe.run(options(data, out))
    assert curves_path(out).read_bytes() == curves_path(tmp_path / "whole").read_bytes()
    kept = json.loads(curves_path(out).read_text())
    assert list(kept) == labels and [step for step, _ in kept[labels[0]]] == list(range(1, 31))
    assert {path.name for path in tmp_path.iterdir()} == {
        "whole", "whole.curves.json", "out", "out.curves.json",
    }  # fmt: skip
