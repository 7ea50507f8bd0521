"""Config groups: every file fits its dataclass, and a choice sets what it says."""

from pathlib import Path

import pytest

import worldrl.configs
from worldrl.errors import ConfigError
from worldrl.recipes.config import changes, compose, options

ROOT = Path(next(iter(worldrl.configs.__path__)))
CHOICES = [(file.parent.name, file.stem) for file in sorted(ROOT.glob("*/*.yaml")) if file.parent.name != "studies"]
"""Files of groups; those of ``studies`` are no options, ``tests/recipes/test_studies.py`` reads them."""


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_file_of_every_group_fits_the_demo(group: str, name: str) -> None:
    compose("demo", [f"{group}={name}", "env.kwargs.size=112"])  # a multiple of every encoder's patch


def test_a_group_sets_its_options_and_single_ones_still_win() -> None:
    config = compose("demo", ["env=metaworld_door_lock", "env.kwargs.size=70", "encoder=random_dinov2"])
    assert config.env.id == "worldrl/MetaWorld-door-lock-v0"
    assert config.env.kwargs == {"size": 70, "max_steps": 50, "action_repeat": 3}
    assert config.encoder.name == "dinov2_vits14" and config.encoder.random_init


def test_groups_reach_into_the_demo_of_several_seeds() -> None:
    assert compose("seeds", ["env@demo.env=push"]).demo.env.id == "worldrl/Push-v0"


def test_a_frame_run_needs_neither_encoder_nor_masks() -> None:
    assert compose("demo", ["pixels=48", "encoder=none", "objects=none"]).pixels == 48


def test_the_bench_takes_a_task_by_name() -> None:
    assert compose("bench", ["env=push"]).env.id == "worldrl/Push-v0"


def test_a_misspelt_choice_names_the_right_one() -> None:
    with pytest.raises(ConfigError, match=r"env must be one of .*, got 'pusch': did you mean 'push'\?"):
        compose("demo", ["env=pusch"])


def test_the_help_lists_the_choices_of_a_group() -> None:
    listed = {option.name: option.choices for option in options("demo")}
    assert listed["objects"] == ("none", "simulator") and listed["seed"] == ()


def test_what_was_changed_can_be_typed_again() -> None:
    words = [
        'tasks=["soccer","hammer"]',
        "encoder.name=dinov2_vits14",
        "env_kwargs.drawing=true",
        "pixels=0",
        "price=0.5",
    ]
    config = compose("reproduce", [*words, "workers=3"])
    told = changes(config, leave=["workers"])
    assert sorted(told) == sorted(word for word in words if word != "pixels=0")
    assert compose("reproduce", [*told, "workers=3"]) == config
