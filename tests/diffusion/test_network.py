"""A network that looks once answers every noise level as if it had been asked anew."""

import pytest
import torch

from worldrl.diffusion.mlp import FlatDenoiserNet
from worldrl.diffusion.network import DenoiserNet
from worldrl.diffusion.transformer import TokenDenoiserNet
from worldrl.diffusion.unet import FrameDenoiserNet
from worldrl.world_model.model import WholeMembers

T, C, B = 2, 6, 5
TOKENS, FRAMES = (3, 4), (3, 16, 16)


def frames() -> FrameDenoiserNet:
    return FrameDenoiserNet(obs_shape=FRAMES, history=T, code_dim=C, channels=(16, 32), blocks=1, unshuffle=2)


def made(kind: str) -> tuple[DenoiserNet, tuple[int, ...]]:
    torch.manual_seed(0)
    if kind == "flat":
        return FlatDenoiserNet(obs_shape=TOKENS, history=T, code_dim=C, width=16, depth=2, members=2), TOKENS
    if kind == "transformer":
        net = TokenDenoiserNet(obs_shape=TOKENS, history=T, code_dim=C, width=16, depth=1, heads=2, members=2)
        for parameter in net.parameters():  # modulation starts at zero, and would hide what it is told
            torch.nn.init.normal_(parameter, std=0.2)
        return net, TOKENS
    return WholeMembers([frames(), frames()]), FRAMES


@pytest.mark.parametrize("kind", ["flat", "transformer", "frames"])
@torch.no_grad()
def test_looking_once_changes_no_answer(kind: str) -> None:
    net, shape = made(kind)
    history, codes = torch.randn(B, T, *shape), torch.randn(B, T, C)
    seen = net.look(history, codes)
    for level in (0.7, -0.4, 0.7):
        x = torch.randn(B, *shape)
        asked = net(x, torch.full((B,), level), history, codes)
        torch.testing.assert_close(net.answer(x, torch.tensor([level]), seen), asked)
    other = net(x, torch.full((B,), -level), history, codes)
    assert not torch.allclose(other, asked, atol=1e-3)
