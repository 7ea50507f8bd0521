"""A probe reads what is linear in its inputs, in episodes it has not seen, and nothing where there is nothing."""

import numpy as np
import pytest

from worldrl.evaluation.probe import probe, split


def episodes(*, count: int = 40, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three numbers that are a linear map of places, among twenty that are noise; five rows an episode."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(5 * count, 3))
    told = places @ rng.normal(size=(3, 3)) + noise * rng.normal(size=places.shape)
    return np.concatenate([told, rng.normal(size=(len(places), 20))], axis=1), places, np.repeat(np.arange(count), 5)


def test_a_linear_map_is_found_and_noise_costs() -> None:
    inputs, places, owner = episodes()
    clean = probe(inputs, places, owner, seed=0)
    assert clean.r2 > 0.999 and clean.error < 0.05 and clean.rows == 160
    noisy = probe(*episodes(noise=2.0), seed=0)
    assert clean.error < noisy.error < noisy.blind and clean.penalty < noisy.penalty


def test_what_says_nothing_is_no_better_than_the_mean() -> None:
    inputs, places, owner = episodes()
    blind = probe(inputs[:, 3:], places, owner, seed=0)
    assert abs(blind.r2) < 0.15 and blind.error == pytest.approx(blind.blind, rel=0.1)
    constant = probe(np.ones((200, 4)), places, owner, seed=0)
    assert constant.error == pytest.approx(constant.blind)


def test_what_is_learned_by_heart_does_not_count() -> None:
    """Inputs that name the episode tell where its things are, but not where those of another are."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(40), 5)
    places = rng.normal(size=(40, 3))[owner]
    assert probe(np.eye(40)[owner], places, owner, seed=0).r2 < 0.05


def test_the_unit_of_places_is_that_of_the_error() -> None:
    inputs, places, owner = episodes(noise=1.0)
    metres, centimetres = probe(inputs, places, owner, seed=0), probe(inputs, 100 * places, owner, seed=0)
    assert centimetres.error == pytest.approx(100 * metres.error) and centimetres.r2 == pytest.approx(metres.r2)


def test_episodes_are_whole_on_one_side() -> None:
    owner = np.repeat(np.arange(10), 3)
    sides = split(owner, seed=3)
    assert [int(side.sum()) for side in sides] == [18, 6, 6] and (np.sum(sides, axis=0) == 1).all()
    assert all(len(set(side[owner == i])) == 1 for side in sides for i in range(10))
    assert not np.array_equal(sides[2], split(owner, seed=4)[2])


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="inputs, places and owner must be equally many, got 2, 1 and 2"):
        probe(np.zeros((2, 1)), np.zeros((1, 3)), np.zeros(2), seed=0)
    with pytest.raises(ValueError, match="rows must be of at least 5 episodes, got 2"):
        probe(np.zeros((2, 1)), np.zeros((2, 3)), np.arange(2), seed=0)
