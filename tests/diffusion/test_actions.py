"""Action codes say which action they mean: two-hot and linear exactly, one-hot and VQ as nearly as their places lie."""

import pytest
import torch
from torch import Tensor

from worldrl.diffusion.actions import decode_two_hot, make_code, two_hot
from worldrl.diffusion.codebook import Codebook
from worldrl.errors import ConfigError


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return actions in ``[-1, 1]``."""
    return torch.rand(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_code_decodes_exactly() -> None:
    acts = draw(100, 4)
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


@pytest.mark.parametrize(("name", "dim"), [("two_hot", 84), ("one_hot", 84), ("linear", 4), ("vq", 64)])
def test_a_code_has_the_width_it_says_for_any_batch_and_clips(name: str, dim: int) -> None:
    code = make_code(name, 4)
    code.fit(draw(500, 4, seed=1).float())
    acts = 1.5 * draw(3, 5, 4).float()
    assert (code.name, code.dim) == (name, dim)
    assert code(acts).shape == (3, 5, dim) and code(acts).dtype == torch.float32
    assert torch.equal(code(acts), code(acts.clamp(-1, 1)))
    assert code.decode(code(acts)).shape == (3, 5, 4)


@pytest.mark.parametrize("name", ["two_hot", "linear"])
def test_two_codes_lose_nothing(name: str) -> None:
    acts = draw(100, 4)
    code = make_code(name, 4)
    torch.testing.assert_close(code.decode(code(acts)), acts, atol=1e-12, rtol=0)


def test_one_hot_errs_by_at_most_half_a_bin() -> None:
    acts, code = draw(2000, 2), make_code("one_hot", 2)
    error = (code.decode(code(acts)) - acts).abs()
    assert 0.045 < error.max() <= 0.05 + 1e-7
    assert code(acts).sum(dim=-1).eq(2).all()


@pytest.mark.parametrize(("act", "place"), [(-1.0, 0), (-0.96, 0), (-0.94, 1), (0.04, 10), (0.06, 11), (1.0, 20)])
def test_one_hot_takes_the_nearest_place(act: float, place: int) -> None:
    assert make_code("one_hot", 1)(torch.tensor([act])).nonzero().item() == place


def test_a_codebook_reproduces_its_entries_and_takes_the_nearest_for_the_rest() -> None:
    code = Codebook(2, entries=16)
    code.fit(draw(1000, 2).float())
    assert torch.equal(code(code.entries), torch.eye(16))
    assert torch.equal(code.decode(code(code.entries)), code.entries)
    acts = draw(200, 2, seed=1).float()
    torch.testing.assert_close((code.decode(code(acts)) - acts).norm(dim=1), torch.cdist(acts, code.entries).amin(1))


def test_a_larger_codebook_errs_less() -> None:
    acts, errors = draw(1000, 2).float(), []
    for entries in (1, 4, 64):
        code = Codebook(2, entries=entries)
        code.fit(acts)
        errors.append(float((code.decode(code(acts)) - acts).square().mean()))
    assert errors[0] == pytest.approx(1 / 3, abs=0.02)  # one entry lies at the mean: the variance of [-1, 1]
    assert errors[1] < 0.3 * errors[0] and errors[2] < 0.1 * errors[1]


def test_a_codebook_is_the_same_for_the_same_seed_and_fixed_after_the_first_fit() -> None:
    one, two, other = (Codebook(2, entries=8) for _ in range(3))
    one.fit(draw(300, 2).float(), seed=3)
    two.fit(draw(300, 2).float(), seed=3)
    other.fit(draw(300, 2).float(), seed=4)
    assert torch.equal(one.entries, two.entries) and not torch.equal(one.entries, other.entries)
    one.fit(draw(300, 2, seed=9).float())
    assert torch.equal(one.entries, two.entries)


def test_fewer_actions_than_entries_are_all_reproduced() -> None:
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    code = Codebook(2, entries=8)
    code.fit(corners.repeat(20, 1))
    assert torch.equal(code.decode(code(corners)), corners)


def test_a_codebook_is_saved_but_not_trained() -> None:
    code = Codebook(3)
    assert list(code.parameters()) == [] and set(code.state_dict()) == {"entries"}
    with pytest.raises(ValueError, match="entries must be at least 1, got 0"):
        Codebook(3, entries=0)


@pytest.mark.parametrize("name", ["two_hot", "linear"])
def test_gradients_reach_the_action_through_codes_that_lose_nothing(name: str) -> None:
    acts = (0.9 * draw(5, 2)).requires_grad_()
    code = make_code(name, 2)
    code.decode(code(acts)).sum().backward()
    torch.testing.assert_close(acts.grad, torch.ones(5, 2, dtype=torch.double))


def test_a_code_that_nobody_made_is_refused() -> None:
    with pytest.raises(ConfigError, match="action_code must be one of two_hot, one_hot, linear, vq, got 'fast'"):
        make_code("fast", 4)
