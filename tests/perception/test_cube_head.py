import pytest
import torch

from worldrl.encoders.frozen import seeded
from worldrl.perception.cube_head import CubeHead, cut_out
from worldrl.perception.cuboids import Cuboids, Views, middles


def views(boxes: list[list[float]], *, focal: float = 200.0, pictures: list[int] | None = None) -> Views:
    n = len(boxes)
    return Views(
        torch.tensor(boxes),
        torch.full((n,), focal),
        torch.full((n, 2), 100.0),
        torch.tensor(pictures or [0] * n),
        (200, 200),
    )


PRIORS = torch.tensor([[0.1, 0.1, 0.1], [0.05, 0.05, 0.2]])
BOXES = [[80.0, 80.0, 120.0, 120.0], [20.0, 130.0, 60.0, 190.0], [150.0, 10.0, 190.0, 40.0]]


def head(*, per_class: bool = True) -> CubeHead:
    """Return a toy head, as it is before training."""
    return seeded(
        lambda: CubeHead(width=6, cells=2, priors=PRIORS, depth=2.0, hidden=16, per_class=per_class), 0
    ).eval()


def features(n: int) -> torch.Tensor:
    return torch.randn(n, 4, 6, generator=torch.Generator().manual_seed(1))


def test_places_of_a_box_are_read_between_patches() -> None:
    rows = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 4, 1)
    columns = rows.transpose(1, 2)
    patches = torch.cat([rows, columns], dim=-1).reshape(1, 16, 2)
    found = cut_out(patches, (4, 4), views([[0.0, 0.0, 200.0, 200.0], [50.0, 100.0, 100.0, 150.0]]), cells=2)
    assert found[0].tolist() == [[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2.5, 2.5]]
    assert found[1].tolist() == [[1.75, 0.75], [1.75, 1.25], [2.25, 0.75], [2.25, 1.25]]


def test_each_box_is_read_in_its_own_picture() -> None:
    patches = torch.stack([torch.zeros(4, 1), torch.ones(4, 1)])
    found = cut_out(patches, (2, 2), views([BOXES[0]] * 3, pictures=[1, 0, 1]), cells=2)
    assert found.mean(dim=(1, 2)).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="patches must be 3x2, got 4"):
        cut_out(patches, (3, 2), views([BOXES[0]]), cells=2)


def test_it_starts_with_the_class_standing_where_its_box_is() -> None:
    view = views(BOXES)
    found = head()(features(3), view, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(found.cuboids.sizes, PRIORS[[0, 1, 1]], rtol=0.02, atol=0)
    torch.testing.assert_close(found.cuboids.centres[:, 2], torch.full((3,), 2.0 * 200 / 512), rtol=0.02, atol=0)
    seen = view.project(found.cuboids.centres[:, None])[:, 0]
    torch.testing.assert_close(seen, middles(view.boxes), rtol=0, atol=1.0)
    upward = found.cuboids.rotations[0, :, 2]
    assert upward.tolist() == pytest.approx([0, -1, 0], abs=0.02)
    assert found.scores().min() > 0


def test_a_longer_focal_length_puts_the_same_picture_further_away() -> None:
    near, far = (head()(features(3), views(BOXES, focal=f), torch.tensor([0, 1, 1])) for f in (200.0, 400.0))
    torch.testing.assert_close(far.cuboids.centres[:, 2], 2 * near.cuboids.centres[:, 2])


def test_what_looks_alike_at_the_side_is_turned_with_its_ray() -> None:
    same = features(1).expand(2, -1, -1)
    middle, side = [[90.0, 90.0, 110.0, 110.0]], [[170.0, 90.0, 190.0, 110.0]]
    network = head()
    with torch.no_grad():
        network.body[0].weight[:, -4:] = 0  # where the box is says nothing, so that both look the same
        found = network(same, views(middle + side), torch.tensor([0, 0]))
    assert isinstance(found.cuboids, Cuboids)
    relative = found.cuboids.rotations[1] @ found.cuboids.rotations[0].T
    angle = ((relative.trace() - 1) / 2).acos().rad2deg().item()
    assert angle == pytest.approx(torch.tensor(80 / 200).atan().rad2deg().item(), abs=0.5)


def test_classes_have_predictions_of_their_own_if_they_are_to() -> None:
    rows, view = features(1).expand(2, -1, -1), views([BOXES[0]] * 2)
    for per_class, alike in ((True, False), (False, True)):
        found = head(per_class=per_class)(rows, view, torch.tensor([0, 1]))
        same = torch.allclose(found.cuboids.centres[0], found.cuboids.centres[1], atol=1e-7)
        assert same is alike
        assert not torch.allclose(found.cuboids.sizes[0], found.cuboids.sizes[1], atol=1e-3)


def test_a_depth_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="depth must be above 0 m, got 0"):
        CubeHead(width=6, cells=2, priors=PRIORS, depth=0.0)
