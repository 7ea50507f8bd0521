"""Frames as observations: right numbers, right refusals, the same again from disk."""

from pathlib import Path

import numpy as np
import pytest

from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.frame_observation import FramePipeline
from worldrl.observation import ObservationPipeline
from worldrl.recipes.parts import pipeline_at

PROPRIO = np.zeros((2, 3), np.float32)


def frames(size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def test_black_is_minus_one_white_is_one_and_shrinking_averages() -> None:
    picture = np.zeros((1, 32, 32, 3), np.uint8)
    picture[:, :, 16:] = 255
    picture[:, :2, :1] = 255
    obs = FramePipeline(16)(picture, PROPRIO[:1])
    assert obs.shape == (1, 3, 16, 16) and obs.dtype == np.float32
    assert (obs[..., 8:] == 1.0).all() and (obs[:, :, 1:, :8] == -1.0).all()
    np.testing.assert_allclose(obs[:, :, 0, 0], 0.0, atol=1e-6)  # two of its four pixels are white


def test_what_it_returns_lies_in_its_space() -> None:
    pipeline = FramePipeline(48)
    assert all(pipeline.space.contains(obs) for obs in pipeline(frames(), PROPRIO))


def test_it_comes_back_from_disk_and_by_the_way_every_recipe_takes(tmp_path: Path) -> None:
    FramePipeline(32).save_pretrained(tmp_path / "observation")
    with pipeline_at(tmp_path / "observation", None) as again:
        assert isinstance(again, FramePipeline) and again.hash == FramePipeline(32).hash
        assert again.masks == "none" and again.shape == (3, 32, 32)


def test_another_size_is_another_pipeline(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="was made for observation pipeline"):
        FramePipeline(32).require(FramePipeline(48).hash, owner="policy")
    FramePipeline(32).save_pretrained(tmp_path / "observation")
    with pytest.raises(CheckpointError, match="does not describe an observation pipeline"):
        ObservationPipeline.from_pretrained(tmp_path / "observation")


@pytest.mark.parametrize("size", [0, 8, 50])
def test_a_size_that_the_denoiser_cannot_fold_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 8"):
        FramePipeline(size)


@pytest.mark.parametrize("wrong", [frames(32), frames().astype(np.float32), frames()[0]])
def test_frames_that_are_too_small_or_no_frames_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="frames must be uint8"):
        FramePipeline(48)(wrong, PROPRIO)
