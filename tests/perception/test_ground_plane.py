import numpy as np
import pytest

from worldrl.perception.ground_plane import DOUBT, UNKNOWN, fit_plane, ground_of, outside
from worldrl.scene import Camera
from worldrl.types import Array

SIZE = (120, 160)
NORMAL = np.array([0.1, -0.7, -0.6]) / np.linalg.norm([0.1, -0.7, -0.6])


def camera() -> Camera:
    return Camera(focal=173.0, centre=(61.0, 71.0), rotation=np.eye(3), position=np.zeros(3))


def table(offset: float = -0.5) -> Array:
    """Return the depth at which each pixel's ray meets the plane."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = camera().back_project(np.stack([columns, rows], axis=-1) + 0.5, np.ones(SIZE))
    return np.asarray(offset / (rays @ NORMAL))


def test_a_plane_is_found_whatever_the_principal_point() -> None:
    plane = ground_of(table(), np.ones(SIZE, bool), camera(), seed=0)
    np.testing.assert_allclose(plane.normal, NORMAL, atol=1e-6)
    assert plane.offset == pytest.approx(-0.5)
    assert (plane.share, plane.confidence) == (1.0, 1.0)


def test_things_on_the_table_and_noise_do_not_tilt_it() -> None:
    rng = np.random.default_rng(0)
    depth = table() * (1 + 0.003 * rng.standard_normal(SIZE))
    depth[20:70, 30:90] -= 0.08
    plane = ground_of(depth, np.ones(SIZE, bool), camera(), seed=1)
    assert np.degrees(np.arccos(plane.normal @ NORMAL)) < 1.0
    assert 0.6 < plane.share < 0.95


def test_what_lies_in_boxes_is_not_ground() -> None:
    free = outside(np.array([[2.5, 1.0, 4.0, 3.0]]), (4, 6))
    assert not free[1:3, 2:4].any()
    assert free.sum() == 24 - 4


def test_points_in_no_plane_are_doubted() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (300, 3))
    assert fit_plane(points, rng=np.random.default_rng(1)).confidence == DOUBT


def test_nothing_to_see_gives_an_upright_guess() -> None:
    assert ground_of(table(), np.zeros(SIZE, bool), camera(), seed=0) is UNKNOWN
    line = np.outer(np.arange(9.0), [1.0, 2.0, 3.0])
    assert fit_plane(line, rng=np.random.default_rng(0)) is UNKNOWN


def test_a_seed_repeats_it_and_shapes_must_agree() -> None:
    depth = table() * (1 + 0.01 * np.random.default_rng(0).standard_normal(SIZE))
    first, again = (ground_of(depth, np.ones(SIZE, bool), camera(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.normal, again.normal)
    with pytest.raises(ValueError, match="both of one shape"):
        ground_of(depth, np.ones((3, 3), bool), camera(), seed=0)
