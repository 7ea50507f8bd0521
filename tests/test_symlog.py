import pytest
import torch

from worldrl import symlog


def test_a_number_survives_the_places_it_is_spread_over() -> None:
    x = torch.tensor([-300.0, -1.0, -0.01, 0.0, 0.3, 7.0, 1000.0])
    spread = symlog.encode(x)
    assert torch.allclose(spread.sum(dim=-1), torch.ones(7), atol=1e-5)
    assert ((spread > 0).sum(dim=-1) <= 2).all()
    assert torch.allclose(symlog.decode((spread + 1e-30).log()), x, rtol=1e-3, atol=1e-3)


def test_the_loss_is_least_where_the_prediction_is_right() -> None:
    logits = torch.zeros(1, symlog.BINS, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        symlog.two_hot_loss(logits, torch.tensor([5.0])).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert symlog.decode(logits.detach()).item() == pytest.approx(5.0, rel=0.02)
