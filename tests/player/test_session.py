"""What can be done with an imagined episode while it runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest

import worldrl.envs  # noqa: F401  registers the ids
from worldrl.data.dataset import Dataset, DatasetWriter
from worldrl.data.rollout import roll_out
from worldrl.data.segments import SegmentSampler
from worldrl.errors import ConfigError, StorageError
from worldrl.player.moments import KeptMoments, RecordedMoments
from worldrl.player.session import Session
from worldrl.player.sides import Simulator

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


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data") / "episodes"
    env = gym.make("worldrl/Reach-v0", size=28, max_steps=6, disable_env_checker=True)
    rng = np.random.default_rng(0)
    episodes = roll_out(
        [env], lambda obs, envs, slots: rng.uniform(-1, 1, (len(obs), 4)), seeds=[3, 4], record=True, policy="random"
    )
    with DatasetWriter(
        folder, env_id="worldrl/Reach-v0", env_kwargs={"size": 28, "max_steps": 6}, objects=()
    ) as writer:
        for episode in episodes:
            writer.add(episode)
    env.close()
    return Dataset(folder)


class Still:
    """A world in which nothing happens, of a hand's place."""

    history, obs_shape, act_dim, success_threshold = 3, (1,), 4, 0.5

    def imagine(self, obs: Any, acts: Any, *, noise: Any, choice: Any) -> Any:
        from worldrl.types import Imagined

        return Imagined(obs[:, -1], obs[:, -1, 0] * 0, obs[:, -1, 0] * 0)


def observe(frames: Any, proprio: Any, labels: Any) -> Any:
    assert frames.ndim == 4 and labels.ndim == 3
    return proprio[:, :1]


LOOKS: list[int] = []
"""An entry for every time that the simulator was looked at."""


def sees(shown: Any, env: Any) -> Any:
    LOOKS.append(1)
    return observe(shown["image"][None], shown["proprio"][None], env.unwrapped.labels()[None])


class Away:
    """A policy that moves by what it sees, and remembers all of that."""

    def begin(self, seed: int) -> list[float]:
        return []

    def act(self, obs: Any, memories: Any, *, deterministic: bool) -> Any:
        assert obs.shape == (1, 1)
        memories[0].append(float(obs[0, 0]))
        return np.array([[np.clip(memories[0][-1], -1, 1), 1.0, 0.0, 0.0]])


@pytest.fixture
def beside(recorded: Dataset) -> Iterator[Session]:
    env = gym.make("worldrl/Reach-v0", size=28, max_steps=6, disable_env_checker=True)
    session = Session(
        Still(), RecordedMoments(recorded, observe, history=3), horizon=6, real=Simulator(env, sees),
        decode=lambda obs: np.zeros((len(obs), 16, 16, 3), np.uint8), policies={"away": Away()},
    )  # fmt: skip
    session.drive("you")
    yield session
    session.close()


def test_the_simulator_begins_where_imagination_does_and_takes_the_same_actions(
    beside: Session, recorded: Dataset
) -> None:
    episode = recorded[1]
    beside.reset(1, 2)
    for step in range(2, 6):
        real = beside.view().real
        assert real is not None and np.array_equal(real.frame, episode.frames[step])
        beside.act(episode.acts[step].tolist())
        beside.step()
    real = beside.view().real
    assert real is not None and np.array_equal(real.frame, episode.frames[6])


def test_the_time_of_both_is_over_at_once_and_the_simulator_then_stands_still(beside: Session) -> None:
    beside.go_on(True)
    beside.reset(0, 5)
    for _ in range(5):
        beside.step()
    assert not beside.view().imagined.ended
    beside.step()
    view = beside.view()
    assert view.imagined.ended == "time" and view.real is not None and view.real.ended == "time"
    beside.step()
    assert beside.view().real is view.real and beside.view().step == 7


def test_a_policy_looks_at_imagination_and_where_that_is_wanted_at_the_simulator(beside: Session) -> None:
    LOOKS.clear()
    beside.drive("away")
    beside.step()
    beside.step()
    still, moved = beside.view().action[0], []
    assert beside.view().looks_at == "imagination" and not LOOKS, "what nobody looks at is not observed"
    beside.look("MuJoCo")
    for _ in range(3):
        beside.step()
        moved.append(beside.view().action[0])
    assert len({still, *moved}) == 4 and len(LOOKS) == 3, "the still world shows the same, the simulator does not"
    assert beside._memory is not None and len(beside._memory) == 3, "what it remembered was of the other world"
    beside.look("imagination")
    beside.step()
    assert beside.view().action[0] == still and len(LOOKS) == 3


def test_an_episode_is_over_with_that_of_the_world_that_is_looked_at(beside: Session) -> None:
    beside.drive("away")
    beside.look("MuJoCo")
    beside._dream.horizon = 9
    beside.go_on(True)
    for _ in range(6):
        assert not beside.view().over
        beside.step()
    assert beside.view().real.ended == "time" and not beside.view().imagined.ended and beside.view().over
    with pytest.raises(ConfigError, match=r"is over \(time\): reset it, or look at imagination"):
        beside.step()
    beside.look("imagination")
    beside.step()
    assert not beside.view().over
    beside.look("MuJoCo")
    beside.drive("you")
    assert not beside.view().over, "whoever drives by hand looks at nothing"


def test_what_cannot_be_looked_at_is_refused(beside: Session, make: Make) -> None:
    with pytest.raises(ConfigError, match="at must be one of imagination, MuJoCo, got 'you'"):
        beside.look("you")
    with pytest.raises(ConfigError, match="at must be imagination where no MuJoCo stands beside it, got MuJoCo"):
        make().look("MuJoCo")
    beside.look("MuJoCo")
    simulator, moments = beside._real, beside.moments
    assert simulator is not None
    beside.moments = KeptMoments(moments.at(0, 0).start)
    beside.reset(0, 0)
    assert beside.view().real is None and beside.view().looks_at == "imagination"
    beside.moments = moments
    beside.reset(0, 0)
    simulator.observe = None
    with pytest.raises(ConfigError, match="without an observation pipeline, got MuJoCo: name one by observation="):
        beside.look("MuJoCo")
    assert beside.view().looks_at == "imagination"


@reads_mp4
def test_both_pictures_stand_side_by_side_in_a_film(beside: Session, tmp_path: Path) -> None:
    beside.films = tmp_path
    beside.record(True)
    beside.step()
    beside.record(False)
    (film,) = tmp_path.iterdir()
    left, right = np.split(iio.imread(film)[-1], 2, axis=1)
    assert left[20:-8, 8:-8].max() < 40 < right[20:-8, 8:-8].mean()


def test_a_history_is_that_of_training(recorded: Dataset) -> None:
    sampler = SegmentSampler(
        [episode.proprio[:, :1] for episode in recorded], [episode.acts for episode in recorded],
        [episode.success for episode in recorded], history=3, seed=0,
    )  # fmt: skip
    moments = RecordedMoments(recorded, observe, history=3)
    assert moments.lengths == [6, 6] and moments.actors == ["random", "random"]
    for step in range(6):
        batch = sampler.at(np.array([1]), np.array([step]))
        start = moments.at(1, step).start
        assert start.obs.equal(batch.obs[:, :-1]) and start.acts.equal(batch.acts[:, :-1])
    assert np.allclose(moments.at(1, 6).start.obs[0, :, 0], recorded[1].proprio[4:7, 0])
