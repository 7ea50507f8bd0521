"""Each guard does one thing, and only when it is on."""

import numpy as np
import pytest

from worldrl.envs.guards import Guards
from worldrl.errors import ConfigError

STEPPED = np.ones(4, bool)
FIGURES = np.array(
    [
        [0.9, 0.9, 0.9, 0.2],  # success
        [0.0, 1.5, 0.5, 0.0],  # disagreement
        [1.0, 1.0, 0.0, 1.0],  # agreement
        [0.1, 0.1, 2.0, 0.1],  # departure
    ]
)


def judged(guards: Guards) -> tuple[list[bool], list[bool]]:
    facts = guards.judge(FIGURES, STEPPED, threshold=0.5)
    return facts["success"].tolist(), facts["halted"].tolist()


def test_without_guards_whatever_looks_like_success_is_one() -> None:
    assert judged(Guards(halt=False)) == ([True, True, True, False], [False] * 4)


def test_halting_ends_where_the_ensemble_disagrees_and_that_is_no_success() -> None:
    assert judged(Guards()) == ([True, False, True, False], [False, True, False, False])


def test_the_audit_takes_back_what_it_does_not_confirm_and_ends_nothing() -> None:
    assert judged(Guards(halt=False, audit=True)) == ([True, True, False, False], [False] * 4)


def test_support_ends_what_is_far_from_the_data() -> None:
    assert judged(Guards(halt=False, support=True)) == ([True, True, False, False], [False, False, True, False])


def test_the_penalty_is_a_share_of_the_disagreement_up_to_one() -> None:
    guards = Guards(halt=False, penalty=0.2)
    rew = guards.reward(guards.judge(FIGURES, STEPPED, threshold=0.5))
    np.testing.assert_allclose(rew, [1.0, 0.8, 0.9, 0.0])


def test_who_did_not_step_has_not_succeeded() -> None:
    facts = Guards(halt=False).judge(FIGURES, np.array([True, False, True, True]), threshold=0.5)
    assert facts["success"].tolist() == [True, False, True, False]


@pytest.mark.parametrize("penalty", [-0.1, float("nan")])
def test_a_penalty_below_zero_is_refused(penalty: float) -> None:
    with pytest.raises(ConfigError, match="penalty must not be negative"):
        Guards(penalty=penalty)
