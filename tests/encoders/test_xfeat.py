"""XFeat's descriptors go with what they describe, and its points are where something is."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import normalize

from worldrl.encoders import Encoder, load_encoder
from worldrl.encoders.xfeat import XFeat

Frames = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def xfeat() -> Encoder:
    return load_encoder("xfeat")


@pytest.fixture(scope="module")
def sights() -> Frames:
    """The same patterned square on a plain ground, and 40 pixels further right and down."""
    pattern = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    frames = np.full((2, 128, 128, 3), 90, np.uint8)
    for frame, at in zip(frames, (24, 64), strict=True):
        frame[at : at + 40, at : at + 40] = pattern
    return frames


@pytest.mark.weights
def test_a_descriptor_is_found_again_where_its_point_went(xfeat: Encoder, sights: Frames) -> None:
    features = xfeat(sights)
    assert features.grid == (16, 16) and (xfeat.width, xfeat.patch) == (64, 8)
    rows, columns = np.mgrid[4:7, 4:7].reshape(2, -1)  # inside the square
    inside = torch.from_numpy(rows * 16 + columns)
    first, second = normalize(features.patches, dim=-1)
    nearest = (first[inside] @ second.T).argmax(dim=1)
    assert (nearest == inside + 5 * 16 + 5).float().mean() > 0.8


@pytest.mark.weights
def test_points_are_where_something_is(xfeat: Encoder, sights: Frames) -> None:
    assert isinstance(xfeat.backbone, XFeat)
    points = xfeat.backbone.points(xfeat.preprocess(sights))
    assert points.chance.shape == (2, 128, 128) and points.reliability.shape == (2, 16, 16)
    assert float(points.chance.min()) >= 0 and float(points.chance.max()) <= 1
    best = points.chance[0].flatten().topk(4)
    assert best.indices.tolist() == [row * 128 + 31 for row in (40, 46, 47, 45)]  # an edge, as it has always been
    torch.testing.assert_close(best.values, torch.tensor([0.0429, 0.0396, 0.0361, 0.0328]), atol=1e-3, rtol=0)
    worth = points.chance[0] * points.reliability[0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert worth[20:68, 20:68].max() > 5 * worth[88:, 88:].max()


@pytest.mark.weights
def test_light_does_not_change_a_descriptor(xfeat: Encoder, sights: Frames) -> None:
    dim = (sights // 2 + 20).astype(np.uint8)
    bright, dark = (normalize(xfeat(frames).patches, dim=-1) for frames in (sights, dim))
    assert float((bright * dark).sum(dim=-1).mean()) > 0.99


@torch.no_grad()
def test_frames_need_not_be_a_multiple_of_its_coarsest_stride() -> None:
    torch.manual_seed(0)
    features = XFeat().eval()(torch.rand(1, 3, 40, 72))
    assert features.grid == (5, 9) and features.patches.shape == (1, 45, 64)
