import pytest
import torch

from worldrl.storm.categorical import best, divergence, draw, mix


def test_draws_have_the_probabilities_they_are_told() -> None:
    log_probs = mix(torch.tensor([[[2.0, 0.0, -1.0]]])).expand(20_000, 1, 3)
    drawn = draw(log_probs, torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(drawn.mean(dim=0), log_probs[0].exp(), atol=0.02)
    assert ((drawn - drawn.round()).abs() < 1e-6).all()


def test_no_class_is_ever_impossible() -> None:
    probs = mix(torch.tensor([[50.0, -50.0, -50.0, -50.0]])).exp()
    assert probs.min().item() == pytest.approx(0.01 / 4)


def test_the_gradient_of_a_draw_reaches_the_logits() -> None:
    logits = torch.randn(5, 2, 4, requires_grad=True)
    (draw(mix(logits), torch.rand(5, 2)) * torch.randn(5, 2, 4)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


def test_a_divergence_is_zero_from_itself_and_sums_over_variables() -> None:
    p, q = mix(torch.randn(3, 4, 5)), mix(torch.randn(3, 4, 5))
    assert torch.allclose(divergence(p, p), torch.zeros(3), atol=1e-6)
    one_by_one = torch.stack([divergence(p[:, i : i + 1], q[:, i : i + 1]) for i in range(4)]).sum(dim=0)
    assert torch.allclose(divergence(p, q), one_by_one, atol=1e-5)
    assert (divergence(p, q) > 0).all()


def test_the_best_class_is_the_likeliest() -> None:
    assert best(torch.tensor([[0.1, 0.7, 0.2]]).log()).tolist() == [[0.0, 1.0, 0.0]]
