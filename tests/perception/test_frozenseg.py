"""FrozenSeg: injectors, masked attention, matching, and what is done at test time for unseen classes alone."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.perception.frozenseg import FrozenSeg, TwoViews, blocked_cells
from worldrl.perception.frozenseg_ensemble import (
    Scored,
    Tower,
    geometric,
    labels,
    renamed,
    score,
    with_proposals,
)
from worldrl.perception.mask_matching import QueryOutput, Weights, match, set_loss
from worldrl.perception.masks import TrueMasks

TEXTS = F.normalize(torch.eye(4)[:3], dim=-1)[:, None]


def model(*, spatial: int = 6, features: bool = True, queries: bool = True) -> FrozenSeg:
    return seeded(
        lambda: FrozenSeg(
            language=4, spatial=spatial, width=16, queries=5, layers=3, heads=2, feature_injector=features,
            query_injector=queries,
        ), 0,
    )  # fmt: skip


def views(spatial: int = 6) -> TwoViews:
    rng = torch.Generator().manual_seed(0)
    second = torch.randn(2, 9, spatial, generator=rng) if spatial else None
    return TwoViews(torch.randn(2, 16, 4, generator=rng), (4, 4), second, (3, 3) if spatial else (0, 0))


def test_queries_answer_at_first_and_after_every_layer() -> None:
    outputs = model()(views(), TEXTS)
    assert len(outputs) == 4
    assert outputs[-1].masks.shape == (2, 5, 16, 16) and outputs[-1].classes.shape == (2, 5, 4)


@pytest.mark.parametrize("way", ["features", "queries"])
def test_each_injector_lets_spatial_features_count_and_without_both_they_do_not(way: str) -> None:
    one = model(features=way == "features", queries=way == "queries")
    given = views()
    assert given.spatial is not None
    other = TwoViews(given.language, given.language_grid, -given.spatial, given.spatial_grid)
    masks = [one(seen, TEXTS)[-1].masks for seen in (given, other)]
    assert not torch.allclose(*masks, atol=1e-5)
    blind = model(features=False, queries=False)
    assert torch.equal(*(blind(seen, TEXTS)[-1].masks for seen in (given, other)))


def test_no_gradient_passes_through_the_masks_that_features_are_pooled_in() -> None:
    one = model(features=False)
    output = one(views(), TEXTS)[0]
    output.classes.sum().backward()
    assert all(weight.grad is None or not weight.grad.abs().sum() for weight in one.to_mask.parameters())


def test_an_injector_without_a_second_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="injectors must be off without a second encoder"):
        model(spatial=0)
    assert model(spatial=0, features=False, queries=False)(views(0), TEXTS)
    with pytest.raises(ValueError, match="spatial features must be 6 wide"):
        model()(views(0), TEXTS)


def test_a_query_that_would_see_nothing_sees_everything() -> None:
    masks = torch.tensor([[[[5.0, -5.0], [-5.0, -5.0]], [[-5.0, -5.0], [-5.0, -5.0]]]])
    assert blocked_cells(masks, (2, 2)).tolist() == [[[False, True, True, True], [False] * 4]]


def said() -> tuple[QueryOutput, list[TrueMasks]]:
    """One picture: the second query is right about thing 0, the first about thing 1."""
    masks = torch.full((1, 3, 2, 2), -6.0)
    masks[0, 1, 0], masks[0, 0, 1] = 6.0, 6.0
    classes = torch.full((1, 3, 3), -4.0)
    classes[0, 1, 0], classes[0, 0, 1], classes[0, 2, 2] = 4.0, 4.0, 4.0
    true = TrueMasks(torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]), torch.tensor([0, 1]))
    return QueryOutput(masks, classes), [true]


def test_each_thing_is_given_to_the_query_that_is_right_about_it() -> None:
    output, true = said()
    queries, things = match(output, 0, true[0], Weights())
    assert dict(zip(things.tolist(), queries.tolist(), strict=True)) == {0: 1, 1: 0}
    wrong = QueryOutput(-output.masks, -output.classes)
    assert set_loss([output], true) < 0.1 < set_loss([wrong], true)


def test_a_picture_without_things_has_a_finite_loss() -> None:
    output, _ = said()
    none = TrueMasks(torch.zeros(0, 2, 2), torch.zeros(0, dtype=torch.long))
    assert torch.isfinite(set_loss([output], [none]))


def test_the_tower_counts_four_tenths_for_seen_and_eight_for_unseen_classes() -> None:
    inside, outside = torch.tensor([[[0.8, 0.2]]]), torch.tensor([[[0.2, 0.8]]])
    mixed = geometric(inside, outside, torch.tensor([False, True]))[0, 0]
    raw = torch.tensor([0.8**0.6 * 0.2**0.4, 0.2**0.2 * 0.8**0.8])
    assert torch.allclose(mixed, raw / raw.sum())
    with pytest.raises(ConfigError, match=r"alpha and beta must be in \[0, 1\]"):
        geometric(inside, outside, torch.tensor([False, True]), alpha=1.5)


def test_proposals_change_unseen_classes_alone_and_never_what_seen_ones_cover() -> None:
    novel = torch.tensor([False, False, True])
    tower = Tower(TEXTS[:, 0][None], (1, 3), TEXTS, 50.0)  # three places, each of another class
    classes = torch.rand(1, 3, 1, 3, generator=torch.Generator().manual_seed(1))
    scored = Scored(classes, torch.ones(1, 1, 3))
    masks = torch.tensor([[[0.0, 0.0, 1.0]]])
    mixed = with_proposals(scored, 0, masks, novel, tower)
    assert torch.equal(mixed[:2], classes[0, :2]) and mixed[2, 0, 2] > 0.8 * classes[0, 2, 0, 2]
    before = labels(scored)[0]
    after = renamed(before, mixed, novel)
    seen = (before > 0) & (before < 3)
    assert torch.equal(after[seen], before[seen]) and ((after == 3) == (before == 3)).all()


def test_a_pixel_that_no_query_claims_is_background() -> None:
    output, _ = said()
    empty = QueryOutput(torch.full((1, 3, 2, 2), -9.0), output.classes)
    assert labels(score(output, torch.tensor([False, False]), None)).tolist() == [[[1, 1], [2, 2]]]
    assert not labels(score(empty, torch.tensor([False, False]), None)).any()
