"""What can be done with an imagined episode while it runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest

import worldrl.envs  # noqa: F401  registers the ids
from worldrl.errors import ConfigError, StorageError
from worldrl.player.session import Session

Make = Callable[..., Session]
reads_mp4 = pytest.mark.filterwarnings(  # imageio's reader leaves its pipes to the garbage collector
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)


def place(session: Session) -> float:
    """Return where the point is drawn."""
    return (int(session.view().imagined.frame[0, :, 0].argmax()) - 32) / 8


def by_hand(session: Session, *acts: tuple[float, float]) -> None:
    session.drive("you")
    for act in acts:
        session.act(act)
        session.step()


def test_the_imagined_world_follows_the_hand(make: Make) -> None:
    session = make()
    by_hand(session, (0.5, 0), (0.5, 0), (-0.25, 0))
    assert place(session) == 0.75
    assert session.view().step == 3 and session.view().action == (-0.25, 0.0)


def test_an_action_is_held_until_the_next(make: Make) -> None:
    session = make()
    by_hand(session, (0.5, 0))
    session.step()
    assert place(session) == 1.0


def test_a_policy_drives_with_a_fresh_memory_after_every_reset(make: Make) -> None:
    session = make()
    for _ in range(2):
        session.reset(0, 0)
        session.step()
        session.step()
        assert place(session) == 0.75
    assert session.view().driver == "right"


def test_who_drives_may_change_within_an_episode(make: Make) -> None:
    session = make()
    by_hand(session, (-1, 0))
    session.drive("right")
    session.step()
    assert place(session) == -0.75
    with pytest.raises(ConfigError, match="by must be one of you, right, got 'nobody'"):
        session.drive("nobody")
    assert session.view().driver == "right"


def test_an_imagined_success_ends_the_episode_and_it_plays_from_its_beginning_again(make: Make) -> None:
    session = make()
    session.play()
    by_hand(session, (1, 0), (1, 0))
    view = session.view()
    assert view.imagined.success and view.imagined.ended == "success" and not view.playing
    assert view.success_probability == 0.5
    with pytest.raises(ConfigError, match=r"one that is over \(success\): reset it, or let it go on"):
        session.step()
    session.play()
    assert session.view().playing and session.view().step == 0 and place(session) == 0


def test_past_its_end_an_episode_goes_on_where_that_is_wanted(make: Make) -> None:
    session = make()
    session.go_on(True)
    by_hand(session, (1, 0), (1, 0), (-1, 0))
    view = session.view()
    assert (view.step, view.imagined.success, view.imagined.ended) == (3, False, "success")


def test_imagination_halts_beyond_the_data(make: Make) -> None:
    session = make()
    by_hand(session, (-1, 0), (-1, 0))
    assert session.view().disagreement == 1.0 and not session.view().imagined.ended
    session.step()
    assert session.view().disagreement == 1.5 and session.view().imagined.ended == "halted"


def test_time_is_over_after_the_horizon(make: Make) -> None:
    session = make()
    by_hand(session, *[(0, 0)] * 5)
    assert not session.view().imagined.ended
    session.step()
    assert session.view().imagined.ended == "time"


def test_a_session_begins_from_any_start_and_refuses_others(make: Make) -> None:
    session = make()
    session.reset(1, 0)
    assert place(session) == 1
    for episode, step, why in (
        (2, 0, "episode must be in 0 to 1"),
        (-1, 0, "episode"),
        (0, 1, "step must be in 0 to 0"),
    ):
        with pytest.raises(ConfigError, match=why):
            session.reset(episode, step)
    assert place(session) == 1 and session.view().episode == 1


@pytest.mark.parametrize("action", [[0.5], [0.5, 0, 0], [1.01, 0], [float("nan"), 0], []])
def test_what_is_no_action_is_refused_and_the_last_one_stays(make: Make, action: list[float]) -> None:
    session = make()
    by_hand(session, (0.5, 0))
    with pytest.raises(ConfigError, match=r"action must be 2 numbers in \[-1, 1\]"):
        session.act(action)
    session.step()
    assert place(session) == 1.0


def test_a_world_that_cannot_be_drawn_is_refused(make: Make) -> None:
    with pytest.raises(ConfigError, match="world must have a decoder"):
        make(decode=None)


@pytest.mark.parametrize("fps", [0.5, 61.0])
def test_a_pace_out_of_range_is_refused(make: Make, fps: float) -> None:
    with pytest.raises(ConfigError, match="fps must be in 1 to 60"):
        make().pace(fps)


def film_of(session: Session, folder: Path, frames: int) -> Any:
    session.record(True)
    by_hand(session, *[(0.1, 0)] * (frames - 1))
    session.record(False)
    return iio.imread(folder / session.view().saved)


@reads_mp4
def test_a_film_has_a_frame_of_every_step_and_a_name_of_its_own(make: Make, tmp_path: Path) -> None:
    session = make(films=tmp_path / "videos")
    assert len(film_of(session, tmp_path / "videos", 5)) == 5
    session.reset(0, 0)
    film_of(session, tmp_path / "videos", 2)
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == ["play-001.mp4", "play-002.mp4"]


def test_closing_finishes_a_film(make: Make, tmp_path: Path) -> None:
    session = make(films=tmp_path)
    session.record(True)
    session.step()
    session.close()
    assert [path.name for path in tmp_path.iterdir()] == ["play-001.mp4"]


def test_a_film_that_cannot_be_written_leaves_the_session_alive(make: Make, tmp_path: Path) -> None:
    (tmp_path / "videos").write_text("not a folder")
    session = make(films=tmp_path / "videos")
    session.record(True)
    with pytest.raises(StorageError, match="cannot be written"):
        session.record(False)
    session.step()
    assert session.view().step == 1 and not session.view().film
    with pytest.raises(ConfigError, match="without a folder for films"):
        make().record(True)
