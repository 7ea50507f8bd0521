import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from worldrl.perception.cube_losses import (
    Evidence,
    Weights,
    alignment_loss,
    box_loss,
    extent_loss,
    filled,
    generalised_overlap,
    scaled,
    size_loss,
    slide_loss,
    supervised_loss,
    up_loss,
    weak_loss,
)
from worldrl.perception.cuboids import Cuboids, Views, tight_boxes


def yaw(degrees: float) -> Tensor:
    """Return the rotation of a box that stands before an upright camera and is turned about its own upward axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s, 0.0], [0.0, 0.0, -1.0], [s, c, 0.0]])


def cubes(*degrees: float, depth: float = 1.0, size: float = 0.2) -> Cuboids:
    n = len(degrees)
    return Cuboids(
        torch.tensor([[0.0, 0.0, depth]]).repeat(n, 1), torch.full((n, 3), size), torch.stack([yaw(d) for d in degrees])
    )


def seen(cuboids: Cuboids, pictures: list[int] | None = None) -> Views:
    """Return the views in which the 2D boxes are just those of the cuboids."""
    n = len(cuboids)
    views = Views(
        torch.zeros(n, 4),
        torch.full((n,), 200.0),
        torch.full((n, 2), 100.0),
        torch.tensor(pictures or [0] * n),
        (200, 200),
    )
    return Views(tight_boxes(cuboids, views), views.focal, views.middle, views.pictures, views.size)


def test_a_true_cuboid_has_no_projection_loss() -> None:
    true = cubes(0, 30)
    assert box_loss(true, seen(true)).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert slide_loss(true, seen(true)).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_generalised_overlap_is_that_of_the_paper() -> None:
    some = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]])
    others = torch.tensor([[1.0, 0.0, 3.0, 2.0], [2.0, 0.0, 3.0, 1.0]])
    assert generalised_overlap(some, others).tolist() == pytest.approx([1 / 3, -1 / 3])


def test_a_projection_beyond_the_edge_costs_nothing_where_the_box_ends_there() -> None:
    cube = cubes(0)
    whole = Cuboids(cube.centres + torch.tensor([[0.45, 0.0, 0.0]]), cube.sizes, cube.rotations)
    views = seen(whole)
    cut = Views(views.boxes.clamp(0, 200), views.focal, views.middle, views.pictures, views.size)
    assert float(views.boxes[0, 2]) > 200
    assert box_loss(whole, cut).item() == pytest.approx(0, abs=1e-6)


def test_a_thing_that_fills_half_of_its_cuboid_is_not_taken_for_a_small_one() -> None:
    true, half = cubes(0), torch.tensor([[0.5, 0.5]])
    views = seen(true)
    inner = Views(filled(views.boxes, half), views.focal, views.middle, views.pictures, views.size)
    assert inner.boxes[0].tolist() == pytest.approx([100 - 200 / 18, 100 - 200 / 18, 100 + 200 / 18, 100 + 200 / 18])
    assert box_loss(true, inner).item() == pytest.approx(0.75)
    assert slide_loss(true, inner).item() > 0.5
    assert box_loss(true, inner, half).item() == pytest.approx(0, abs=1e-5)
    assert slide_loss(true, inner, half).item() == pytest.approx(0, abs=1e-5)


def test_a_cube_that_is_too_far_is_slid_to_where_it_covers_its_box() -> None:
    views, far = seen(cubes(0, depth=1.0)), cubes(0, depth=1.3)
    assert slide_loss(far, views).item() == pytest.approx(0.3, abs=1e-5)
    assert slide_loss(far, views, unit=0.1).item() == pytest.approx(1.0, abs=1e-5), "its reach is ten steps of 1 cm"
    centres = far.centres.clone().requires_grad_()
    slide_loss(Cuboids(centres, far.sizes, far.rotations), views).sum().backward()  # type: ignore[no-untyped-call]
    assert centres.grad is not None
    assert centres.grad[0].tolist() == [0, 0, 1]


def test_size_is_free_within_a_deviation() -> None:
    mean, spread = torch.full((1, 3), 0.10), torch.full((1, 3), 0.01)
    sizes = torch.tensor([[0.109, 0.10, 0.07]])
    assert size_loss(sizes, mean, spread).item() == pytest.approx(2 / 3, abs=1e-5)


def test_lying_costs_one_and_standing_on_the_head_nothing() -> None:
    normals = torch.tensor([[0.0, -1.0, 0.0]]).repeat(3, 1)
    boxes = Cuboids(torch.zeros(3, 3), torch.ones(3, 3), torch.stack([yaw(40), -yaw(40), torch.eye(3)]))
    assert up_loss(boxes, normals).tolist() == pytest.approx([0, 0, 1], abs=1e-6)


def test_alignment_is_of_the_pairs_of_a_picture_and_a_thing_alone_has_none() -> None:
    boxes = cubes(0, 60, 30, 180)
    assert alignment_loss(boxes, torch.tensor([0, 0, 1, 2])).tolist() == pytest.approx([0.5, 0.5, 0, 0], abs=1e-6)
    three = cubes(0, 60, 60)
    pairs = (0.5 + 0.5 + 0.0) / 3
    assert alignment_loss(three, torch.zeros(3, dtype=torch.long)).tolist() == pytest.approx([pairs] * 3, abs=1e-6)


def test_extent_is_what_the_corners_span_in_depth() -> None:
    assert extent_loss(cubes(0, 45), torch.tensor([0.15, 0.2])).tolist() == pytest.approx(
        [0.05, 0.2 * (math.sqrt(2) - 1)], abs=1e-6
    )


def test_uncertainty_settles_at_the_size_of_the_loss() -> None:
    loss, mu = torch.tensor([0.3, 4.0]), torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([mu], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        scaled(loss, mu).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert mu.exp().tolist() == pytest.approx((math.sqrt(2) * loss).tolist(), rel=0.02)


def test_turns_that_leave_a_box_as_it_is_cost_nothing() -> None:
    true = cubes(20)
    again = cubes(110)
    assert supervised_loss(again, true).item() == pytest.approx(0, abs=1e-4)
    assert supervised_loss(cubes(20, depth=1.1), true, unit=0.1).item() > 1.0


def evidence(true: Cuboids) -> Evidence:
    depth = true.corners()[:, :, 2]
    n = len(true)
    return Evidence(
        true.centres[:, 2], depth.amax(dim=1) - depth.amin(dim=1), true.sizes, 0.1 * true.sizes,
        torch.tensor([[0.0, -1.0, 0.0]]).repeat(n, 1), torch.ones(n), torch.ones(n, 2),
    )  # fmt: skip


def test_a_true_cuboid_has_no_weak_loss_and_each_weight_counts_its_own() -> None:
    true = cubes(0, 0)
    assert weak_loss(true, seen(true), evidence(true), weights=Weights()).tolist() == pytest.approx([0, 0], abs=1e-4)
    nothing = dict.fromkeys(asdict(Weights()), 0.0)
    wrong = Cuboids(true.centres * 1.1, true.sizes * 1.3, torch.stack([yaw(20), torch.eye(3)]))
    for name in nothing:
        part = weak_loss(wrong, seen(true), evidence(true), weights=Weights(**{**nothing, name: 1.0}))
        twice = weak_loss(wrong, seen(true), evidence(true), weights=Weights(**{**nothing, name: 2.0}))
        assert float(part[1]) > 0, name
        torch.testing.assert_close(twice, 2 * part)


def test_a_doubted_ground_hardly_tilts_a_cube() -> None:
    true = cubes(0)
    lying = Cuboids(true.centres, true.sizes, torch.eye(3)[None])
    known, only = evidence(true), Weights(0, 0, 0, 0, 20, 0, 0)
    doubted = replace(known, confidence=torch.tensor([0.1]))
    assert weak_loss(lying, seen(true), known, weights=only).item() == pytest.approx(20)
    assert weak_loss(lying, seen(true), doubted, weights=only).item() == pytest.approx(2)
