"""``worldrl scenes make|show``."""

import json
from pathlib import Path

import pytest

from worldrl.data.scenes import read_scenes
from worldrl.errors import ConfigError
from worldrl.recipes import scenes
from worldrl.recipes.config import compose
from worldrl.recipes.results import figures_of
from worldrl.scene import NOVEL


def test_scenes_are_made_exported_and_shown(tmp_path: Path) -> None:
    words = ["action=make", f"out={tmp_path / 'set'}", "count=2", "size=112", "classes=novel", "shown=1"]
    result = scenes.run(compose("scenes", [*words, f"coco={tmp_path / 'coco'}"], schema=scenes.Config))
    picture = str(tmp_path / "set" / "contact.png")
    assert figures_of(result) == {
        "out": str(tmp_path / "set"), "scenes": 2, "size": 112, "coco": str(tmp_path / "coco" / "instances.json"),
        "picture": picture, "shown": 1,
    }  # fmt: skip
    made = read_scenes(tmp_path / "set")
    assert "2 scenes of 112x112 pixels" in result.text and len(made) == 2
    assert {thing.name for i in range(2) for thing in made.things(i)} <= set(NOVEL)
    assert made.captions(0)[0].startswith("a picture of ") and made.questions(0)[0][0] == "how many things are there ?"
    assert (tmp_path / "set" / "contact.png").exists()
    assert len(json.loads((tmp_path / "coco" / "instances.json").read_text())["images"]) == 2
    shown = ["action=show", f"out={tmp_path / 'set'}", f"picture={tmp_path / 'again.png'}"]
    scenes.run(compose("scenes", shown, schema=scenes.Config))
    assert (tmp_path / "again.png").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["action=draw"], "action must be one of make, show, got 'draw'"),
        (["action=make", "names=[red cube,red cube]"], "names must differ, got 'red cube' 2 times"),
        (["action=make", "names=[red cube,'']"], "names must not be empty, got an empty one at position 1"),
        (["action=make", "count=5000"], "count must be at most 2000 a folder, got 5000: make several folders"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        scenes.run(compose("scenes", [*words, f"out={tmp_path / 'set'}"], schema=scenes.Config))
