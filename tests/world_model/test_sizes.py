"""Every named size can be built and run, dry on the meta device, where no memory is too small for it."""

import pytest
import torch

from worldrl.errors import ConfigError
from worldrl.world_model.model import BACKBONES, DiffusionWorldModel, network

FRAME, TOKENS = (3, 64, 64), (6, 42)
READERS = [(FRAME, "transformer"), *((TOKENS, backbone) for backbone in BACKBONES)]
NAMES = ["tiny", "small", "medium", "base"]
CASES = [*((*reader, name) for reader in READERS for name in NAMES), (FRAME, "transformer", "published")]


def dry(obs_shape: tuple[int, ...], backbone: str, name: str) -> DiffusionWorldModel:
    with torch.device("meta"):
        net = network(obs_shape, backbone=backbone, size=name)
        return DiffusionWorldModel(obs_shape=obs_shape, act_dim=4, history=4, net=net)


@pytest.mark.parametrize(("obs_shape", "backbone", "name"), CASES)
def test_a_dry_run_imagines_at_every_size(obs_shape: tuple[int, ...], backbone: str, name: str) -> None:
    model = dry(obs_shape, backbone, name)
    with torch.device("meta"):
        given = {"noise": torch.empty(2, *obs_shape), "choice": torch.empty(2)}
        out = model.imagine(torch.empty(2, 4, *obs_shape), torch.empty(2, 4, 4), **given)
    assert out.obs.shape == (2, *obs_shape) and out.success.shape == out.disagreement.shape == (2,)
    assert out.obs.is_meta and all(tensor.is_meta for tensor in model.state_dict().values())


def test_the_published_frame_network_has_303_million_parameters() -> None:
    # As the docstring of FrameDenoiserNet says, with two-hot codes of four dimensions.
    count = sum(parameter.numel() for parameter in dry(FRAME, "transformer", "base").denoiser.net.parameters())
    assert count / 1e6 == pytest.approx(303.2, abs=0.05)


@pytest.mark.parametrize(("obs_shape", "backbone"), READERS)
def test_sizes_grow_with_their_names(obs_shape: tuple[int, ...], backbone: str) -> None:
    counts = [sum(p.numel() for p in dry(obs_shape, backbone, name).parameters()) for name in NAMES]
    assert counts == sorted(set(counts))


def test_the_reference_has_the_4_41_million_parameters_of_its_paper() -> None:
    count = sum(parameter.numel() for parameter in dry(FRAME, "transformer", "published").denoiser.net.parameters())
    assert count == 4_411_075  # with two-hot codes of four dimensions; 4,405,955 with four discrete actions


def test_tokens_have_no_published_size() -> None:
    with pytest.raises(ConfigError, match=r"size must be one of tiny, small, medium, base for observations \(6, 42\)"):
        network(TOKENS, size="published")
