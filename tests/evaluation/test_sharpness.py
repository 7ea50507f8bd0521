"""A decoder is measured, and tuned, on what was imagined beside the frame that was recorded at the same moment."""

from typing import Any

import numpy as np
import pytest
import torch

from worldrl.errors import NumericsError
from worldrl.evaluation.sharpness import imagined_pairs, sharpness
from worldrl.types import Array, Imagined
from worldrl.world_model.tokens import Tokens
from worldrl.world_model.visual import Pairs, VisualDecoder, tune_decoder


class Counting:
    """A world whose every number is one more after each step."""

    history, act_dim, obs_shape, success_threshold = 2, 1, (2, 32), 0.5

    def imagine(self, obs: Any, acts: Any, *, noise: Any, choice: Any) -> Imagined:
        nothing = torch.zeros(len(obs))
        return Imagined(obs[:, -1] + 1, nothing, nothing, agreed=nothing)


def recorded(lengths: list[int]) -> tuple[Tokens, list[Array]]:
    """Episodes whose observations count their steps, from a hundred times their number, as do the frames."""
    obs = [
        (100 * i + np.arange(t + 1, dtype=np.float32))[:, None, None].repeat(2, 1).repeat(32, 2)
        for i, t in enumerate(lengths)
    ]
    acts = [np.zeros((t, 1), np.float32) for t in lengths]
    frames = [np.broadcast_to(one[:, :1, :1, None], (len(one), 8, 8, 3)).astype(np.uint8) for one in obs]
    return Tokens(obs, acts, [np.zeros(t + 1, bool) for t in lengths], ["policy"] * len(lengths)), frames


def test_pairs_are_of_the_same_moment() -> None:
    tokens, frames = recorded([6, 3, 9])
    pairs = imagined_pairs(Counting(), tokens, frames, horizon=3)  # type: ignore[arg-type]
    assert pairs is not None and len(pairs.frames) == 3 * (2 + 1 + 3)
    np.testing.assert_array_equal(pairs.real[:, 0, 0], pairs.frames[:, 0, 0, 0])
    np.testing.assert_array_equal(pairs.imagined, pairs.real)  # for a world that counts as the episodes do
    assert imagined_pairs(Counting(), tokens, frames, horizon=10) is None  # type: ignore[arg-type]


def test_sharpness_is_told_of_recorded_and_imagined_observations_apart() -> None:
    frames = np.random.default_rng(0).integers(0, 200, (4, 64, 64, 3), dtype=np.uint8)
    pairs = Pairs(torch.zeros(4, 2, 32), torch.ones(4, 2, 32), frames)
    found = sharpness(
        lambda obs: frames + (10 * obs[:, 0, 0] + 1).byte().numpy()[:, None, None, None], pairs, horizon=4
    )
    assert found.clean_psnr == pytest.approx(20 * np.log10(255), abs=1e-3)
    assert found.psnr == pytest.approx(20 * np.log10(255 / 11), abs=1e-3)


def strayed() -> tuple[VisualDecoder, Pairs]:
    """A decoder of noise, and imagination that strays from what was recorded by the same in every frame."""
    torch.manual_seed(0)
    decoder = VisualDecoder(obs_shape=(2, 32), visual=1, width=8).eval()
    real = torch.randn(32, 2, 32).clamp(-1, 1)
    with torch.no_grad():
        frames = decoder.decode(real)
    return decoder, Pairs(real, real + 1.5, frames)


def test_tuning_draws_imagined_observations_better_and_recorded_ones_still() -> None:
    decoder, pairs = strayed()
    with torch.no_grad():
        decoder.draw.background.add_(0.1 * torch.randn(3, 64, 64))
    before = decoder.decode(pairs.imagined).astype(float)
    tune_decoder(decoder, pairs, steps=60, lr=3e-3)
    after = decoder.decode(pairs.imagined).astype(float)
    assert np.square(after - pairs.frames).mean() < 0.5 * np.square(before - pairs.frames).mean()
    assert not any(p.requires_grad for p in decoder.parameters())


@pytest.mark.parametrize("preserve", [0.0, 1.0])
def test_visual_tokens_are_preserved_by_their_ratio_and_what_says_where_things_are_always(preserve: float) -> None:
    drawn: list[torch.Tensor] = []
    decoder, pairs = strayed()
    decoder.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
    tune_decoder(decoder, pairs, steps=2, preserve=preserve)
    source = torch.cat([pairs.real[:, :1], (pairs.imagined, pairs.real)[int(preserve)][:, 1:]], dim=1)
    assert all((row == source).flatten(1).all(dim=1).any() for row in drawn[0])


def test_tuning_teaches_to_paint_an_object_where_its_token_says_whatever_the_latent() -> None:
    torch.manual_seed(0)
    decoder = VisualDecoder(obs_shape=(3, 32), visual=1, width=8).eval()
    real, frames = torch.zeros(64, 3, 32), np.full((64, 64, 64, 3), 40, np.uint8)
    for i, (x, y) in enumerate(np.random.default_rng(0).integers(0, 48, (64, 2)).tolist()):
        frames[i, y : y + 16, x : x + 16] = 240
        real[i, 1, :2] = torch.tensor([x + 8, y + 8]) / 32 - 1  # and the latent says nothing
    assert not decoder.paint(real[:, :2]).any()
    tune_decoder(decoder, Pairs(real, real, frames), steps=120, batch_size=8)
    drawn, inside = decoder.decode(real)[..., 0], frames[..., 0] == 240
    assert drawn[inside].mean() > drawn[~inside].mean() + 60


def test_a_loss_that_is_no_number_is_refused() -> None:
    decoder, pairs = strayed()
    broken = Pairs(pairs.real, torch.full_like(pairs.imagined, torch.nan), pairs.frames)
    with pytest.raises(NumericsError, match="the loss of the decoder is nan at step 0"):
        tune_decoder(decoder, broken, steps=1)
