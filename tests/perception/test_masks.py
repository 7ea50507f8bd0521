"""Masks as tensors: what is pooled inside them, which class a cell has, and which pieces are proposed."""

import numpy as np
import pytest
import torch

from worldrl.errors import ConfigError
from worldrl.perception.mask_proposals import propose
from worldrl.perception.masks import class_map, numbers_of, pool, resized, to_map, true_masks

INSTANCES = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 0, 0], [2, 2, 0, 0]], np.uint8)


def test_a_feature_is_the_mean_of_those_that_a_mask_covers_and_zero_for_none() -> None:
    patches = torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])
    masks = torch.zeros(1, 3, 4, 4)
    masks[0, 0, :2] = 1.0  # the upper two patches
    masks[0, 1, :2, 2:] = masks[0, 1, 2:, 3:] = 1.0  # one patch, and half of another
    assert pool(patches, (2, 2), masks)[0, :, 0].tolist() == pytest.approx([1.5, (2 + 0.5 * 4) / 1.5, 0.0])


def test_patches_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"patches must be \(b, 6, d\) for a grid of \(2, 3\)"):
        to_map(torch.zeros(1, 4, 2), (2, 3))


def test_a_map_that_becomes_smaller_is_averaged() -> None:
    assert resized(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), (1, 1)).item() == 3.0


def test_cells_have_the_class_that_is_seen_in_their_middle_and_strangers_none() -> None:
    numbers = numbers_of(["red cube", "pink elephant"], ["blue ball", "red cube"])
    assert numbers == [1, -1]
    assert class_map(INSTANCES, numbers, stride=2).tolist() == [[0, 2], [0, 0]]
    found = true_masks(INSTANCES, numbers, stride=2)
    assert found.classes.tolist() == [1] and found.masks[0].tolist() == [[0, 1], [0, 0]]


def test_pieces_of_alike_features_are_proposed_and_what_is_too_large_is_not() -> None:
    features = torch.zeros(8, 8, 3)
    features[..., 0] = 1.0
    features[1:4, 1:4] = torch.tensor([0.0, 1.0, 0.0])
    features[5:7, 4:7] = torch.tensor([0.0, 0.0, 1.0])
    masks = propose(features.reshape(64, 3), (8, 8), (16, 16), clusters=3, least=4)
    assert len(masks) == 2 and masks[0].sum() >= masks[1].sum()
    assert masks[0, 4, 4] and not masks[0, 12, 10] and masks[1, 12, 10]
    with pytest.raises(ConfigError, match="clusters must be at least 2"):
        propose(features.reshape(64, 3), (8, 8), (16, 16), clusters=1)
