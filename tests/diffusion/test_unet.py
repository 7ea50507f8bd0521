"""The frame world model's network hears the noise, the past and the actions, and can learn."""

import json

import pytest
import torch
from torch import Tensor, nn

from worldrl.diffusion.unet import FrameDenoiserNet


class FirstChannels(nn.Module):
    """A U-Net that passes the noisy frame through."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sample: Tensor, _: Tensor, **__: object) -> tuple[Tensor]:
        return (sample[:, : self.width],)


def make(**changes: object) -> FrameDenoiserNet:
    torch.manual_seed(0)
    sizes = {"obs_shape": (3, 16, 16), "history": 2, "code_dim": 6, "channels": (16, 32), "blocks": 1, "unshuffle": 2}
    return FrameDenoiserNet(**{**sizes, **changes})  # type: ignore[arg-type]


def inputs(b: int = 3) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return {
        "x": torch.randn(b, 3, 16, 16, generator=rng),
        "c_noise": torch.randn(b, generator=rng),
        "history": torch.randn(b, 2, 3, 16, 16, generator=rng),
        "codes": torch.rand(b, 2, 6, generator=rng),
    }


@pytest.mark.parametrize(
    "changes",
    [{}, {"unshuffle": 4}, {"unshuffle": 1, "channels": (8, 16, 24), "attention": True}, {"channels": (16,)}],
)
def test_the_output_has_the_shape_of_the_noisy_frame(changes: dict[str, object]) -> None:
    batch = inputs()
    out = make(**changes)(**batch)
    assert out.shape == batch["x"].shape
    assert out.isfinite().all()


@pytest.mark.parametrize("name", ["x", "c_noise", "history", "codes"])
def test_every_input_moves_the_output_of_its_own_row_only(name: str) -> None:
    net, batch = make(), inputs()
    changed = {**batch, name: batch[name].clone()}
    changed[name][1] += 0.5
    moved = (net(**changed) - net(**batch)).abs().amax(dim=(1, 2, 3))
    assert moved[1] > 1e-3
    assert moved[[0, 2]].max() < 1e-5


def test_every_past_action_counts_and_so_does_their_order() -> None:
    net, batch = make(), inputs()
    for i in range(2):
        codes = batch["codes"].clone()
        codes[:, i] = 1 - codes[:, i]
        assert (net(**{**batch, "codes": codes}) - net(**batch)).abs().max() > 1e-3
    assert (net(**{**batch, "codes": batch["codes"].flip(1)}) - net(**batch)).abs().max() > 1e-4


def test_a_frame_does_not_see_the_rest_of_its_batch() -> None:
    net, batch = make(attention=True), inputs()
    alone = net(**{name: value[1:2] for name, value in batch.items()})
    torch.testing.assert_close(alone, net(**batch)[1:2], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter() -> None:
    net = make(attention=True)
    net(**inputs()).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_folding_pixels_into_channels_keeps_them_in_place() -> None:
    net, batch = make(unshuffle=4, channels=(16,)), inputs()
    net.unet = FirstChannels(3 * 4**2)
    torch.testing.assert_close(net(**batch), batch["x"], rtol=0, atol=0)


def test_it_is_built_again_from_its_config_as_json() -> None:
    net = make(attention=True, cond=48)
    twin = FrameDenoiserNet(**json.loads(json.dumps(net.config())))
    twin.load_state_dict(net.state_dict())
    torch.testing.assert_close(twin(**inputs()), net(**inputs()), rtol=0, atol=0)
    assert twin.config() == net.config()


def test_convolutions_are_channels_last() -> None:
    weight = make().unet.get_parameter("conv_in.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_it_overfits_one_batch() -> None:
    net, batch = make(), inputs()
    target = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        loss = (net(**batch) - target).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": 0}, "history must be at least 1, got 0"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"channels": (12, 32)}, r"channels must be positive multiples of 8, got \(12, 32\)"),
        ({"channels": ()}, r"channels must be positive multiples of 8, got \(\)"),
        ({"obs_shape": (3, 18, 16)}, r"sides that are multiples of 4, got \(3, 18, 16\)"),
        ({"obs_shape": (6, 40)}, r"obs_shape must be \(c, h, w\), got \(6, 40\)"),
    ],
)
def test_refuses_sizes_it_cannot_be_built_with(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_refuses_a_history_or_codes_of_another_length() -> None:
    net, batch = make(), inputs()
    with pytest.raises(ValueError, match=r"history must be \(b, 2, 3, 16, 16\), got \(3, 1, 3, 16, 16\)"):
        net(**{**batch, "history": batch["history"][:, :1], "codes": batch["codes"][:, :1]})
    with pytest.raises(ValueError, match=r"codes must be \(b, 2, 6\), got \(3, 2, 5\)"):
        net(**{**batch, "codes": batch["codes"][..., :5]})
