import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.perception.cuboids import Cuboids, Views, half_extents, middles, rotations_of, tight_boxes, turned_to
from worldrl.perception.depth_boxes import upright
from worldrl.scene import Camera, Thing


def views(boxes: list[list[float]], *, focal: float = 200.0, middle: tuple[float, float] = (100.0, 90.0)) -> Views:
    n = len(boxes)
    return Views(
        torch.tensor(boxes), torch.full((n,), focal), torch.tensor([middle]).expand(n, 2),
        torch.zeros(n, dtype=torch.long), (200, 200),
    )  # fmt: skip


def cuboid(centre: list[float], size: list[float], rotation: Tensor | None = None) -> Cuboids:
    rotation = torch.eye(3) if rotation is None else rotation
    return Cuboids(torch.tensor([centre]), torch.tensor([size]), rotation[None])


def test_corners_and_pixels_are_those_of_the_scene() -> None:
    rotation = rotations_of(torch.tensor([[0.3, -0.5, 0.2, 0.1, 0.4, 0.9]]))[0]
    camera = Camera(focal=200.0, centre=(100.0, 90.0), rotation=np.eye(3), position=np.zeros(3))
    thing = Thing(
        "can",
        "red",
        np.zeros(4, np.float32),
        np.array([0.1, -0.2, 0.9]),
        np.array([0.05, 0.06, 0.1]),
        rotation.numpy(),
        1.0,
    )
    cube = cuboid([0.1, -0.2, 0.9], [0.05, 0.06, 0.1], rotation)
    np.testing.assert_allclose(cube.corners()[0], thing.corners(), atol=1e-6)
    view = views([[0.0, 0.0, 10.0, 10.0]])
    np.testing.assert_allclose(view.project(cube.corners())[0], camera.project(thing.corners()), atol=1e-3)


def test_what_is_lower_and_further_right_is_so_in_the_picture() -> None:
    pixels = views([[0.0, 0.0, 1.0, 1.0]]).project(torch.tensor([[[0.5, 0.25, 1.0]]]))[0, 0]
    assert pixels.tolist() == [200.0, 140.0]


def test_a_ray_times_a_depth_is_the_point_that_its_pixel_shows() -> None:
    view = views([[90.0, 40.0, 130.0, 60.0]])
    point = view.rays(middles(view.boxes)) * 2.0
    assert point[0].tolist() == pytest.approx([0.1, -0.4, 2.0])
    torch.testing.assert_close(view.project(point[:, None])[:, 0], middles(view.boxes))


def test_the_tight_box_of_a_facing_cube_is_that_of_its_near_face() -> None:
    box = tight_boxes(cuboid([0.0, 0.0, 1.1], [0.2, 0.2, 0.2]), views([[0.0, 0.0, 1.0, 1.0]]))
    assert box[0].tolist() == pytest.approx([80.0, 70.0, 120.0, 110.0])


def test_six_numbers_make_a_rotation_and_its_first_columns_make_it_again() -> None:
    numbers = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    rotations = rotations_of(numbers)
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(5))
    torch.testing.assert_close(rotations_of(torch.cat([rotations[:, :, 0], rotations[:, :, 1]], dim=1)), rotations)


def test_turning_to_a_ray_takes_the_optical_axis_there_by_the_shortest_way() -> None:
    rays = torch.tensor([[0.0, 0.0, 2.0], [0.5, -0.3, 1.0]])
    turns = turned_to(rays)
    torch.testing.assert_close(turns[0], torch.eye(3))
    torch.testing.assert_close(turns[1] @ torch.tensor([0.0, 0.0, 1.0]), rays[1] / rays[1].norm())
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(2))
    cosine = (turns[1].trace() - 1) / 2
    assert float(cosine) == pytest.approx(1 / float(rays[1].norm()), abs=1e-5)


def test_upright_boxes_stand_along_the_normal() -> None:
    normal = torch.tensor([[0.1, -0.8, -0.6]])
    rotation = upright(normal)[0]
    torch.testing.assert_close(rotation[:, 2], normal[0] / normal[0].norm())
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-6, rtol=0)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-5)
    assert float(rotation[0, 0]) > 0.9


def visible_gap(size: Tensor, rotation: Tensor) -> float:
    """Return the mean depth from the visible surface to the centre, of rays along the optical axis, by counting."""
    line = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="ij")
    start = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3) @ rotation
    along = rotation[2]  # the optical axis among the box's own
    near, far = ((-torch.sign(along) * size / 2 - start) / along), ((torch.sign(along) * size / 2 - start) / along)
    enter, leave = near.amax(dim=1), far.amin(dim=1)
    return float(-enter[leave > enter].mean())


@pytest.mark.parametrize("degrees", [10.0, 37.0, 60.0])
def test_half_the_extent_along_the_rays_is_what_the_visible_surface_lies_before_the_centre(degrees: float) -> None:
    lean = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    up = torch.stack([torch.zeros_like(lean), -lean.cos(), -lean.sin()])[None]
    size = torch.tensor([1.0, 0.7, 1.3], dtype=torch.float64)
    yaw = torch.tensor([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    rotation = upright(up.float())[0].double() @ yaw
    far = Cuboids(torch.tensor([[0.0, 0.0, 9.0]]).double(), size[None], rotation[None])
    assert float(half_extents(far)) == pytest.approx(visible_gap(size, rotation), abs=0.01)


def test_a_cube_seen_from_37_degrees_is_short_by_a_third_of_its_side() -> None:
    lean = torch.tensor(37.0).deg2rad()
    up = torch.stack([torch.zeros_like(lean), -lean.cos(), -lean.sin()])[None]
    cube = Cuboids(torch.tensor([[0.0, 0.0, 1.0]]), torch.full((1, 3), 0.1), upright(up))
    assert 0.032 < float(half_extents(cube)) < 0.036
