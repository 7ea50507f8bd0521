"""Probabilities agree with answers as often as counted by hand."""

import pytest
import torch

from worldrl.errors import DataError
from worldrl.evaluation.agreement import agreement


def test_agreement_is_what_counting_by_hand_says() -> None:
    found = agreement(
        torch.tensor([0.9, 0.4, 0.4, 0.1, 0.2]), torch.tensor([True, True, False, False, False]), threshold=0.5
    )
    assert found.auroc == pytest.approx((3 + 2.5) / 6)  # of 6 pairs one is tied
    assert found.accuracy == pytest.approx(4 / 5)
    assert found.balanced == pytest.approx((1 / 2 + 1) / 2)


def test_the_opposite_has_what_is_left_to_one() -> None:
    chances, truth = torch.rand(50, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3 == 0
    one, other = agreement(chances, truth, threshold=0.5), agreement(chances, ~truth, threshold=0.5)
    assert one.auroc + other.auroc == pytest.approx(1.0)
    assert one.accuracy + other.accuracy == pytest.approx(1.0)


def test_answers_of_one_kind_say_nothing() -> None:
    with pytest.raises(DataError, match=r"of both kinds, got \(3,\) for \(3,\), 3 of them true"):
        agreement(torch.rand(3), torch.ones(3), threshold=0.5)
