"""Looks are means under masks, and prototypes stand in where there are no masks."""

import pytest
import torch

from worldrl.objects import Prototypes, pool
from worldrl.types import Features

FEATURES = Features(torch.zeros(1, 2), torch.tensor([[[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, 7.0]]]), (2, 2))


def test_a_look_is_the_mean_of_the_patches_under_the_mask() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :] = 1  # the upper two patches
    torch.testing.assert_close(pool(FEATURES, mask), torch.tensor([[[2.0, 0.0]]]))


def test_a_patch_that_is_covered_by_half_counts_half() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :2], mask[..., :1, 2:] = 1, 1
    torch.testing.assert_close(pool(FEATURES, mask), torch.tensor([[[(1.0 + 0.5 * 3.0) / 1.5, 0.0]]]))


def test_nothing_looks_like_zero() -> None:
    assert pool(FEATURES, torch.zeros(1, 3, 4, 4)).abs().sum() == 0


def test_prototypes_find_planted_groups_and_share_each_patch() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    patches = (centres[:, None] + 0.1 * torch.randn(3, 40, 2)).reshape(-1, 2)
    found = Prototypes.fit(patches, 3, seed=0)
    assert torch.cdist(centres, found.centres).amin(dim=1).max() < 0.2
    masks = found(Features(torch.zeros(1, 2), centres[[0, 1, 2, 0]][None], (2, 2)))
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(1, 2, 2))
    assert masks.amax(dim=1).min() > 0.99


def test_more_prototypes_than_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="patches must be at least 5, got 3: encode more frames"):
        Prototypes.fit(torch.randn(3, 2), 5, seed=0)
