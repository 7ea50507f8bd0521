"""EfficientNet-Lite0 pads as its weights expect, and is read out at five strides."""

import pytest
import torch

from worldrl.encoders.efficientnet import EfficientNetLite0, SameConv


@pytest.fixture(scope="module")
def net() -> EfficientNetLite0:
    torch.manual_seed(0)
    return EfficientNetLite0().eval()


@torch.no_grad()
def test_the_odd_pixel_of_padding_goes_right_and_below() -> None:
    conv = SameConv(1, 1, 3, stride=2)
    torch.nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 4, 4))[0, 0].tolist() == [[9.0, 6.0], [6.0, 4.0]]


@torch.no_grad()
def test_a_kernel_of_five_pads_one_before_and_two_after() -> None:
    conv = SameConv(1, 1, 5, stride=2)
    torch.nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 6, 6))[0, 0, 0].tolist() == [16.0, 20.0, 12.0]


@pytest.mark.parametrize(("layer", "width", "side"), [(1, 16, 32), (2, 24, 16), (3, 40, 8), (4, 112, 4), (5, 320, 2)])
@torch.no_grad()
def test_each_layer_has_the_stride_and_width_it_names(
    net: EfficientNetLite0, layer: int, width: int, side: int
) -> None:
    features = net(torch.randn(1, 3, 64, 64), layer=layer)
    assert features.grid == (side, side)
    assert features.patches.shape == (1, side * side, width)
    assert (net.width(layer), net.stride(layer)) == (width, 64 // side)


@torch.no_grad()
def test_cls_is_the_mean_of_the_patches(net: EfficientNetLite0) -> None:
    features = net(torch.randn(2, 3, 32, 64), layer=4)
    torch.testing.assert_close(features.cls, features.patches.mean(dim=1))


@torch.no_grad()
def test_random_weights_neither_kill_nor_blow_up_the_signal(net: EfficientNetLite0) -> None:
    assert 0.1 < float(net(torch.randn(2, 3, 64, 64), layer=5).patches.std()) < 50


@torch.no_grad()
def test_logits_are_those_of_a_thousand_classes(net: EfficientNetLite0) -> None:
    logits = net.logits(torch.randn(2, 3, 64, 64))
    assert logits.shape == (2, 1000)
    assert not torch.allclose(logits[0], logits[1])
