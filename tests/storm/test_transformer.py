"""What imagination relies on: a cache changes nothing, no step sees the future or another episode."""

import pytest
import torch
from torch import Tensor

from worldrl.errors import ConfigError
from worldrl.storm.transformer import Cache, SpatialTemporal


def net() -> SpatialTemporal:
    torch.manual_seed(0)
    return SpatialTemporal(
        latents=(6, 6, 10), acts=2, width=16, depth=2, heads=2, max_length=8, dropout=0.0
    ).eval()  # fmt: skip


def inputs(t: int = 6) -> tuple[list[Tensor], Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    latents = [torch.randn(3, t, n, generator=rng) for n in (6, 6, 10)]
    return latents, torch.randn(3, t, 2, generator=rng), torch.zeros(3, t, dtype=torch.long)


def test_a_cache_changes_nothing() -> None:
    model, (latents, acts, episodes) = net(), inputs()
    episodes[1, 3:] = 1
    whole, cache = model(latents, acts, episodes), Cache()
    parts = [
        model([z[:, a:b] for z in latents], acts[:, a:b], episodes[:, a:b], cache) for a, b in ((0, 3), (3, 4), (4, 6))
    ]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_no_step_sees_what_comes_after_it() -> None:
    model, (latents, acts, episodes) = net(), inputs()
    before = model(latents, acts, episodes)
    acts[:, 4:] += 1.0
    after = model(latents, acts, episodes)
    assert torch.allclose(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_no_step_sees_another_episode() -> None:
    model, (latents, acts, episodes) = net(), inputs()
    episodes[:, 3:] = 1
    before = model(latents, acts, episodes)
    for z in latents:
        z[:, :3] += 1.0
    assert torch.allclose(before[:, 3:], model(latents, acts, episodes)[:, 3:])


def test_the_tokens_of_a_step_see_each_other() -> None:
    model, (latents, acts, episodes) = net(), inputs()
    before = model(latents, acts, episodes)
    latents[2] += 1.0
    assert not torch.allclose(before[:, :, 0], model(latents, acts, episodes)[:, :, 0])


def test_a_sequence_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigError, match="a sequence must have at most 8 steps, got 9"):
        net()(*inputs(9))
