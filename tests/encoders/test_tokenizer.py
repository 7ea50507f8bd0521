"""A frame becomes a few visual tokens and comes back; similar latents may stand in for each other in training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldrl import checkpoint
from worldrl.encoders.tokenizer import NUMBERS, FrameTokenizer, to_cells, to_tokens
from worldrl.encoders.tokenizer_fit import fit_tokenizer, perturb
from worldrl.errors import CheckpointError, ConfigError
from worldrl.types import Array


def make(tokens: int = 4) -> FrameTokenizer:
    torch.manual_seed(0)
    return FrameTokenizer(tokens=tokens, width=8)


def squares(count: int) -> Array:
    """White squares anywhere on grey, 64 pixels a side."""
    frames = np.full((count, 64, 64, 3), 80, np.uint8)
    for frame, (row, column) in zip(frames, np.random.default_rng(0).integers(0, 40, (count, 2)), strict=True):
        frame[row : row + 24, column : column + 24] = 240
    return frames


@pytest.mark.parametrize("tokens", [1, 4, 16])
def test_a_frame_of_any_size_becomes_bounded_tokens_that_draw_one_of_64_pixels(tokens: int) -> None:
    tokenizer = make(tokens).freeze()
    seen = tokenizer(np.random.default_rng(0).integers(0, 256, (3, 98, 98, 3), dtype=np.uint8))
    assert seen.shape == (3, tokens, NUMBERS) and seen.abs().max() < 1
    assert tokenizer.decoder.decode(seen).shape == (3, 64, 64, 3)
    assert tokenizer.decoder.decode(seen[:0]).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("tokens", [1, 4, 16])
def test_tokens_are_squares_of_the_grid_and_come_apart_again(tokens: int) -> None:
    cells = torch.arange(16.0).reshape(1, 1, 4, 4).expand(1, 2 * tokens, 4, 4)
    grouped = to_tokens(cells, tokens)
    assert torch.equal(to_cells(grouped), cells)
    assert set(grouped[0, 0].unique().tolist()) == {1: set(range(16)), 4: {0.0, 1.0, 4.0, 5.0}, 16: {0.0}}[tokens]


def test_it_learns_to_draw_frames_again() -> None:
    frames, tokenizer = squares(64), make()
    fit_tokenizer(tokenizer, frames, steps=100, batch_size=16, lr=5e-3)
    drawn = tokenizer.decoder.decode(tokenizer(frames)).astype(float)
    still = np.square(frames.mean(axis=0) - frames).mean()
    assert np.square(drawn - frames).mean() < 0.4 * still
    assert not tokenizer.training and not any(p.requires_grad for p in tokenizer.parameters())


def test_fitting_repeats_under_its_seed() -> None:
    hashes = []
    for seed in (0, 0, 1):
        tokenizer = make()
        fit_tokenizer(tokenizer, squares(16), steps=3, batch_size=8, seed=seed)
        hashes.append(tokenizer.hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_perturbed_cell_is_one_of_the_nearest_of_other_frames_at_its_place() -> None:
    cells = torch.tensor([0.0, 0.1, 0.25, 5.0]).reshape(4, 1, 1, 1) + 100 * torch.arange(4.0).reshape(1, 1, 2, 2)
    changed = perturb(cells, rate=1.0, proportion=1.0, strength=1)
    nearest = torch.tensor([0.1, 0.0, 0.1, 0.25]).reshape(4, 1, 1, 1) + 100 * torch.arange(4.0).reshape(1, 1, 2, 2)
    torch.testing.assert_close(changed, nearest)


def test_rate_and_proportion_say_how_many_cells_of_how_many_frames_are_perturbed() -> None:
    rng = torch.Generator().manual_seed(0)
    cells = torch.randn(200, 2, 4, 4, generator=rng)
    apart = (perturb(cells, rate=0.5, proportion=0.2, generator=rng) != cells).any(dim=1)
    touched = apart.flatten(1).any(dim=1)
    assert touched.float().mean() == pytest.approx(0.2, abs=0.08)
    assert apart[touched].float().mean() == pytest.approx(0.5, abs=0.08)
    assert torch.equal(perturb(cells, rate=0.0, generator=rng), cells)


def test_the_gradient_of_a_perturbed_cell_is_that_of_the_cell_itself() -> None:
    cells = torch.randn(4, 2, 2, 2, requires_grad=True)
    (perturb(cells, rate=1.0, proportion=1.0) * torch.arange(4.0).reshape(4, 1, 1, 1)).sum().backward()
    assert cells.grad is not None
    torch.testing.assert_close(cells.grad, torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 2, 2, 2))


def test_pictures_are_apart_where_they_differ_and_what_is_drawn_learns_from_it() -> None:
    tokenizer, target = make().freeze(), torch.rand(2, 3, 64, 64)
    drawn = target.clone().requires_grad_(True)
    assert tokenizer.apart(drawn, target) == 0
    apart = tokenizer.apart(drawn * torch.tensor([1.0, 0.5]).reshape(2, 1, 1, 1), target)
    apart.backward()
    assert apart > 0 and drawn.grad is not None and not drawn.grad[0].any() and drawn.grad[1].any()


def test_a_saved_tokenizer_sees_and_draws_the_same(tmp_path: Path) -> None:
    tokenizer, frames = make(), squares(3)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for again in (FrameTokenizer.from_pretrained(tmp_path / "tokenizer"), FrameTokenizer.of(tokenizer.state_dict())):
        assert again.hash() == tokenizer.hash()
        torch.testing.assert_close(again(frames), tokenizer(frames))
        np.testing.assert_array_equal(
            again.decoder.decode(again(frames)), tokenizer.decoder.decode(tokenizer(frames).detach())
        )
    checkpoint.save(tmp_path / "other", kind="decoder", config={}, tensors={})
    with pytest.raises(CheckpointError, match="must be a checkpoint of kind 'tokenizer', got 'decoder'"):
        FrameTokenizer.from_pretrained(tmp_path / "other")


def test_a_number_of_tokens_that_does_not_fit_the_grid_is_refused() -> None:
    with pytest.raises(ConfigError, match="visual tokens must be one of 1, 4, 16, got 3"):
        FrameTokenizer(tokens=3)
