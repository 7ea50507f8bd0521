"""Masks follow what they were begun on, and hold on where it is lost."""

from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from worldrl.errors import DataError
from worldrl.objects.tracking import PromptedMasks, prompts_of
from worldrl.types import Array

Frame = npt.NDArray[np.uint8]


class Filler:
    """Offers what has the very colour of the pixel that is pointed at, within the box and everywhere."""

    def embed(self, frames: Frame) -> Tensor:
        return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2)

    def __call__(
        self, maps: Tensor, points: Array, labels: npt.NDArray[np.integer], *, size: tuple[int, int], mask: Tensor
    ) -> object:
        self.shown = mask
        offers = []
        for image, asked in zip(maps.numpy(), points, strict=True):
            x, y = asked[0].astype(int)
            same = (image == image[:, y, x][:, None, None]).all(axis=0)
            box = np.zeros(size, np.bool_)
            (left, top), (right, bottom) = asked[1].astype(int), np.ceil(asked[2]).astype(int)
            box[top:bottom, left:right] = True
            offers.append(np.stack([same & box if image[:, y, x].any() else same, same]))  # the table has no part
        logits = torch.from_numpy(np.stack(offers)).float() * 2 - 1
        return SimpleNamespace(logits=logits, iou=torch.zeros(len(maps), 2))


def scene(*squares: tuple[int, int, int]) -> tuple[Frame, Frame]:
    """Squares of 8 pixels at (row, column) in the grey of their number, on black."""
    labels = np.zeros((48, 48), np.uint8)
    for number, row, column in squares:
        labels[row : row + 8, column : column + 8] = number
    return (60 * labels[..., None]).repeat(3, axis=-1), labels


def test_masks_follow_what_moves() -> None:
    masks = PromptedMasks(Filler(), objects=2)
    masks.begin(scene((1, 4, 4), (2, 30, 30))[1])
    for step in range(1, 8):
        frame, true = scene((1, 4 + step, 4 + step), (2, 30, 30 - step))
        np.testing.assert_array_equal(masks.follow(frame), true)


def test_an_object_that_is_lost_is_found_where_it_was() -> None:
    masks = PromptedMasks(Filler(), objects=2)
    masks.begin(scene((1, 4, 4), (2, 30, 30))[1])
    away = masks.follow(scene((2, 30, 30))[0])  # the table is offered in its place, and is too large
    assert set(np.unique(away)) == {0, 2}
    frame, true = scene((1, 5, 5), (2, 30, 30))
    np.testing.assert_array_equal(masks.follow(frame), true)


def test_a_hint_finds_what_has_jumped_away() -> None:
    begun, (frame, true) = scene((1, 4, 4), (2, 30, 30))[1], scene((1, 20, 14), (2, 30, 30))
    masks = PromptedMasks(Filler(), objects=2)
    masks.begin(begun)
    assert not (masks.follow(frame) == 1).any()
    masks.begin(begun)
    hint = np.zeros_like(true)
    hint[22:26, 16:20] = 1  # a part of it will do
    np.testing.assert_array_equal(masks.follow(frame, hint=hint) == 1, (true == 1))


def test_the_mask_of_the_frame_before_is_shown_beside_point_and_box() -> None:
    filler = Filler()
    masks, (frame, true) = PromptedMasks(filler, objects=2), scene((2, 30, 30))
    masks.begin(true)
    masks.follow(frame)
    assert filler.shown.shape == (1, 48, 48)
    np.testing.assert_array_equal(filler.shown[0] > 0, true == 2)


def test_prompts_are_a_point_inside_and_the_box() -> None:
    ring = np.zeros((2, 8, 8), np.bool_)
    ring[0, 2:7, 1:6], ring[0, 3:6, 2:5] = True, False
    points, labels = prompts_of(ring)
    x, y = (points[0, 0] - 0.5).astype(int)
    assert ring[0, y, x] and points[0, 1:].tolist() == [[1, 2], [6, 7]]
    assert labels.tolist() == [[1, 2, 3], [-1, -1, -1]]
    assert prompts_of(ring, margin=0.4)[0][0, 1:].tolist() == [[0, 0], [8, 8]]


def test_wrong_input_is_refused() -> None:
    masks = PromptedMasks(Filler(), objects=1)
    with pytest.raises(DataError, match="labels must be at most 1, one an object, got 2"):
        masks.begin(scene((2, 0, 0))[1])
    masks.begin(scene((1, 0, 0))[1])
    with pytest.raises(DataError, match=r"frames must have the size of the labels to begin with, \(48, 48\), got"):
        masks.follow(scene((1, 0, 0))[0][:40])
    masks.begin(np.zeros((48, 48), np.uint8))
    assert not masks.follow(scene((1, 0, 0))[0]).any()
