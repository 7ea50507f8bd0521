"""A faster sampler beside its teacher, from the verb."""

import json
from pathlib import Path
from typing import Any

import pytest

from worldrl.errors import ConfigError
from worldrl.facts import known
from worldrl.recipes import clone, collect, distil, encode, fit
from worldrl.recipes.options import EncoderOptions, EnvOptions, WorldModelOptions
from worldrl.recipes.telling import Training, curves_path
from worldrl.world_model.world import World


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of a drawer, a clone, and a world of three sampling steps."""
    root = tmp_path_factory.mktemp("distil")
    env, at = EnvOptions("worldrl/CloseDrawer-v0", {"size": 56, "max_steps": 20, "drawing": False}), str(root / "data")
    for who, count in (("noisy_expert", 6), ("random", 3)):
        collect.run(collect.Config(env=env, out=at, policy=who, episodes=count))
    encode.run(encode.Config(episodes=at, out=str(root / "obs"), encoder=EncoderOptions("none")))
    clone.run(clone.Config(episodes=at, observation=str(root / "obs"), out=str(root / "clone"), steps=100))
    fit.run(
        fit.Config(
            episodes=at, observation=str(root / "obs"), out=str(root / "world"), steps=20, success_steps=20,
            decoder_steps=0, world_model=WorldModelOptions(size="tiny", steps=3),
        )
    )  # fmt: skip
    return root


def config(made: Path, **changes: Any) -> distil.Config:
    at = {"world": "world", "episodes": "data", "observation": "obs", "out": "faster"}
    settings = {name: str(made / folder) for name, folder in at.items()}
    quick = {"steps": 20, "starts": 6, "reach": 2, "batch": 4, "seconds": 0.02}
    return distil.Config(**(settings | quick | changes))


def test_the_student_is_saved_and_told_beside_its_teacher(made: Path) -> None:
    results = made / "distil.json"
    text = str(distil.run(config(made, policies=[str(made / "clone")], results=str(results))))
    faster, slower = (World.from_pretrained(made / name).model for name in ("faster", "world"))
    assert (faster.evaluations, slower.evaluations) == (1, 3)
    (found,) = json.loads(results.read_text()).values()
    assert found["masks"] == "simulator" and found["starts"] == 6
    for way in ("teacher", "student"):
        (policy,) = found[way]["policies"]
        assert policy["imagined_success"]["trials"] == 6
        assert policy["false_success"]["trials"] == policy["imagined_success"]["count"]
    for part in ("faster", "faster/model"):
        assert {"masks": "simulator", "encoder": "none"}.items() <= known(made / part).items()
    assert "masks: simulator" in text and results.with_suffix(".md").read_text() == text


@pytest.mark.fault(15)
def test_a_lesson_that_was_killed_ends_as_one_that_was_not(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 15: raised in a step of the student's, gone on with, and compared with an unbroken one."""
    distil.run(config(made, out=str(tmp_path / "whole")))
    learn, seen = Training.__call__, list[int]()

    def dying(training: Training, step: int, loss: float) -> None:
        if step == 13:
            raise RuntimeError("killed")
        learn(training, step, loss)

    def counting(training: Training, step: int, loss: float) -> None:
        seen.append(step)
        learn(training, step, loss)

    again = config(made, out=str(tmp_path / "out"), keep_every=5)
    monkeypatch.setattr(Training, "__call__", dying)
    with pytest.raises(RuntimeError, match="killed"):
        distil.run(again)
    monkeypatch.setattr(Training, "__call__", counting)
    distil.run(again)
    assert seen == list(range(11, 21))
    one, other = (World.from_pretrained(tmp_path / name).model.hash() for name in ("whole", "out"))
    assert one == other and not (tmp_path / "out.training").exists()
    assert curves_path(tmp_path / "out").read_bytes() == curves_path(tmp_path / "whole").read_bytes()


@pytest.mark.fault(15)
def test_a_student_that_was_taught_is_not_taught_again_when_measuring_it_was_stopped(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 15: measuring may take longer than teaching."""

    def die(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    again = config(made, out=str(tmp_path / "out"))
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="killed"):
        patched.setattr(distil, "predictions", die)
        distil.run(again)
    taught = World.from_pretrained(tmp_path / "out").model.hash()
    monkeypatch.setattr(Training, "__call__", die)  # no step is left to be told
    distil.run(again)
    assert World.from_pretrained(tmp_path / "out").model.hash() == taught


def test_a_student_is_no_teacher_and_verdicts_are_told_with_their_error(made: Path) -> None:
    distil.run(config(made))
    with pytest.raises(ConfigError, match="world must be one that samples by Euler steps, got a distilled one"):
        distil.run(config(made, world=str(made / "faster"), out=str(made / "again")))
    worlds = [
        {
            way: {"policies": [{"false_success": {"count": count, "trials": 1000}}]}
            for way, count in (("teacher", 400), ("student", 410))
        }
    ]
    assert "+1.0 points, standard error 2.2" in distil.verdict(worlds)
