"""The decoder draws what tokens describe."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl import checkpoint
from worldrl.encoders.thumbnails import SIZE, shrink
from worldrl.errors import CheckpointError
from worldrl.types import Array
from worldrl.world_model.decoder import TokenDecoder, fit_decoder


def make() -> TokenDecoder:
    torch.manual_seed(0)
    return TokenDecoder(obs_shape=(2, 3), width=8).eval()


def scene(count: int) -> tuple[Array, Array]:
    """Return tokens, the second of which says where a white square is, and frames with that square on grey."""
    rng = np.random.default_rng(0)
    obs, frames = np.zeros((count, 2, 3), np.float32), np.full((count, SIZE, SIZE, 3), 40, np.uint8)
    for i, (x, y) in enumerate(rng.integers(0, SIZE - 16, (count, 2))):
        frames[i, y : y + 16, x : x + 16] = 240
        obs[i, 1, :2] = (np.array([x, y]) + 8) / (SIZE / 2) - 1
    return obs, frames


def test_frames_are_pictures_and_do_not_see_their_batch() -> None:
    decoder, obs = make(), torch.randn(4, 2, 3)
    frames = decoder.decode(obs)
    assert frames.shape == (4, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_allclose(decoder.decode(obs[1:2])[0].astype(int), frames[1].astype(int), atol=1)


def test_it_learns_to_draw_a_square_where_the_token_says() -> None:
    decoder, (obs, frames) = make(), scene(128)
    losses: list[float] = []
    last = fit_decoder(
        decoder, obs, frames, steps=200, batch_size=8, lr=1e-2, progress=lambda _, loss: losses.append(loss)
    )
    assert last < 0.5 * np.mean(losses[:5])
    assert not decoder.training
    drawn = decoder.decode(torch.as_tensor(obs[:16])).mean(axis=-1)
    inside = frames[:16, ..., 0] == 240
    assert drawn[inside].mean() > drawn[~inside].mean() + 40


def test_fitting_repeats_under_its_seed() -> None:
    obs, frames = scene(16)
    first, second = make(), make()
    for decoder in (first, second):
        fit_decoder(decoder, obs, frames, steps=3, batch_size=4, seed=5)
    assert checkpoint.hash_tensors(first.state_dict()) == checkpoint.hash_tensors(second.state_dict())


def test_shrinking_averages_over_areas() -> None:
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    frames[0, 0, 0] = 255
    torch.testing.assert_close(shrink(frames, 1), torch.full((1, 3, 1, 1), 0.25))


def test_a_saved_decoder_draws_the_same(tmp_path: Path) -> None:
    decoder, obs = make(), torch.randn(3, 2, 3)
    decoder.save_pretrained(tmp_path / "decoder")
    np.testing.assert_array_equal(TokenDecoder.from_pretrained(tmp_path / "decoder").decode(obs), decoder.decode(obs))


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x", kind="world_model", config={}, tensors={})
    with pytest.raises(CheckpointError, match="must be a checkpoint of kind 'decoder', got 'world_model'"):
        TokenDecoder.from_pretrained(tmp_path / "x")
