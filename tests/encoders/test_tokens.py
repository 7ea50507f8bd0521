"""Fewer tokens than patches still stand for every patch."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from worldrl.encoders import FeatureCache, FewerTokens, load_encoder
from worldrl.encoders.tokens import TokenSet, keep_salient, merge_alike
from worldrl.errors import ConfigError
from worldrl.recipes.options import EncoderOptions, ObjectOptions, check_observation
from worldrl.types import Features, FrozenEncoder

Frames = npt.NDArray[np.uint8]
TABLE, BLOCK, CUP = [1.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 4.0]


def scene(*patches: list[float]) -> Tensor:
    return torch.tensor([patches])


@pytest.fixture(scope="module")
def plain() -> FrozenEncoder:
    return load_encoder("efficientnet_lite0", random_init=True)


@pytest.fixture
def frames() -> Frames:
    return np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)


def test_what_stands_out_is_kept_in_order_and_the_rest_is_one_token() -> None:
    found = keep_salient(scene(TABLE, CUP, TABLE, [3.0, 0.0, 0.0], BLOCK), 2)
    assert found.owner.tolist() == [[2, 0, 2, 2, 1]]
    assert found.sizes.tolist() == [[1, 1, 3]]
    torch.testing.assert_close(found.tokens, scene(CUP, BLOCK, [5 / 3, 0.0, 0.0]))


def test_each_frame_keeps_what_stands_out_in_it() -> None:
    both = torch.cat([scene(TABLE, TABLE, TABLE, CUP), scene(CUP, CUP, TABLE, CUP)])
    assert keep_salient(both, 1).owner.tolist() == [[1, 1, 1, 0], [1, 1, 0, 1]]


def test_patches_that_are_alike_merge_and_others_do_not() -> None:
    found = merge_alike(scene(TABLE, [1.1, 0.0, 0.0], CUP, BLOCK, [0.9, 0.0, 0.1], TABLE), 3)
    table, cup, block = (int(found.owner[0, i]) for i in (0, 2, 3))
    assert found.owner[0].tolist() == [table, table, cup, block, table, table]
    assert sorted(found.sizes[0].tolist()) == [1, 1, 4]
    torch.testing.assert_close(found.tokens[0, table], torch.tensor([1.0, 0.0, 0.025]))


def test_similarity_is_of_direction() -> None:
    found = merge_alike(scene([1.0, 0.2, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 30.0, 0.0]), 3)
    assert found.owner.tolist() == [[0, 0, 1, 2]]


def means(patches: Tensor, owner: Tensor, count: int) -> Tensor:
    return torch.stack([patches[owner == i].mean(dim=0) for i in range(count)])


@pytest.mark.parametrize("count", [1, 2, 5, 12, 34])
@pytest.mark.parametrize("reduce", [keep_salient, merge_alike])
def test_every_token_is_the_mean_of_its_patches(reduce: type[TokenSet], count: int) -> None:
    torch.manual_seed(0)
    patches = torch.randn(3, 35, 4)
    found = reduce(patches, count)
    tokens = count + (reduce is keep_salient)
    assert found.tokens.shape == (3, tokens, 4)
    assert found.sizes.sum(dim=1).tolist() == [35] * 3 and found.sizes.min() >= 1
    for i in range(3):
        torch.testing.assert_close(found.tokens[i], means(patches[i], found.owner[i], tokens))
        torch.testing.assert_close(found.spread()[i], found.tokens[i][found.owner[i]])


@pytest.mark.parametrize("reduce", [keep_salient, merge_alike])
def test_with_as_many_tokens_as_patches_nothing_changes(reduce: type[TokenSet]) -> None:
    patches = torch.randn(2, 6, 4)
    for count in (6, 7):
        found = reduce(patches, count)
        assert torch.equal(found.tokens, patches) and torch.equal(found.spread(), patches)


@pytest.mark.parametrize("settings", [{"keep": 3}, {"merge": 3}])
def test_it_is_an_encoder_whose_patches_share_features(plain: FrozenEncoder, frames: Frames, settings: dict) -> None:
    encoder: FrozenEncoder = load_encoder("efficientnet_lite0", random_init=True, **settings)
    features, whole = encoder(frames), plain(frames)
    assert isinstance(features, Features) and features.grid == whole.grid == (3, 4)
    assert (encoder.width, encoder.patch) == (plain.width, plain.patch)
    assert len(features.patches[0].unique(dim=0)) == 3 + ("keep" in settings)
    assert torch.equal(encoder.token_set(frames).spread(), features.patches)
    assert load_encoder(**encoder.source).fingerprint == encoder.fingerprint


def test_the_vector_of_the_frame_is_left_alone() -> None:
    class Toy:
        name, source, width, patch, fingerprint = "toy", {}, 2, 1, "a"

        def __call__(self, frames: Frames) -> Features:
            return Features(torch.full((1, 2), 7.0), torch.arange(8.0).reshape(1, 4, 2), (2, 2))

    assert FewerTokens(Toy(), merge=1)(np.zeros((1, 2, 2, 3), np.uint8)).cls.tolist() == [[7, 7]]


def test_settings_have_fingerprints_of_their_own_and_caches_apart(plain: FrozenEncoder, frames: Frames) -> None:
    encoders = [plain, *(FewerTokens(plain, **{way: n}) for way in ("keep", "merge") for n in (3, 4))]
    other = load_encoder("efficientnet_lite0", random_init=True, seed=1, keep=3)
    assert len({other.fingerprint, *(encoder.fingerprint for encoder in encoders)}) == 6
    found = [FeatureCache(None, encoder)(frames).patches for encoder in encoders]
    assert not any(torch.equal(one, other) for one, other in combinations(found, 2))


def test_settings_that_cannot_be_are_refused(plain: FrozenEncoder) -> None:
    with pytest.raises(ConfigError, match="do not go together, got 3 and 4: set one of them to 0"):
        load_encoder("efficientnet_lite0", random_init=True, keep=3, merge=4)
    with pytest.raises(ConfigError, match="must be 0 or more, got 0 and -1"):
        check_observation(EncoderOptions(merge=-1), ObjectOptions(), 0, size=None)
    with pytest.raises(ConfigError, match="must be positive, got 0 and 0: use the encoder itself"):
        FewerTokens(plain)
