"""Windows of episodes, and what stands in before an episode begins."""

import numpy as np
import pytest
import torch

from worldrl.data.rows import Joined, some_rows
from worldrl.data.segments import SegmentSampler
from worldrl.errors import DataError

# Two episodes of 3 and 2 steps. Observation k of episode e is [10 e + k]; action k of it is [e + k / 10].
OBS = [np.float32([[0], [1], [2], [3]]), np.float32([[10], [11], [12]])]
ACTS = [np.float32([[0.0], [0.1], [0.2]]), np.float32([[1.0], [1.1]])]
SUCCESS = [np.array([False, False, False, True]), np.array([False, True, False])]


def sampler(obs=OBS, *, history=3, seed=0, **options):
    return SegmentSampler(obs, ACTS, SUCCESS, history=history, seed=seed, **options)


def numbers(tensor):
    return np.round(tensor.squeeze(-1).numpy().astype(np.float64), 6).tolist()


def test_windows_are_padded_with_the_first_observation_and_zero_actions():
    (batch,) = sampler().epoch(10)
    assert numbers(batch.obs) == [[0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3], [10, 10, 10, 11], [10, 10, 11, 12]]
    assert numbers(batch.acts) == [[0, 0, 0], [0, 0, 0.1], [0, 0.1, 0.2], [0, 0, 1], [0, 1, 1.1]]
    assert batch.padding.tolist() == [
        [True, True, False],
        [True, False, False],
        [False, False, False],
        [True, True, False],
        [True, False, False],
    ]
    assert batch.success.tolist() == [False, False, True, True, False]
    assert (batch.obs.dtype, batch.acts.dtype, batch.success.dtype) == (torch.float32, torch.float32, torch.bool)


def test_imagined_episodes_start_with_the_same_padding():
    first = sampler().starts()
    assert numbers(first.obs) == [[0, 0, 0], [10, 10, 10]] and numbers(first.acts) == [[0, 0], [0, 0]]
    every = sampler().starts(first_only=False)
    (batch,) = sampler().epoch(10)
    assert torch.equal(every.obs, batch.obs[:4, :-1]) and torch.equal(every.acts, batch.acts[:4, :-1])
    second = sampler().starts(first_only=False, stride=2)
    assert numbers(second.obs) == [[0, 0, 0], [0, 1, 2], [10, 10, 10]]
    assert numbers(second.acts) == [[0, 0], [0, 0.1], [0, 0]]


def test_no_imagined_episode_starts_in_success_unless_a_recorded_one_did():
    inside = sampler().starts(first_only=False)
    assert numbers(inside.obs[:, -1]) == [0, 1, 2, 10]  # 11 is a success
    solved = SegmentSampler(OBS, ACTS, [SUCCESS[0], np.array([True, True, False])], history=3, seed=0)
    assert len(solved.starts()) == 2


def test_a_history_of_one_needs_no_padding():
    (batch,) = sampler(history=1).epoch(10)
    assert numbers(batch.obs) == [[0, 1], [1, 2], [2, 3], [10, 11], [11, 12]]
    assert not batch.padding.any()
    assert sampler(history=1).starts().acts.shape == (2, 0, 1)


