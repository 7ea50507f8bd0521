"""Looks are means under masks, and prototypes stand in where there are no masks."""

import pytest
import torch

from worldrl.errors import DataError
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


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return patches ``(60, 20, 2)``: twenty places that look different, and a thing of one of three kinds at one."""
    torch.manual_seed(0)
    kinds = torch.tensor([[10.0, 0.0], [0.0, 10.0], [-10.0, -10.0]])
    patches = (torch.randn(20, 2) + 0.01 * torch.randn(60, 20, 2)).contiguous()
    for frame in range(60):
        patches[frame, frame % 20] += kinds[frame % 3]
    return patches, kinds


def test_prototypes_find_what_moves_before_the_background() -> None:
    patches, kinds = scene()
    found = Prototypes.fit(patches, 3, seed=0)
    assert torch.cdist(kinds, found.centres).amin(dim=1).max() < 0.5
    masks = found(Features(torch.zeros(60, 2), patches, (4, 5)))
    where = masks.sum(dim=1).flatten(1)
    assert (where.argmax(dim=1) == torch.arange(60) % 20).all()
    assert where.amax(dim=1).min() > 0.9 and where.sort(dim=1).values[:, -2].max() < 0.1
    group = masks.flatten(2).amax(dim=2).argmax(dim=1)
    assert all(len(set(group[i::3].tolist())) == 1 for i in range(3)) and len(set(group[:3].tolist())) == 3


def test_masks_of_one_patch_sum_to_at_most_one() -> None:
    patches, _ = scene()
    masks = Prototypes.fit(patches, 3, seed=0)(Features(torch.zeros(60, 2), 3 * patches, (4, 5)))
    assert masks.sum(dim=1).max() <= 1.0 + 1e-5 and masks.min() >= 0.0


@pytest.mark.parametrize("patches", [torch.randn(1, 3, 2), torch.zeros(50, 20, 2)])
def test_more_prototypes_than_different_patches_are_refused(patches: torch.Tensor) -> None:
    with pytest.raises(DataError, match=r"patches must be at least 5.*: encode more frames"):
        Prototypes.fit(patches, 5, seed=0)


def test_frames_of_another_size_are_refused() -> None:
    found = Prototypes.fit(scene()[0], 3, seed=0)
    with pytest.raises(DataError, match="must have 20 patches, got 4"):
        found(FEATURES)
