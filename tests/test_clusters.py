"""Points that lie close together get one centre."""

import torch

from worldrl.clusters import kmeans


def test_each_heap_gets_a_centre_at_its_mean() -> None:
    points = torch.tensor([[0.0, 0.0], [0.0, 2.0], [50.0, 0.0], [50.0, 4.0]])
    centres, spread = kmeans(points, 2, seed=0)
    assert sorted(centres.tolist()) == [[0.0, 1.0], [50.0, 2.0]]
    assert spread == 1.0  # squared distances 1, 1, 4, 4: torch takes the lower of two medians


def test_a_seed_gives_the_same_centres_and_another_seed_others() -> None:
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(0))
    first, again, other = (kmeans(points, 8, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_there_are_no_more_centres_than_different_points() -> None:
    centres, _ = kmeans(torch.tensor([[0.0], [1.0]]).repeat(10, 1), 5, seed=0)
    assert sorted(centres.flatten().tolist()) == [0.0, 1.0]
