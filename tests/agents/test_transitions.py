"""Episodes become transitions: a success ends them, the end of a recording does not."""

import numpy as np
import pytest
import torch
from toys import chain

from worldrl.agents.transitions import Experience, Transitions, follow, learn
from worldrl.errors import DataError, NumericsError
from worldrl.resuming import Parts
from worldrl.types import Array


def episode(length: int, *, first: int, solved: tuple[int, ...] = ()) -> tuple[Array, Array, Array]:
    """Return an episode whose observations count up from ``first``, as do its actions."""
    obs = np.arange(first, first + length + 1, dtype=np.float32).reshape(-1, 1, 1)
    return obs, obs[:-1, 0] / 100, np.isin(np.arange(length + 1), solved)


def everything(*episodes: tuple[Array, Array, Array]) -> Transitions:
    experience = Experience.of(*zip(*episodes, strict=True))
    return experience.at(torch.arange(len(experience)))


def test_a_transition_leads_to_the_next_observation_of_its_own_episode() -> None:
    steps = everything(episode(2, first=10), episode(3, first=20))
    assert steps.obs.flatten().tolist() == [10, 11, 20, 21, 22]
    assert steps.next_obs.flatten().tolist() == [11, 12, 21, 22, 23]
    torch.testing.assert_close(steps.acts[:, 0], torch.tensor([0.10, 0.11, 0.20, 0.21, 0.22]))


def test_a_success_rewards_and_ends_and_the_end_of_a_recording_does_neither() -> None:
    steps = everything(episode(2, first=10, solved=(2,)), episode(3, first=20))
    assert steps.rews.tolist() == [0, 1, 0, 0, 0]
    assert steps.ends.tolist() == [0, 1, 0, 0, 0]


def test_what_starts_in_a_success_is_left_out() -> None:
    steps = everything(episode(4, first=10, solved=(2, 3)))
    assert steps.obs.flatten().tolist() == [10, 11]
    assert steps.rews.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([episode(2, first=0, solved=(0, 1, 2))], "a step that does not start in a success, got none"),
        (
            [(np.zeros((3, 1, 1)), np.zeros((3, 1)), np.zeros(3, bool))],
            r"one more obs and success than acts, got \(3, 3, 3\)",
        ),
    ],
)
def test_episodes_that_teach_nothing_or_do_not_fit_are_refused(
    episodes: list[tuple[Array, Array, Array]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        everything(*episodes)


class Counter:
    """A learner that keeps what it saw, and whose loss is the number of its update."""

    def __init__(self, worst: float = 0.0) -> None:
        self.seen: list[Transitions] = []
        self.worst = worst

    def update(self, batch: Transitions) -> float:
        self.seen.append(batch)
        return len(self.seen) + self.worst

    def parts(self) -> Parts:
        return Parts({})


def test_the_seed_decides_what_is_drawn_and_the_last_tenth_is_told() -> None:
    first, second, third = Counter(), Counter(), Counter()
    told: list[tuple[int, float]] = []
    assert learn(first, chain(), steps=20, batch_size=8, seed=1, progress=lambda *seen: told.append(seen)) == 19.5
    learn(second, chain(), steps=20, batch_size=8, seed=1)
    learn(third, chain(), steps=20, batch_size=8, seed=2)
    assert told[-1] == (20, 20.0) and len(first.seen[0]) == 8
    assert all(torch.equal(a.acts, b.acts) for a, b in zip(first.seen, second.seen, strict=True))
    assert not torch.equal(first.seen[0].acts, third.seen[0].acts)


@pytest.mark.fault(43)
def test_a_loss_that_is_no_number_stops_it() -> None:
    with pytest.raises(NumericsError, match="the critic's loss is nan at step 0"):
        learn(Counter(worst=float("nan")), chain(), steps=3)


def test_a_target_follows_its_source_by_a_share() -> None:
    target, source = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(target.weight, 1.0)
    torch.nn.init.constant_(source.weight, 3.0)
    follow(target, source, 0.25)
    assert target.weight.item() == 1.5 and source.weight.item() == 3.0
