"""What is believed of a refinement, what is kept of it, and when it stops."""

from dataclasses import dataclass

import pytest

from worldrl.agents.stopping import Trust, choose, flatters, standard_error


@dataclass(frozen=True)
class Trial:
    success: float
    length: float = 30.0
    agreed: float = 1.0
    count: int = 100


@dataclass(frozen=True)
class Candidate:
    trial: Trial
    divergence: float


def candidates(*signs: tuple[float, float]) -> list[Candidate]:
    """Successes and lengths; each candidate strays further than the one before."""
    return [Candidate(Trial(success, length), float(i)) for i, (success, length) in enumerate(signs)]


def test_the_best_in_imagination_is_kept() -> None:
    run = candidates((0.4, 30), (0.6, 30), (0.9, 30), (0.5, 30))
    assert choose(run, Trust()) is run[2]


def test_of_several_that_are_as_good_the_one_that_strayed_least_is_kept() -> None:
    run = candidates((0.4, 30), (0.99, 30), (1.0, 30), (1.0, 30))
    assert choose(run, Trust()) is run[1]


def test_who_is_faster_than_the_data_is_not_believed_and_cloning_is_kept() -> None:
    run = candidates((0.4, 30), (0.9, 19), (1.0, 15))
    assert choose(run, Trust(pace=20.0)) is run[0]


def test_who_is_not_confirmed_by_the_audit_is_not_believed() -> None:
    run = [Candidate(Trial(0.4), 0.0), Candidate(Trial(0.9, agreed=0.5), 1.0), Candidate(Trial(0.7, agreed=0.9), 2.0)]
    assert choose(run, Trust(agreement=0.8)) is run[2]


def test_a_gain_within_the_noise_is_no_gain() -> None:
    run = candidates((0.50, 30), (0.55, 30))
    assert choose(run, Trust()) is run[0]


def test_nothing_claimed_is_nothing_doubted() -> None:
    assert Trust(pace=20.0, agreement=1.0).holds(Candidate(Trial(0.0, float("inf")), 1.0))


def test_who_strayed_too_far_is_not_believed() -> None:
    run = candidates((0.4, 30), (0.6, 30), (0.9, 30))
    assert choose(run, Trust(radius=1.5)) is run[1]
    assert not Trust(radius=1.5).holds(Candidate(Trial(0.0), 2.0))


def test_it_stops_when_there_is_nothing_more_to_gain_unless_that_is_not_believed() -> None:
    trust = Trust(pace=20.0, enough=0.95)
    assert trust.is_over(candidates((0.4, 30), (0.96, 25)))
    assert not trust.is_over(candidates((0.4, 30), (0.96, 15)))
    assert not trust.is_over(candidates((0.4, 30), (0.90, 25)))


def test_it_stops_after_as_many_unbelieved_candidates_as_its_patience() -> None:
    trust = Trust(pace=20.0, patience=2)
    assert not trust.is_over(candidates((0.4, 30), (0.8, 15)))
    assert trust.is_over(candidates((0.4, 30), (0.8, 15), (0.9, 14)))


def test_the_standard_error_is_never_zero() -> None:
    assert standard_error(1.0, 98) == pytest.approx((0.99 * 0.01 / 98) ** 0.5)
    assert standard_error(0.5, 98) == pytest.approx((0.25 / 98) ** 0.5)


def test_imagination_that_makes_too_much_of_the_recorded_policy_flatters_it() -> None:
    assert flatters(0.80, 0.45, 100, slack=0.0) and not flatters(0.50, 0.45, 100, slack=0.0)
    assert not flatters(0.80, 0.45, 100, slack=0.3) and not flatters(0.20, 0.60, 100, slack=0.0)
