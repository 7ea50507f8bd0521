"""What a world was not fitted to is noted with it, and whoever measures it looks at nothing else."""

from pathlib import Path

import pytest

from worldrl.data.dataset import Dataset
from worldrl.errors import ConfigError, DataError
from worldrl.recipes import collect
from worldrl.recipes.held_out import NAME, check_share, note, pass_on, split, split_of
from worldrl.recipes.options import EnvOptions

ENV = EnvOptions(id="worldrl/Reach-v0", kwargs={"size": 28, "max_steps": 3})


def record(folder: Path, episodes: int, policy: str = "expert") -> Dataset:
    collect.run(collect.Config(env=ENV, out=str(folder), policy=policy, episodes=episodes))
    return Dataset(folder)


def test_episodes_that_were_held_out_stay_so_when_others_are_added(tmp_path: Path) -> None:
    world, dataset = tmp_path / "world", record(tmp_path / "episodes", 8)
    world.mkdir()
    note(world, dataset, 0.5)
    grown = record(tmp_path / "episodes", 8, "random")
    assert split_of(world, dataset) == split_of(world, grown) == ([0, 1, 2, 3], [4, 5, 6, 7])
    assert split_of(world, grown, 0.25) == split(grown.policies, 0.25) != split_of(world, grown)


def test_whoever_was_left_out_of_training_was_not_learned_from(tmp_path: Path) -> None:
    record(tmp_path / "episodes", 3, "random")
    dataset = record(tmp_path / "episodes", 8)
    note(tmp_path, dataset, 0.5, ["random"])
    learned, held = split_of(tmp_path, dataset)
    assert [dataset.policies[i] for i in learned] == ["expert"] * 2 and not set(learned) & set(held)


def test_a_world_of_before_it_was_noted_held_out_the_usual_share(tmp_path: Path) -> None:
    dataset = record(tmp_path / "episodes", 8)
    assert split_of(tmp_path, dataset) == ([0, 1, 2, 3, 4, 5, 6], [7])


def test_other_episodes_are_refused_unless_the_share_is_given(tmp_path: Path) -> None:
    note(tmp_path, record(tmp_path / "episodes", 8), 0.5)
    for other in (record(tmp_path / "few", 4), record(tmp_path / "others", 8, "random")):
        with pytest.raises(DataError, match=r"episodes must be those that .* was fitted to, got others at .*held_out="):
            split_of(tmp_path, other)
        assert split_of(tmp_path, other, 0.5) == split(other.policies, 0.5)


def test_a_world_that_is_made_from_another_has_not_seen_what_that_has_not(tmp_path: Path) -> None:
    dataset = record(tmp_path / "episodes", 8)
    for name in ("teacher", "student", "other"):
        (tmp_path / name).mkdir()
    note(tmp_path / "teacher", dataset, 0.5)
    pass_on(tmp_path / "teacher", tmp_path / "student", dataset, None)
    assert (tmp_path / "student" / NAME).read_bytes() == (tmp_path / "teacher" / NAME).read_bytes()
    pass_on(tmp_path / "teacher", tmp_path / "other", dataset, 0.25)
    assert split_of(tmp_path / "other", dataset)[1] == [6, 7]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"held_out must be in \(0, 1\), got"):
        check_share(share)
    check_share(None)
