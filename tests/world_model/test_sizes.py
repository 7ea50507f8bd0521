"""Every named size can be built and run, dry on the meta device, where no memory is too small for it."""

import pytest
import torch

from worldrl.world_model.model import FRAME_SIZES, TOKEN_SIZES, DiffusionWorldModel, sizes

FRAME, TOKENS = (3, 64, 64), (6, 42)
CASES = [(FRAME, name) for name in FRAME_SIZES] + [(TOKENS, name) for name in TOKEN_SIZES]


def dry(obs_shape: tuple[int, ...], name: str) -> DiffusionWorldModel:
    with torch.device("meta"):
        return DiffusionWorldModel(obs_shape=obs_shape, act_dim=4, history=4, net=sizes(obs_shape)[name])


@pytest.mark.parametrize(("obs_shape", "name"), CASES)
def test_a_dry_run_imagines_at_every_size(obs_shape: tuple[int, ...], name: str) -> None:
    model = dry(obs_shape, name)
    with torch.device("meta"):
        given = {"noise": torch.empty(2, *obs_shape), "choice": torch.empty(2)}
        out = model.imagine(torch.empty(2, 4, *obs_shape), torch.empty(2, 4, 4), **given)
    assert out.obs.shape == (2, *obs_shape) and out.success.shape == out.disagreement.shape == (2,)
    assert out.obs.is_meta and all(tensor.is_meta for tensor in model.state_dict().values())


def test_the_published_frame_network_has_303_million_parameters() -> None:
    # As the docstring of FrameDenoiserNet says, with two-hot codes of four dimensions.
    count = sum(parameter.numel() for parameter in dry(FRAME, "base").denoiser.net.parameters())
    assert count / 1e6 == pytest.approx(303.2, abs=0.05)


@pytest.mark.parametrize("obs_shape", [FRAME, TOKENS])
def test_sizes_grow_with_their_names(obs_shape: tuple[int, ...]) -> None:
    counts = [sum(p.numel() for p in dry(obs_shape, name).parameters()) for name in sizes(obs_shape)]
    assert counts == sorted(set(counts))
    assert list(sizes(obs_shape)) == ["tiny", "small", "medium", "base"]
