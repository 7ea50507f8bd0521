"""DINOv2 is read out where it is asked to be, and computes no further."""

import pytest
import torch

from worldrl.encoders.vit import Block, DinoV2


@pytest.fixture(scope="module")
def vit() -> DinoV2:
    torch.manual_seed(0)
    return DinoV2().eval()


@torch.no_grad()
def test_patches_lie_on_the_grid_of_the_image(vit: DinoV2) -> None:
    features = vit(torch.randn(2, 3, 28, 42), layer=1)
    assert features.grid == (2, 3)
    assert features.patches.shape == (2, 6, 384)
    assert features.cls.shape == (2, 384)


@torch.no_grad()
def test_a_patch_sees_only_its_own_pixels_before_the_first_block(vit: DinoV2) -> None:
    pixels = torch.randn(1, 3, 28, 42)
    changed = pixels.clone()
    changed[:, :, 14:, :14] += 1
    moved = (vit(changed, layer=0).patches - vit(pixels, layer=0).patches).abs().sum(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [3]


@torch.no_grad()
def test_blocks_after_the_layer_are_not_computed(vit: DinoV2) -> None:
    pixels = torch.randn(1, 3, 28, 28)
    before = vit(pixels, layer=9).patches
    broken = DinoV2().eval()
    broken.load_state_dict(vit.state_dict())
    for block in broken.blocks[9:]:
        block.get_parameter("fc1.weight").fill_(torch.nan)
    torch.testing.assert_close(broken(pixels, layer=9).patches, before)
    assert broken(pixels, layer=10).patches.isnan().all()


@torch.no_grad()
def test_positions_are_themselves_on_their_own_grid_and_follow_the_image_on_another(vit: DinoV2) -> None:
    assert torch.equal(vit.resized_positions(37, 37), vit.positions)
    ramp = DinoV2()
    ramp.positions[:, 1:] = torch.arange(37.0).repeat_interleave(37)[None, :, None]
    resized = ramp.resized_positions(2, 3)[0, 1:, 0]
    assert ramp.resized_positions(2, 3).shape == (1, 7, 384)
    torch.testing.assert_close(resized, torch.tensor([8.75] * 3 + [27.25] * 3), atol=0.1, rtol=0)


@torch.no_grad()
def test_a_block_with_closed_scales_changes_nothing() -> None:
    block = Block(width=12, heads=3)
    tokens = torch.randn(2, 5, 12)
    assert not torch.allclose(block(tokens), tokens)
    block.scale1.zero_()
    block.scale2.zero_()
    torch.testing.assert_close(block(tokens), tokens)


@torch.no_grad()
def test_a_block_does_not_know_the_order_of_its_tokens() -> None:
    block, tokens = Block(width=12, heads=3), torch.randn(2, 5, 12)
    torch.testing.assert_close(block(tokens.flip(1)), block(tokens).flip(1))
