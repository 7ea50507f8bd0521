"""Films are compared step by step, each for as long as it is."""

import numpy as np
import pytest
import torch

from worldrl.evaluation import films
from worldrl.evaluation.films import compare_films
from worldrl.types import Array, Features


class Colour:
    """An encoder that sees the mean colour."""

    patch = 1

    def __call__(self, frames: Array) -> Features:
        colour = torch.from_numpy(frames.mean(axis=(1, 2))).float()
        return Features(colour, colour[:, None], (1, 1))


def film(*levels: int) -> Array:
    return np.stack([np.full((12, 12, 3), level, np.uint8) for level in levels])


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "is_installed", lambda: False)


def test_the_error_is_averaged_before_it_becomes_decibels() -> None:
    # Errors 100 and 0 at the first step, 400 at the second, which the second film does not have.
    found = compare_films([film(50, 50), film(80)], [film(60, 70), film(80)])
    assert found.psnr.tolist() == pytest.approx([10 * np.log10(65025 / 50), 10 * np.log10(65025 / 400)])
    assert found.ssim.shape == (2,) and found.ssim[1] < found.ssim[0] < 1
    assert (found.st_lpips, found.frechet_frames, found.frechet_clips) == (None, None, None)


def test_crowds_are_compared_over_an_encoder() -> None:
    real = [film(*range(0, 16)), film(*range(40, 56))]
    brighter = [frames + np.uint8(10) for frames in real]
    found = compare_films(real, brighter, encoder=Colour())
    assert found.frechet_frames == pytest.approx(3 * 10**2)  # the means alone differ, by ten in each colour
    assert found.frechet_clips == pytest.approx(8 * 3 * 10**2)  # in each of eight frames, and no change differs
    same = compare_films(real, real, encoder=Colour())
    assert same.frechet_frames == pytest.approx(0, abs=1e-6) and np.isinf(same.psnr).all()


def test_the_order_of_frames_is_nothing_to_frames_and_something_to_clips() -> None:
    real = [film(*range(i, i + 16)) for i in range(0, 40, 10)]
    backwards = [frames[::-1] for frames in real]
    found = compare_films(real, backwards, encoder=Colour())
    assert found.frechet_frames == pytest.approx(0, abs=1e-6)
    assert found.frechet_clips is not None and found.frechet_clips > 1


def test_one_clip_is_no_crowd() -> None:
    found = compare_films([film(*range(9))], [film(*range(9))], encoder=Colour())
    assert found.frechet_frames is not None and found.frechet_clips is None


def test_films_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shown must have the shapes of real"):
        compare_films([film(1, 2)], [film(1)])
    with pytest.raises(ValueError, match="at least 1 film"):
        compare_films([], [])
