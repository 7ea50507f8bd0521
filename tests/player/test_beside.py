"""What is seen of the simulator that stands beside an imagined episode, by eye and by a policy."""

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
from worldrl.errors import ConfigError
from worldrl.player.moments import KeptMoments, RecordedMoments
from worldrl.player.session import Session
from worldrl.player.sides import Simulator

Make = Callable[..., Session]
reads_mp4 = pytest.mark.filterwarnings(  # imageio's reader leaves its pipes to the garbage collector
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)


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
