"""The flat backbone: shapes, and members that share nothing."""

import pytest
import torch

from worldrl.diffusion.mlp import FlatDenoiserNet, Members

SHAPE, HISTORY, CODE, MEMBERS = (3, 4), 2, 5, 3


def given(rows: int) -> list[torch.Tensor]:
    """Return noisy change, noise level, history and action codes."""
    rng = torch.Generator().manual_seed(0)
    shapes = ((rows, *SHAPE), (rows,), (rows, HISTORY, *SHAPE), (rows, HISTORY, CODE))
    return [torch.randn(shape, generator=rng) for shape in shapes]


@pytest.fixture
def net() -> FlatDenoiserNet:
    torch.manual_seed(0)
    return FlatDenoiserNet(obs_shape=SHAPE, history=HISTORY, code_dim=CODE, width=8, depth=2, members=MEMBERS)


def test_every_member_answers_every_row_and_differently(net: FlatDenoiserNet) -> None:
    out = net(*given(6))
    assert out.shape == (6, MEMBERS, *SHAPE)
    assert (out[:, 0] - out[:, 1]).abs().max() > 1e-3


def test_a_row_does_not_depend_on_its_neighbours(net: FlatDenoiserNet) -> None:
    torch.testing.assert_close(net(*(part[2:3] for part in given(6))), net(*given(6))[2:3])


@pytest.mark.parametrize("part", range(4))
def test_every_input_is_heeded(net: FlatDenoiserNet, part: int) -> None:
    before, changed = given(6), given(6)
    changed[part] = changed[part] + 0.5
    assert (net(*before) - net(*changed)).abs().max() > 1e-4


def test_a_member_learns_alone(net: FlatDenoiserNet) -> None:
    net(*given(6))[:, 1].square().sum().backward()
    for layer in net.modules():
        if isinstance(layer, Members):
            assert layer.weight.grad is not None
            moved = layer.weight.grad.abs().amax(dim=(1, 2)) > 0
            assert moved.tolist() == [False, True, False]
