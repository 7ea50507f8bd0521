"""Class tokens of quarters: the frame's own features stay what they were, and each copy knows its quarter best."""

import numpy as np
import pytest
import torch

from worldrl.encoders import FeatureCache, load_encoder
from worldrl.encoders.frozen import Encoder
from worldrl.encoders.quarters import QuarterTokens, seen_by
from worldrl.errors import ConfigError, DataError
from worldrl.types import FrozenEncoder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    loaded = load_encoder("dinov2_vits14", random_init=True, layer=4)
    assert isinstance(loaded, Encoder)
    return loaded


def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 56, 56, 3), dtype=np.uint8)


def test_the_frames_own_class_token_is_unchanged(encoder: Encoder) -> None:
    found = QuarterTokens(encoder)(frames())
    assert torch.allclose(found.cls, encoder(frames()).cls, atol=1e-5)
    assert found.patches.shape == (2, 4, 384) and found.grid == (2, 2)


def test_no_token_sees_a_copy_but_the_copy_itself() -> None:
    allowed = seen_by((4, 4))
    assert allowed[:17, :17].all() and not allowed[:17, 17:].any()
    assert torch.equal(allowed[17:, 17:], torch.eye(4, dtype=torch.bool))
    assert allowed[17:, 1:17].sum(dim=1).tolist() == [4, 4, 4, 4] and not allowed[17:, 0].any()
    upper_right = (torch.arange(16) // 4 < 2) & (torch.arange(16) % 4 >= 2)
    assert torch.equal(allowed[18, 1:17], upper_right)


def test_a_change_in_one_quarter_moves_its_own_copy_most(encoder: Encoder) -> None:
    changed = frames()
    changed[:, :28, 28:] = 255 - changed[:, :28, 28:]
    quarters = QuarterTokens(encoder)
    moved = (quarters(changed).patches - quarters(frames()).patches).norm(dim=-1)
    assert (moved.argmax(dim=1) == 1).all() and (moved > 0).all()


def test_it_is_a_frozen_encoder_that_a_cache_can_keep(encoder: Encoder) -> None:
    quarters = QuarterTokens(encoder)
    assert isinstance(quarters, FrozenEncoder) and quarters.fingerprint != encoder.fingerprint
    with FeatureCache(None, quarters) as cache:
        assert cache(frames()).patches.shape == (2, 4, 384)


def test_other_encoders_and_frames_that_cannot_be_halved_are_refused(encoder: Encoder) -> None:
    other = load_encoder("efficientnet_lite0", random_init=True)
    with pytest.raises(ConfigError, match="class tokens of quarters are of dinov2_vits14 only"):
        QuarterTokens(other)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="multiples of 28, got 42x56: resize them"):
        QuarterTokens(encoder)(np.zeros((1, 42, 56, 3), np.uint8))
