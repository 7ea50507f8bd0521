"""ST-LPIPS hardly minds a shift and minds noise; with its own weights, by as much as it should."""

import numpy as np
import pytest
import torch

from worldrl.encoders.convert import read_stlpips_pth
from worldrl.evaluation import stlpips
from worldrl.evaluation.stlpips import SMALLEST, ShiftTolerantLpips, is_installed, load_stlpips
from worldrl.types import Array


def picture(side: int = 72) -> Array:
    """A coloured cloud, whose spectrum falls as that of photographs does."""
    rng = np.random.default_rng(0)
    across, down = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))
    spectrum = rng.standard_normal((3, side, side)) / np.maximum(np.hypot(across, down), 1 / side) ** 1.6
    cloud = np.fft.ifft2(spectrum * np.exp(2j * np.pi * rng.random((3, side, side)))).real
    return np.clip(127 + 20 * cloud / cloud.std(), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def noisy(frame: Array, sigma: float) -> Array:
    rng = np.random.default_rng(1)
    return np.clip(frame + sigma * rng.standard_normal(frame.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def metric() -> ShiftTolerantLpips:
    torch.manual_seed(0)
    return ShiftTolerantLpips()


def test_it_is_a_distance(metric: ShiftTolerantLpips) -> None:
    frame = picture()
    assert metric.distance(frame, frame) == 0
    assert metric.distance(frame, noisy(frame, 20)) > 0
    assert metric.distance(frame, noisy(frame, 20)) == pytest.approx(float(metric.distance(noisy(frame, 20), frame)))


def test_a_frame_does_not_see_the_rest_of_its_batch(
    metric: ShiftTolerantLpips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stlpips, "CHUNK", 2)
    real = np.stack([picture(), noisy(picture(), 5), noisy(picture(), 9)])[:, None]
    together = metric.distance(real, real[::-1])
    assert together.shape == (3, 1)
    assert together[2, 0] == pytest.approx(float(metric.distance(real[2, 0], real[0, 0])), rel=1e-4)


def test_each_depth_halves_three_times_and_no_more(metric: ShiftTolerantLpips) -> None:
    # 64 -> 58 by the first convolution -> 30 by halving; 28 by pooling -> 15; 13 by pooling -> 8.
    maps = metric._features(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 30, 30), (192, 15, 15), (384, 8, 8), (256, 8, 8), (256, 8, 8)]


def test_small_frames_are_enlarged_to_what_it_was_trained_on(metric: ShiftTolerantLpips) -> None:
    grey, white = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 255, np.uint8)
    large = [np.full((SMALLEST, SMALLEST, 3), level, np.uint8) for level in (100, 255)]
    assert metric.distance(grey, white) == pytest.approx(float(metric.distance(*large)), rel=1e-5)


def test_its_weights_are_read_from_foreign_names(metric: ShiftTolerantLpips, tmp_path) -> None:
    state = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "net.slice2.4.filt": torch.zeros(64, 1, 3, 3)}
    for i, name in enumerate(("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")):
        for part in ("weight", "bias"):
            state[f"net.{name}.{part}"] = metric.state_dict()[f"convs.{i}.{part}"]
    state |= {f"lin{i}.model.1.weight": metric.state_dict()[f"lins.{i}.weight"] for i in range(5)}
    torch.save(state, tmp_path / "foreign.pth")
    torch.testing.assert_close(read_stlpips_pth(tmp_path / "foreign.pth"), dict(metric.state_dict()))


@pytest.mark.weights
def test_with_its_own_weights_a_shift_is_nothing_and_noise_is_much() -> None:
    if not is_installed():
        pytest.skip("worldrl encoders install stlpips")
    metric, frame = load_stlpips(), picture()
    shifted = metric.distance(frame[:, 4:68], frame[:, 5:69])
    distances = [float(metric.distance(frame, noisy(frame, sigma))) for sigma in (10, 40)]
    assert shifted == pytest.approx(0.0045, rel=0.05)
    assert distances == pytest.approx([0.152, 0.662], rel=0.05)
