"""DenseCLIP: where names go in, what stays as it was at first, and that it learns to name places."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.frozen import seeded
from worldrl.perception.denseclip import DenseCLIP, DenseView, dense_loss

NAMES = ("red", "green", "blue")


class Tower:
    """Names to three directions; what stands before them turns them a little."""

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        own = torch.eye(4)[[NAMES.index(name) for name in texts]]
        return F.normalize(own if context is None else own + 0.1 * context.mean(dim=0), dim=-1)


def model(**switches: bool) -> DenseCLIP:
    return seeded(lambda: DenseCLIP(width=4, stem=5, text_width=4, hidden=16, doublings=1, **switches), 0)


def view(labels: Tensor) -> DenseView:
    """Two pictures of 3 by 3 places, each place pointing to its class (0: nowhere)."""
    patches = F.one_hot((labels - 1).clamp(min=0), 4).float() * (labels > 0)[..., None] + 0.01
    patches = patches.reshape(len(labels), 9, 4)
    return DenseView(patches.mean(dim=1), patches, torch.zeros(len(labels), 9, 5), (3, 3))


LABELS = torch.tensor([[[0, 0, 1], [0, 2, 0], [3, 0, 0]], [[2, 2, 0], [0, 0, 0], [0, 1, 3]]])


def test_there_is_a_logit_for_nothing_and_one_for_each_name_whatever_their_number() -> None:
    dense = model()
    for names in (NAMES, NAMES[:2]):
        found = dense(view(LABELS), dense.embed(Tower(), names))
        assert found.logits.shape == (2, 1 + len(names), 6, 6) and found.scores.shape == (2, len(names), 3, 3)


def test_the_context_decoder_hardly_moves_names_at_first() -> None:
    dense, plain = model(), model(context_decoder=False)
    texts = Tower().texts(NAMES)
    assert torch.allclose(dense(view(LABELS), texts).scores, plain(view(LABELS), texts).scores, atol=1e-3)
    assert dense.context_decoder is not None and (dense.context_decoder.gamma == 1e-4).all()


def test_score_maps_reach_the_decoder_only_where_they_are_wanted() -> None:
    texts = Tower().texts(NAMES)
    loss = model(scores=False)(view(LABELS), texts).logits.sum()
    without = model(scores=False)
    without(view(LABELS), texts).logits.sum().backward()
    assert without.score_weights.weight.grad is None and torch.isfinite(loss)


def test_scores_have_no_loss_where_there_is_no_thing() -> None:
    dense = model()
    found = dense(view(LABELS), Tower().texts(NAMES))
    nothing = torch.zeros(2, 6, 6, dtype=torch.long)
    assert torch.equal(dense_loss(found, nothing), dense_loss(found, nothing, scores=False))


def test_learned_context_gets_a_gradient_through_the_frozen_tower() -> None:
    dense = model()
    labels = F.interpolate(LABELS[:, None].float(), scale_factor=2)[:, 0].long()
    dense_loss(dense(view(LABELS), dense.embed(Tower(), NAMES)), labels).backward()
    assert dense.context is not None and dense.context.grad is not None and dense.context.grad.abs().sum() > 0


def test_it_learns_two_pictures_by_heart() -> None:
    dense = model()
    labels = F.interpolate(LABELS[:, None].float(), scale_factor=2)[:, 0].long()
    optimiser = torch.optim.Adam(dense.parameters(), 1e-2)
    for _ in range(80):
        loss = dense_loss(dense(view(LABELS), dense.embed(Tower(), NAMES)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = dense(view(LABELS), dense.embed(Tower(), NAMES)).logits.argmax(dim=1)
    assert (found == labels).float().mean() > 0.9


def test_texts_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"texts must be \(k, 4\), got \(3, 7\)"):
        model()(view(LABELS), torch.zeros(3, 7))
