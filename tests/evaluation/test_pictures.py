"""Pictures are compared as the papers say, on pictures whose answers can be worked out."""

import numpy as np
import pytest

from worldrl.evaluation.pictures import CHUNK, decibels, psnr, squared_error, ssim
from worldrl.types import Array

C1, C2 = 6.5025, 58.5225
"""(0.01 * 255) squared and (0.03 * 255) squared."""


def flat(level: int, shape: tuple[int, ...] = (16, 16, 3)) -> Array:
    return np.full(shape, level, np.uint8)


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_difference_of_ten_grey_levels_is_28_decibels() -> None:
    assert squared_error(flat(100), flat(110)) == pytest.approx(100)
    assert psnr(flat(100), flat(110)) == pytest.approx(10 * np.log10(65025 / 100))
    assert psnr(flat(110), flat(100)) == pytest.approx(28.13, abs=0.005)


def test_every_grey_level_differs_at_most_by_255() -> None:
    assert psnr(flat(0), flat(255)) == pytest.approx(0.0)
    assert decibels(np.array([65025.0, 650.25])).tolist() == pytest.approx([0.0, 20.0])


def test_nothing_that_differs_is_infinite_psnr_and_ssim_of_one() -> None:
    frames = noise(2, 16, 16, 3)
    assert np.isinf(psnr(frames, frames)).all()
    assert ssim(frames, frames).tolist() == pytest.approx([1.0, 1.0])


def test_flat_pictures_differ_by_luminance_alone() -> None:
    expected = (2 * 100 * 150 + C1) / (100**2 + 150**2 + C1)
    assert ssim(flat(100), flat(150)) == pytest.approx(expected)


def test_a_chequerboard_and_its_negative_are_opposites() -> None:
    board = (255 * (np.indices((24, 24)).sum(axis=0) % 2)).astype(np.uint8)[..., None].repeat(3, axis=2)
    variance = 127.5**2  # of every window, whose mean is 127.5 on both boards
    expected = (C2 - 2 * variance) / (C2 + 2 * variance)
    assert ssim(board, 255 - board) == pytest.approx(expected, abs=1e-4)


def test_ssim_counts_the_windows_that_lie_wholly_inside() -> None:
    spoilt = flat(100, (21, 21, 3))
    spoilt[0, 0] = 255  # the corner is in the corner window alone, out of 11 x 11 windows
    line = np.exp(-((np.arange(11) - 5.0) ** 2) / 4.5)
    g = (line[0] / line.sum()) ** 2  # its weight there
    mean, variance = 100 + 155 * g, 155**2 * (g - g**2)
    here = (2 * 100 * mean + C1) / (100**2 + mean**2 + C1) * C2 / (variance + C2)
    assert ssim(flat(100, (21, 21, 3)), spoilt) == pytest.approx((120 + here) / 121, abs=1e-9)


def test_every_frame_has_its_own_figure_in_its_own_place() -> None:
    real, imagined = noise(2, 3, 12, 12, 3, seed=1), noise(2, 3, 12, 12, 3, seed=2)
    for figure in (psnr, ssim):
        assert figure(real, imagined).shape == (2, 3)
        assert figure(real, imagined)[1, 2] == pytest.approx(float(figure(real[1, 2], imagined[1, 2])))


def test_many_frames_are_as_few() -> None:
    real, imagined = noise(CHUNK + 1, 11, 11, 3, seed=1), noise(CHUNK + 1, 11, 11, 3, seed=2)
    assert ssim(real, imagined)[-1] == pytest.approx(float(ssim(real[-1], imagined[-1])))


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"real must be \(\.\.\., h, w, 3\) uint8, got \(16, 16, 3\) float64"):
        psnr(flat(1).astype(float), flat(1))
    with pytest.raises(ValueError, match=r"imagined must be \(16, 16, 3\), as real, got \(12, 12, 3\)"):
        ssim(flat(1), flat(1, (12, 12, 3)))
    with pytest.raises(ValueError, match="at least 11 pixels high and wide for SSIM"):
        ssim(flat(1, (10, 16, 3)), flat(1, (10, 16, 3)))
