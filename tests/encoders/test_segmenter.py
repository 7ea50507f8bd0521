"""MobileSAM finds what it is pointed at; its parts have the shapes that its weights expect."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from worldrl.encoders.sam import SamDecoder
from worldrl.encoders.segmenter import DECODER, Segmenter
from worldrl.encoders.tinyvit import TinyViT
from worldrl.encoders.weights import converted_folder
from worldrl.errors import ConfigError, DataError
from worldrl.objects.tracking import prompts_of

Masks = npt.NDArray[np.bool_]
# how well the four masks of square and disc fit, as the decoder has always thought
TRUST = [[0.9681, 0.9530, 0.9934, 0.9961], [0.9841, 0.9557, 1.0023, 0.9997]]


@pytest.fixture(scope="module")
def net() -> TinyViT:
    torch.manual_seed(0)
    return TinyViT().eval()


@pytest.fixture(scope="module")
def sam(installed: Path) -> Segmenter:
    names = ("mobilesam", DECODER)
    encoder, decoder = (installed / "encoders" / converted_folder(name).name for name in names)
    if not (encoder.is_dir() and decoder.is_dir()):
        pytest.skip(f"weights are not here: worldrl encoders install {names[0]}, worldrl encoders install {names[1]}")
    return Segmenter(side=512, weights=(encoder, decoder))


def scene(height: int, width: int) -> tuple[npt.NDArray[np.uint8], Masks]:
    """A grey table with a red square and a blue disc, and where they are."""
    rows, columns = np.mgrid[:height, :width]
    square = (abs(rows - 30) < 12) & (abs(columns - 34) < 12)
    disc = (rows - 60) ** 2 + (columns - 75) ** 2 < 13**2
    frame = np.full((height, width, 3), 120, np.uint8)
    frame[square], frame[disc] = (200, 40, 30), (30, 60, 200)
    return frame[None], np.stack([square, disc])


def overlap(found: Masks, true: Masks) -> list[float]:
    both, either = (found & true).sum(axis=(1, 2)), (found | true).sum(axis=(1, 2))
    return [float(share) for share in both / either]


@pytest.mark.parametrize(("layer", "width", "side"), [(1, 64, 20), (2, 128, 10), (3, 160, 5), (4, 320, 5), (5, 256, 5)])
@torch.no_grad()
def test_each_layer_has_the_stride_and_width_it_names(net: TinyViT, layer: int, width: int, side: int) -> None:
    features = net(torch.randn(1, 3, 80, 80), layer=layer)  # no multiple of any window
    assert features.grid == (side, side) and features.patches.shape == (1, side * side, width)
    assert (net.width(layer), net.stride(layer)) == (width, 80 // side)


@torch.no_grad()
def test_a_prompt_that_says_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    decoder, image = SamDecoder().eval(), torch.randn(2, 256, 4, 4)
    points, labels = torch.rand(2, 1, 2), torch.ones(2, 1, dtype=torch.long)
    alone = decoder(image, points, labels)
    assert alone.logits.shape == (2, 4, 16, 16) and alone.iou.shape == (2, 4)
    elsewhere = [
        decoder(image, torch.cat([points, torch.full((2, 1, 2), at)], 1), torch.tensor([[1, -1]] * 2))
        for at in (0.1, 0.9)
    ]
    torch.testing.assert_close(elsewhere[0].logits, elsewhere[1].logits)
    assert not torch.allclose(alone.logits[0], alone.logits[1])
    assert not torch.allclose(decoder(image, points, 0 * labels).logits, alone.logits)
    assert not torch.allclose(decoder(image, points, labels, mask=alone.best()).logits, alone.logits)


@pytest.mark.weights
@pytest.mark.parametrize(("height", "width"), [(96, 96), (96, 128)])
def test_it_finds_what_it_is_pointed_at(sam: Segmenter, height: int, width: int) -> None:
    frame, true = scene(height, width)
    maps = sam.embed(frame).expand(2, -1, -1, -1)
    points, labels = prompts_of(true)
    found = sam(maps, points, labels, size=(height, width))
    assert found.logits.shape == (2, 4, height, width)
    assert min(overlap(found.best().numpy() > 0, true)) > 0.9
    if height == width:
        torch.testing.assert_close(found.iou, torch.tensor(TRUST), atol=2e-3, rtol=0)
    by_a_point = sam(maps, points[:, :1], labels[:, :1], size=(height, width))
    assert min(overlap(by_a_point.best().numpy() > 0, true)) > 0.9
    again = sam(maps, points, labels, size=(height, width), mask=found.best())
    assert min(overlap(again.best().numpy() > 0, true)) > 0.9


def test_random_weights_find_nothing_and_follow_from_the_seed() -> None:
    frame, true = scene(96, 96)
    twins = [Segmenter(side=64, random_init=True, seed=seed) for seed in (1, 1, 2)]
    assert twins[0].weights_hash == twins[1].weights_hash != twins[2].weights_hash
    maps = twins[0].embed(frame).expand(2, -1, -1, -1)
    found = twins[0](maps, *prompts_of(true), size=(96, 96)).best().numpy() > 0
    assert max(overlap(found, true)) < 0.5
    assert not any(p.requires_grad for p in twins[0].parameters()) and not twins[0].train().training


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="side must be a positive multiple of 64, got 100"):
        Segmenter(side=100, random_init=True)
    sam, maps = Segmenter(side=64, random_init=True), torch.zeros(1, 256, 4, 4)
    with pytest.raises(DataError, match=r"points must be \(1, n, 2\) and labels \(1, n\), got \(2, 3, 2\)"):
        sam(maps, np.zeros((2, 3, 2)), np.zeros((2, 3)), size=(8, 8))
    with pytest.raises(DataError, match=r"labels must be in \[-1, 3\], got 0 to 7"):
        sam(maps, np.zeros((1, 2, 2)), np.array([[0, 7]]), size=(8, 8))