def test_an_epoch_visits_every_transition_once_in_order():
    batches = list(sampler().epoch(2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.cat([batch.obs[:, -1, 0] for batch in batches]).tolist() == [1, 2, 3, 11, 12]
    assert len(sampler()) == 5


def test_transitions_are_drawn_uniformly():
    drawn = sampler().sample(20_000).obs[:, -1, 0].numpy()
    shares = [float((drawn == value).mean()) for value in (1, 2, 3, 11, 12)]
    assert np.allclose(shares, 0.2, atol=0.015)  # five standard deviations


def test_weights_are_those_of_a_transition_in_its_episode():
    drawn = sampler(weights=[1, 3]).sample(20_000).obs[:, -1, 0].numpy()
    shares = [float((drawn == value).mean()) for value in (1, 2, 3, 11, 12)]
    assert np.allclose(shares, [1 / 9, 1 / 9, 1 / 9, 3 / 9, 3 / 9], atol=0.02)
    assert (sampler(weights=[0, 1]).sample(500).obs >= 10).all()


def test_the_same_seed_draws_the_same():
    first, second, other = sampler(seed=4).sample(50), sampler(seed=4).sample(50), sampler(seed=5).sample(50)
    assert torch.equal(first.obs, second.obs) and torch.equal(first.acts, second.acts)
    assert not torch.equal(first.obs, other.obs)


def test_drawing_does_not_change_the_data():
    source = sampler()
    batch = source.sample(50)
    batch.obs.zero_()
    batch.acts.fill_(9)
    assert torch.equal(next(source.epoch(10)).obs, next(sampler().epoch(10)).obs)
    assert torch.equal(next(source.epoch(10)).acts, next(sampler().epoch(10)).acts)


@pytest.fixture
def mapped(tmp_path):
    """The observations of both episodes in one file, with a strange row before and between them."""
    np.save(tmp_path / "obs.npy", np.float32([[99], *OBS[0], [np.nan], *OBS[1]]))
    return np.load(tmp_path / "obs.npy", mmap_mode="r")


def test_one_memory_map_of_all_episodes_is_the_same_as_arrays(mapped):
    source = sampler(Joined(mapped, [1, 6], [4, 3]))
    assert torch.equal(next(source.epoch(10)).obs, next(sampler().epoch(10)).obs)
    assert torch.equal(source.sample(50).obs, sampler().sample(50).obs)
    assert torch.equal(source.starts(first_only=False).obs, sampler().starts(first_only=False).obs)


def test_pixels_are_read_as_what_they_stand_for():
    grey = np.arange(7, dtype=np.uint8)[:, None].repeat(2, axis=1) * 40
    source = sampler(Joined(grey, [0, 4], [4, 3]))
    assert torch.allclose(source.sample(50).obs, sampler([grey[:4] / 127.5 - 1, grey[4:] / 127.5 - 1]).sample(50).obs)
    assert np.allclose(Joined(grey, [0, 4], [4, 3])[1], grey[4:] / 127.5 - 1)


def test_few_windows_of_many_are_evenly_spaced():
    found = [batch.obs[:, -1, 0].tolist() for batch in sampler().epoch(2, most=3)]
    everything = next(sampler().epoch(10)).obs[:, -1, 0].tolist()
    assert [len(batch) for batch in found] == [2, 1]
    assert found == [[everything[0], everything[2]], [everything[4]]]
    assert next(sampler().epoch(10, most=99)).obs[:, -1, 0].tolist() == everything


def test_some_rows_are_the_same_whether_joined_or_not(mapped):
    joined, apart = Joined(mapped, [1, 6], [4, 3]), OBS
    assert np.array_equal(some_rows(joined, 99), np.concatenate(apart))
    assert np.array_equal(some_rows(joined, 3), some_rows(apart, 3)) and len(some_rows(apart, 3)) == 3
    assert np.array_equal(joined.subset([1])[0], OBS[1])


def test_a_memory_map_is_read_only_where_it_is_drawn(tmp_path):
    """A sparse file of 64 GB: reading it whole would fill memory and fail."""
    rows = 2**22
    np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.float32, shape=(rows + 1, 4096))
    big = np.load(tmp_path / "big.npy", mmap_mode="r")
    source = SegmentSampler(
        Joined(big, [0], [rows + 1]), [np.zeros((rows, 1))], [np.zeros(rows + 1, bool)], history=2, seed=0
    )
    assert source.sample(4).obs.shape == (4, 3, 4096)


def test_observations_of_any_rank_and_width_become_float32():
    frames = [np.random.default_rng(0).random((len(obs), 3, 4, 4)).astype(np.float16) for obs in OBS]
    batch = sampler(frames).sample(6)
    assert batch.obs.shape == (6, 4, 3, 4, 4) and batch.obs.dtype == torch.float32


def test_a_batch_moves_whole():
    moved = sampler().sample(3).to("meta")
    assert {tensor.device.type for tensor in (moved.obs, moved.acts, moved.success, moved.padding)} == {"meta"}


@pytest.mark.fault(20)
def test_nan_is_refused_and_named(mapped):
    with pytest.raises(DataError, match="obs must be finite, got nan or inf in episode 1 at step 2"):
        sampler([OBS[0], np.float32([[10], [11], [np.inf]])])
    with pytest.raises(DataError, match="obs must be finite, got nan or inf in episode 1 at step 0"):
        sampler(Joined(mapped, [1, 5], [4, 3])).sample(100)


@pytest.mark.parametrize(
    ("obs", "options", "message"),
    [
        ([OBS[0], OBS[1][:-1]], {}, r"obs must have one row more than acts in every episode, got \[4, 2\]"),
        ([OBS[0]], {}, r"obs must have one row more"),
        ([OBS[0], np.zeros((3, 2), np.float32)], {}, r"obs must have one shape in all episodes"),
        ([o.astype(np.uint8) for o in OBS], {}, "obs must be floating point, got uint8"),
        (Joined(np.concatenate(OBS), [0, 4], [4, 2]), {}, r"obs must have one row more"),
        (OBS, {"weights": [0, 0]}, "weights must be 2 numbers of at least 0, one of them positive"),
        (OBS, {"weights": [1, -1]}, "weights must be 2 numbers"),
        (OBS, {"weights": [1]}, "weights must be 2 numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(obs, options, message):
    with pytest.raises(DataError, match=message):
        sampler(obs, **options)


def test_rows_that_do_not_hold_all_episodes_are_refused():
    with pytest.raises(DataError, match="rows must hold 7, those of all episodes, got 6"):
        Joined(np.concatenate(OBS)[:-1], [0, 4], [4, 3])


@pytest.mark.fault(21, 36)
def test_empty_and_ill_matched_episodes_are_refused():
    with pytest.raises(DataError, match="acts must hold at least 1 episode of at least 1 step"):
        SegmentSampler([], [], [], history=1, seed=0)
    with pytest.raises(DataError, match=r"success must have one value more than acts in every episode, got \[4, 2\]"):
        SegmentSampler(OBS, ACTS, [SUCCESS[0], SUCCESS[1][:2]], history=1, seed=0)
    with pytest.raises(ValueError, match="history must be at least 1, got 0"):
        sampler(history=0)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        sampler().starts(first_only=False, stride=0)
