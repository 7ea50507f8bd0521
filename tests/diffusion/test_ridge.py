"""How far the ridge penalty of the drift shrinks, worked out by hand."""

import pytest
import torch

from worldrl.diffusion.drift import LinearDrift


def slope(act: torch.Tensor, change: torch.Tensor, ridge: float) -> float:
    """Fit a world of one number that stands still but for the action, and return the weight of the action."""
    drift = LinearDrift(obs_shape=(1, 1), history=1, code_dim=1)
    drift.fit(torch.zeros(len(act), 1, 1, 1), act.view(-1, 1, 1), change.view(-1, 1, 1), ridge=ridge)
    return float(drift.weight[0, 2, 0])


@pytest.mark.parametrize(("rows", "share"), [(20, 0.5), (60, 0.75), (980, 0.98)])
def test_as_many_transitions_as_the_penalty_are_believed_by_half(rows: int, share: float) -> None:
    act = torch.tensor([-1.0, 1.0]).repeat(rows // 2)
    assert slope(act, 3.0 * act, ridge=20.0) == pytest.approx(3.0 * share, rel=1e-4)


def test_an_input_that_never_moves_gets_no_weight() -> None:
    change = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert slope(torch.full((100,), 0.5), change, ridge=20.0) == pytest.approx(0.0, abs=1e-5)
