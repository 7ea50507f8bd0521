"""Encoders that several tests share, and a cache of converted weights that outlives none of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from worldrl.encoders import Encoder, load_encoder
from worldrl.encoders.weights import cache_folder

INSTALLED = cache_folder()  # before the tests have a cache of their own


@pytest.fixture(scope="session")
def installed() -> Path:
    """Where `make setup` keeps what comes from npm; it is only read."""
    return INSTALLED


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module", autouse=True)
def weights_cache(weights_folder: Path) -> Iterator[None]:
    """Of these tests alone: what other tests find installed stays so for them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLDRL_CACHE", str(weights_folder))
        yield


@pytest.fixture(scope="module")
def dino() -> Encoder:
    return load_encoder("dinov2_vits14")


@pytest.fixture(scope="module")
def lite() -> Encoder:
    return load_encoder("efficientnet_lite0")


@pytest.fixture
def frames() -> npt.NDArray[np.uint8]:
    """Three frames of 112x112: a ramp, the ramp with a red square, and the ramp with that square elsewhere."""
    ramp = np.add.outer(np.arange(112), np.arange(112)).astype(np.uint8)
    batch = np.repeat(ramp[None, :, :, None], 3, axis=0).repeat(3, axis=3)
    batch[1, 14:42, 14:42] = (230, 20, 20)
    batch[2, 70:98, 70:98] = (230, 20, 20)
    return batch
