"""The linear drift finds a linear world."""

import torch
from torch import Tensor

from worldrl.diffusion.actions import BINS, two_hot
from worldrl.diffusion.drift import LinearDrift

SHAPE, HISTORY = (3, 2), 2


def planted(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return history, codes and change of a world that is linear.

    The hand follows the action; object 1 keeps half of its speed; object 2 is drawn to the hand.
    """
    rng = torch.Generator().manual_seed(seed)
    history = torch.randn(rows, HISTORY, *SHAPE, generator=rng)
    acts = torch.rand(rows, HISTORY, 2, generator=rng) * 2 - 1
    hand, one = 0.3 * acts[:, -1] + 0.05, 0.5 * (history[:, 1, 1] - history[:, 0, 1])
    two = 0.2 * history[:, 1, 0] - 0.1 * history[:, 1, 2]
    return history, two_hot(acts), torch.stack([hand, one, two], dim=1)


def drift() -> LinearDrift:
    return LinearDrift(obs_shape=SHAPE, history=HISTORY, code_dim=2 * BINS)


def test_a_linear_world_is_recovered_on_fresh_data() -> None:
    fitted = drift()
    fitted.fit(*planted(4000, seed=0), ridge=1e-3)
    history, codes, change = planted(500, seed=1)
    torch.testing.assert_close(fitted(history, codes), change, atol=2e-3, rtol=0)


def test_with_the_usual_penalty_the_error_is_a_few_hundredths_of_the_change() -> None:
    fitted = drift()
    fitted.fit(*planted(4000, seed=0))
    history, codes, change = planted(500, seed=1)
    left = fitted(history, codes) - change
    assert (left.square().mean(dim=(0, 2)) < 0.05**2 * change.square().mean(dim=(0, 2))).all()


def test_before_it_is_fitted_it_expects_no_change() -> None:
    history, codes, _ = planted(4, seed=0)
    assert torch.equal(drift()(history, codes), torch.zeros(4, *SHAPE))


def test_an_object_does_not_see_other_objects_but_the_hand() -> None:
    fitted = drift()
    fitted.fit(*planted(500, seed=0))
    history, codes, _ = planted(4, seed=1)
    moved = history.clone()
    moved[:, :, 2] += 1.0
    before, after = fitted(history, codes), fitted(moved, codes)
    assert torch.equal(before[:, :2], after[:, :2])
    assert (before[:, 2] - after[:, 2]).abs().max() > 0.05


def test_an_input_that_never_changes_does_not_blow_up() -> None:
    history, codes, change = planted(200, seed=0)
    history[:, :, 1] = 0.0
    fitted = drift()
    fitted.fit(history, codes, change)
    assert fitted(history, codes).isfinite().all()
    assert fitted.weight.isfinite().all()


def test_it_is_saved_with_the_rest_but_not_trained() -> None:
    fitted = drift()
    assert list(fitted.parameters()) == []
    assert set(fitted.state_dict()) == {"weight", "centre"}
