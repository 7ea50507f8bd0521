"""Two-hot codes say exactly which action they mean."""

import pytest
import torch

from worldrl.diffusion.actions import decode_two_hot, two_hot


def test_a_code_decodes_exactly() -> None:
    acts = torch.rand(100, 4, dtype=torch.double) * 2 - 1
    torch.testing.assert_close(decode_two_hot(two_hot(acts)), acts, atol=1e-12, rtol=0)


def test_weights_sum_to_one_and_at_most_two_are_not_zero() -> None:
    code = two_hot(torch.rand(50, 3) * 2 - 1).reshape(50, 3, 21)
    torch.testing.assert_close(code.sum(dim=-1), torch.ones(50, 3))
    assert ((code > 0).sum(dim=-1) <= 2).all()


@pytest.mark.parametrize(("act", "place"), [(-1.0, 0), (0.0, 10), (1.0, 20), (7.0, 20)])
def test_edges_fall_on_one_place_and_the_rest_is_clipped(act: float, place: int) -> None:
    code = two_hot(torch.tensor([act]))
    assert code.argmax() == place and code.max() == 1.0


def test_half_way_between_two_places_counts_half_for_each() -> None:
    assert two_hot(torch.tensor([0.05]))[10:12].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)


def test_one_bin_is_too_few() -> None:
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        two_hot(torch.zeros(1), bins=1)
