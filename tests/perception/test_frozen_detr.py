"""Frozen-DETR: what goes in where, what is dropped again, and that it learns."""

import pytest
import torch

from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.perception.boxes import generalized_iou, iou, to_corners, to_middles
from worldrl.perception.detection_fit import detect, fit_detector
from worldrl.perception.detection_losses import Truth, about, match, matched_loss
from worldrl.perception.detector import Found, middles
from worldrl.perception.frozen_detr import FrozenDETR, Knowledge


def small(**more: int) -> FrozenDETR:
    sizes = {"classes": 2, "width": 32, "heads": 2, "encoders": 1, "decoders": 2, "queries": 4}
    return seeded(lambda: FrozenDETR(**(sizes | more)), 0)


def pixels(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_there_are_as_many_answers_as_queries_whatever_joins_them() -> None:
    known = Knowledge(torch.randn(2, 5, 6), torch.randn(2, 9, 7), (3, 3))
    said = small(tokens=6, patches=7)(pixels(), known)
    assert [layer.logits.shape for layer in said.layers] == [(2, 4, 2), (2, 4, 2)]
    assert said.guesses.boxes.shape == (2, 16, 4) and said.cells.shape == (16, 2)


def test_both_ways_in_change_what_is_said() -> None:
    detector = small(tokens=6, patches=7)
    for head in detector.heads:
        torch.nn.init.normal_(head.name.weight)
    known = Knowledge(torch.randn(2, 5, 6), torch.randn(2, 9, 7), (3, 3))
    plain = detector(pixels(), known).layers[-1].logits
    assert known.tokens is not None and known.patches is not None
    for other in (Knowledge(-known.tokens, known.patches, (3, 3)), Knowledge(known.tokens, -known.patches, (3, 3))):
        assert not torch.allclose(detector(pixels(), other).layers[-1].logits, plain, atol=1e-4)


def test_class_tokens_are_projected_anew_in_every_layer_and_nothing_is_without_them() -> None:
    assert len(small(tokens=6).read_tokens) == 2 and not len(small().read_tokens)
    with pytest.raises(ValueError, match="known must have class tokens"):
        small(tokens=6)(pixels())
    with pytest.raises(ValueError, match="known must have patches"):
        small(patches=6)(pixels())


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="width a multiple of 32"):
        small(width=48)


def test_boxes_change_their_form_and_overlap_as_by_hand() -> None:
    corners = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [3.0, 0.0, 4.0, 2.0]])
    assert torch.allclose(to_corners(to_middles(corners)), corners)
    assert torch.allclose(iou(corners[0], corners), torch.tensor([1.0, 1 / 3, 0.0]))
    assert torch.allclose(generalized_iou(corners[0], corners), torch.tensor([1.0, 1 / 3, -0.25]))


def test_each_thing_is_matched_to_the_query_that_is_right_about_it() -> None:
    truth = Truth(torch.tensor([0, 1]), torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2]]))
    boxes = torch.cat([truth.boxes.flip(0), torch.full((1, 4), 0.5)])
    logits = torch.tensor([[-4.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])
    queries, things = match(logits, boxes, truth)
    assert dict(zip(things.tolist(), queries.tolist(), strict=True)) == {0: 1, 1: 0}
    right = matched_loss(Found(logits[None], boxes[None]), [truth])
    wrong = matched_loss(Found(-logits[None], boxes[None]), [truth])
    assert right < 0.1 < wrong


def test_cells_about_the_middle_of_a_thing_answer_for_it_and_the_nearest_always() -> None:
    truth = Truth(torch.tensor([0, 1]), torch.tensor([[0.5, 0.5, 0.6, 0.6], [0.05, 0.05, 0.02, 0.02]]))
    rows, things = about(middles(4, 4), truth)
    assert dict(zip(rows.tolist(), things.tolist(), strict=True)) == {0: 1, 5: 0, 6: 0, 9: 0, 10: 0}


def test_a_cell_that_is_nearest_to_two_things_answers_for_both() -> None:
    truth = Truth(torch.tensor([0, 1]), torch.tensor([[0.1, 0.1, 0.02, 0.02], [0.12, 0.12, 0.02, 0.02]]))
    rows, things = about(middles(4, 4), truth)
    assert sorted(zip(rows.tolist(), things.tolist(), strict=True)) == [(0, 0), (0, 1)]


def test_it_learns_one_batch_by_heart_from_pictures_whose_channels_lie_last() -> None:
    frames = torch.zeros(4, 32, 32, 3)
    truth = []
    for i, (x, y) in enumerate([(4, 4), (20, 4), (4, 20), (20, 20)]):
        frames[i, y : y + 8, x : x + 8, i % 2] = 3.0
        box = torch.tensor([[(x + 4) / 32, (y + 4) / 32, 0.25, 0.25]])
        truth.append(Truth(torch.tensor([i % 2]), box))
    last = frames.permute(0, 3, 1, 2)  # convolutions of torch 2.13 do not bear these: the detector must
    detector = small(queries=2)
    losses = fit_detector(detector, last, truth, Knowledge(), steps=120, seed=0, batch=4, rate=3e-3)
    found = detect(detector, last, Knowledge())
    assert losses[-1] < 0.25 * losses[0]
    for i, one in enumerate(truth):
        best = found.scores[i].max(axis=-1).argmax()
        assert found.scores[i, best].argmax() == one.labels[0]
        assert iou(torch.from_numpy(found.boxes[i, best]), to_corners(one.boxes[0])) > 0.5
