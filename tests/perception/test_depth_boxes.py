import numpy as np
import pytest
import torch

from worldrl.errors import ConfigError
from worldrl.perception.cuboids import Views
from worldrl.perception.depth_boxes import DepthMaps, depth_boxes, depth_in, disturb, extents, medians


def maps(*, owners: bool = False, stride: int = 1) -> DepthMaps:
    """Return one picture of 40 x 40 pixels: a wall at 2 m, and a thing at 1 m in columns 10 to 19."""
    depth, own = torch.full((1, 40, 40), 2.0), torch.zeros(1, 40, 40, dtype=torch.uint8)
    depth[:, :, 10:20], own[:, :, 10:20] = 1.0, 1
    depth, own = depth[:, ::stride, ::stride], own[:, ::stride, ::stride]
    return DepthMaps(depth, stride, own if owners else None)


ONE = torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_median_is_of_what_most_of_the_box_shows(stride: int) -> None:
    there = maps(stride=stride)
    assert medians(depth_in(there, torch.tensor([[8.0, 5.0, 20.0, 30.0]]), ONE)).item() == 1.0
    assert medians(depth_in(there, torch.tensor([[14.0, 5.0, 34.0, 30.0]]), ONE)).item() == 2.0


def test_within_its_mask_only_the_thing_counts() -> None:
    box, owner = torch.tensor([[15.0, 5.0, 34.0, 30.0]]), torch.tensor([1])
    assert medians(depth_in(maps(owners=True), box, ONE, owner)).item() == 1.0
    assert extents(depth_in(maps(owners=True), box, ONE, owner)).item() == 0.0
    assert extents(depth_in(maps(), box, ONE)).item() == 1.0


def test_a_thing_that_is_hidden_has_the_depth_of_its_box() -> None:
    found = depth_in(maps(owners=True), torch.tensor([[25.0, 5.0, 34.0, 30.0]]), ONE, torch.tensor([1]))
    assert medians(found).item() == 2.0


def test_a_box_beyond_the_picture_is_read_at_the_edge() -> None:
    assert medians(depth_in(maps(), torch.tensor([[-90.0, 50.0, -50.0, 90.0]]), ONE)).item() == 2.0


def test_masks_that_are_not_there_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="maps must have owners"):
        depth_in(maps(), torch.tensor([[0.0, 0.0, 9.0, 9.0]]), ONE, torch.tensor([1]))


def test_an_instrument_errs_by_a_factor_a_picture_and_by_its_seed() -> None:
    depth = np.ones((200, 8, 8), np.float32)
    wrong = disturb(depth, scale=0.05, noise=0.0, rng=np.random.default_rng(0))
    assert np.ptp(wrong, axis=(1, 2)).max() == 0
    assert np.log(wrong[:, 0, 0]).std() == pytest.approx(0.05, rel=0.2)
    assert disturb(depth, scale=0.0, noise=0.01, rng=np.random.default_rng(0)).std() == pytest.approx(0.01, rel=0.05)
    np.testing.assert_array_equal(wrong, disturb(depth, scale=0.05, noise=0.0, rng=np.random.default_rng(0)))
    np.testing.assert_array_equal(depth, disturb(depth, scale=0.0, noise=0.0, rng=np.random.default_rng(0)))
    with pytest.raises(ConfigError, match=r"must be in \[0, 0.2\), got 0.3"):
        disturb(depth, scale=0.3, noise=0.0, rng=np.random.default_rng(0))


def test_a_box_at_its_depth_stands_upright_where_its_middle_is_seen() -> None:
    view = Views(
        torch.tensor([[90.0, 40.0, 130.0, 60.0]]), torch.tensor([200.0]), torch.tensor([[100.0, 90.0]]), ONE, (200, 200)
    )
    size, up = torch.tensor([[0.1, 0.1, 0.2]]), torch.tensor([[0.0, -1.0, 0.0]])
    found = depth_boxes(torch.tensor([2.0]), view, sizes=size, normals=up)
    assert found.centres[0].tolist() == pytest.approx([0.1, -0.4, 2.0])
    assert found.rotations[0, :, 2].tolist() == pytest.approx([0, -1, 0])
    behind = depth_boxes(torch.tensor([2.0]), view, sizes=size, normals=up, surface_to_centre=True)
    assert 0.03 < float(behind.centres[0, 2]) - 2.0 < 0.06
    torch.testing.assert_close(behind.centres / behind.centres[:, 2:], found.centres / found.centres[:, 2:])
