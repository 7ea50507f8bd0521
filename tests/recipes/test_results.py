"""With --json, one JSON object is all of standard output, whatever a verb does and however it ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import pytest

from worldrl import cli
from worldrl.errors import CheckpointError
from worldrl.recipes.results import Result, figures_of, plain, to_json

Toy = Callable[..., tuple[int, dict[str, Any], str]]


@dataclass
class Config:
    """No options."""


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Toy:
    """Run a recipe of one line with --json; return exit code, object and standard error."""
    monkeypatch.setitem(cli.RECIPES, "toy", ("toy_recipe", "Play."))
    monkeypatch.setattr(cli, "compose", lambda verb, words, schema: schema())

    def call(run: Callable[[Config], object]) -> tuple[int, dict[str, Any], str]:
        monkeypatch.setitem(sys.modules, "toy_recipe", SimpleNamespace(Config=Config, run=run))
        code = cli.main(["toy", "--json"])
        out, err = capfd.readouterr()
        return code, json.loads(out, parse_constant=lambda name: pytest.fail(name)), err

    return call


@pytest.mark.parametrize(
    ("returned", "figures"),
    [
        (None, {}),
        ("done", {"text": "done"}),
        ({"loss": float("nan")}, {"loss": None}),
        (Result("a table", {"success": np.float32(0.5), "out": Path("x")}), {"success": 0.5, "out": "x"}),
        (Result("only words", {}), {"text": "only words"}),
    ],
)
def test_whatever_a_recipe_returns_becomes_one_object(toy: Toy, returned: object, figures: dict[str, Any]) -> None:
    assert toy(lambda config: returned)[:2] == (0, figures)


def test_what_a_recipe_prints_goes_to_standard_error(toy: Toy) -> None:
    def run(config: Config) -> Result:
        print("a line")
        return Result("", {"x": 1})

    code, figures, err = toy(run)
    assert (code, figures) == (0, {"x": 1})
    assert "a line" in err


def test_a_child_writes_nothing_into_the_object() -> None:
    code = (
        "import subprocess, sys; from worldrl import cli\n"
        "cli.ROOMS['envs'] = 'toy'; import types\n"
        "def envs(words): subprocess.run(['echo', 'a child'], check=True); return {'x': 1}\n"
        "sys.modules['worldrl.recipes.toy'] = types.SimpleNamespace(envs=envs)\n"
        "sys.exit(cli.main(['envs', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"x": 1}
    assert "a child" in done.stderr


def test_an_error_is_an_object_with_its_exit_code_and_its_details(toy: Toy) -> None:
    error = CheckpointError("it is damaged.")
    error.details = {"damaged": ["a"], "share": float("inf")}

    def run(config: Config) -> None:
        raise error

    code, figures, err = toy(run)
    assert code == 4
    told = {"kind": "CheckpointError", "message": "it is damaged.", "exit_code": 4, "damaged": ["a"], "share": None}
    assert figures == {"error": told}
    assert "worldrl: it is damaged." in err


def test_a_bug_is_an_object_too(toy: Toy) -> None:
    def run(config: Config) -> None:
        raise RuntimeError("oh")

    assert toy(run)[1]["error"]["exit_code"] == 1


def test_without_json_a_result_prints_its_text_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worldrl.recipes.inspect.envs", lambda words: Result("a table", {"x": 1}))
    assert cli.main(["envs"]) == 0
    assert capsys.readouterr().out == "a table\n"
    monkeypatch.setattr("worldrl.recipes.inspect.envs", lambda words: Result("", {"x": 1}))
    assert cli.main(["envs"]) == 0
    assert capsys.readouterr().out == ""


def test_no_value_is_beyond_json() -> None:
    values = {"a": np.array([1.0, np.nan]), "b": {1: (2, {3})}, "c": -np.inf, "d": np.bool_(True), "e": object}
    told = json.loads(to_json(values))
    assert (told["a"], told["b"], told["c"], told["d"]) == ([1.0, None], {"1": [2, [3]]}, None, True)
    assert plain(Config()) == {}
    assert figures_of(None) == {}


@pytest.mark.parametrize("verb", [*cli.RECIPES, *cli.TOOLS])
def test_every_verb_has_figures_for_programs(verb: str) -> None:
    recipe = verb in cli.RECIPES
    module = cli.RECIPES[verb][0] if recipe else f"worldrl.recipes.{cli.ROOMS[verb]}"
    assert get_type_hints(getattr(import_module(module), "run" if recipe else verb))["return"] is Result


@pytest.mark.parametrize(("words", "name"), [(["envs"], "envs"), (["encoders", "list"], "encoders")])
def test_tools_that_list_give_lists(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[name]) > 3
