"""The Frechet distance is that of Gaussians, whose closed form is known."""

import numpy as np
import pytest
import torch

from worldrl.evaluation.frechet import clip_features, frame_features, frechet_distance
from worldrl.types import Array, Features


def draw(n: int, d: int, *, seed: int, scale: float = 1.0, shift: float = 0.0) -> Array:
    return shift + scale * np.random.default_rng(seed).standard_normal((n, d))


def corners(*spreads: float) -> Array:
    """Rows of mean zero whose covariance is exactly diagonal, with these variances."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # the sample covariance divides by n - 1
    return signs * np.sqrt(np.array(spreads))


def test_one_dimension_is_the_difference_of_means_and_of_deviations() -> None:
    # Means 0 and 3, deviations 1 and 2: 3^2 + (2 - 1)^2.
    first = np.array([[-1.0], [0.0], [1.0]])
    assert frechet_distance(first, 3 + 2 * first) == pytest.approx(10)


def test_of_commuting_covariances_the_deviations_differ_axis_by_axis() -> None:
    # (2 - 1)^2 + (3 - 5)^2, and the means differ by (1, 2).
    assert frechet_distance(corners(1, 9), np.array([1, 2]) + corners(4, 25)) == pytest.approx(1 + 4 + 5)


def test_of_turned_covariances_the_root_of_their_product_counts() -> None:
    # diag(1, 9), and diag(4, 4) + a correlation: S1 S2 = [[4, 2], [18, 36]] has trace 40 and determinant 108, so that
    # the trace of its root is sqrt(40 + 2 sqrt(108)).
    mix = np.linalg.cholesky([[4.0, 2.0], [2.0, 4.0]])
    expected = 10 + 8 - 2 * np.sqrt(40 + 2 * np.sqrt(9 * 12))
    assert frechet_distance(corners(1, 9), corners(1, 1) @ mix.T) == pytest.approx(expected)


def test_large_samples_come_near_the_closed_form() -> None:
    # Five dimensions, deviations 1 and 2, means 0.5 apart in each: 5 * (0.25 + 1).
    distance = frechet_distance(draw(20_000, 5, seed=0), draw(20_000, 5, seed=1, scale=2, shift=0.5))
    assert distance == pytest.approx(6.25, rel=0.03)


@pytest.mark.parametrize(("n", "m", "d"), [(50, 40, 6), (5, 6, 4), (10, 12, 40), (4, 60, 30)])
def test_it_is_symmetric_and_zero_between_equals_whatever_the_sizes(n: int, m: int, d: int) -> None:
    first, second = draw(n, d, seed=0), draw(m, d, seed=1, scale=2)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))
    assert frechet_distance(first, second) > 0


def test_a_turn_of_the_axes_changes_nothing() -> None:
    turn = np.linalg.qr(draw(30, 30, seed=2))[0]
    first, second = draw(8, 30, seed=0), draw(9, 30, seed=1, scale=3)
    assert frechet_distance(first @ turn, second @ turn) == pytest.approx(frechet_distance(first, second))


def test_looking_at_the_span_alone_is_as_good_as_looking_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = draw(5, 40, seed=0), draw(6, 40, seed=1, scale=2)
    quick = frechet_distance(first, second)
    monkeypatch.setattr("worldrl.evaluation.frechet._span", lambda x, y: np.eye(40))
    assert frechet_distance(first, second) == pytest.approx(quick)


def test_shrinking_brings_few_samples_of_one_crowd_together() -> None:
    # Twenty samples of 60 dimensions each: without shrinking, each lives in its own 19 and the distance is about 60.
    assert frechet_distance(draw(20, 60, seed=0), draw(20, 60, seed=1)) < 20


def test_a_constant_feature_is_no_trouble() -> None:
    still = np.ones((10, 3))
    assert frechet_distance(still, still) == 0
    assert frechet_distance(still, np.array([0, 0, 2]) + still) == pytest.approx(4)


def test_a_clip_is_its_frames_and_their_changes() -> None:
    features = np.array([[1.0, 10.0], [2.0, 10.0], [4.0, 13.0], [5.0, 5.0], [0.0, 0.0]])
    expected = [[1, 10, 2, 10, 1, 0], [4, 13, 5, 5, 1, -8]]
    assert clip_features(features, clip=2).tolist() == expected
    assert clip_features(features[:1], clip=2).shape == (0, 6)


class Mean:
    """Sees four patches: the mean colour of each quarter of a frame."""

    patch = 4

    def __call__(self, frames: Array) -> Features:
        assert frames.shape[1:3] == (8, 8)
        pixels = torch.from_numpy(frames.reshape(-1, 2, 4, 2, 4, 3)).float().mean(dim=(2, 4))
        patches = pixels.reshape(len(frames), 4, 3)
        return Features(torch.zeros(len(frames), 3), patches, (2, 2))


def test_a_frame_is_the_mean_of_its_patches_at_a_size_that_fits() -> None:
    frames = np.zeros((2, 9, 7, 3), np.uint8)
    frames[1] = (10, 20, 30)
    assert frame_features(Mean(), frames).tolist() == [[0, 0, 0], [10, 20, 30]]


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"first must be \(n, d\) with at least 2 rows, got \(1, 3\)"):
        frechet_distance(np.ones((1, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="second must be 3 wide, as first, got 2"):
        frechet_distance(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(ValueError, match="second must be finite, got 1 numbers"):
        frechet_distance(np.ones((2, 1)), [[1.0], [np.nan]])
    with pytest.raises(ValueError, match=r"features must be \(t, d\), got \(3,\)"):
        clip_features(np.ones(3))
    with pytest.raises(ValueError, match="clip must be at least 2, got 1"):
        clip_features(np.ones((3, 1)), clip=1)
