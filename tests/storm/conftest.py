from collections.abc import Callable

import pytest
import torch

from worldrl.storm.model import StormWorldModel
from worldrl.storm.steps import Steps


@pytest.fixture
def make_model() -> Callable[..., StormWorldModel]:
    def make(*, visual: bool = True, k: int = 3, acts: int = 2, **kwargs: object) -> StormWorldModel:
        torch.manual_seed(0)
        options: dict[str, object] = {"size": "tiny", "max_length": 16, "dropout": 0.0} | kwargs
        return StormWorldModel(tokens=(k, 5), visual=visual, acts=acts, **options).eval()  # type: ignore[arg-type]

    return make


@pytest.fixture
def steps() -> Steps:
    """Steps of a point that goes where it is told; its place, the third token's first number, is also its reward."""
    rng = torch.Generator().manual_seed(0)
    acts = torch.rand(6, 8, 2, generator=rng) * 2 - 1
    places = torch.cat([torch.zeros(6, 1), 0.5 * acts[:, :-1, 0].cumsum(dim=1)], dim=1)
    tokens = torch.zeros(6, 8, 3, 5)
    tokens[:, :, 2, 0] = places
    frames = torch.zeros(6, 8, 3, 64, 64)
    frames[:, :, 0] = (places.sigmoid())[:, :, None, None]
    ends = torch.zeros(6, 8)
    episodes = torch.zeros(6, 8, dtype=torch.long)
    ends[:, 3], episodes[:, 4:] = 1.0, 1
    return Steps(tokens, frames, acts, places + 0.5 * acts[:, :, 0], ends, episodes)
