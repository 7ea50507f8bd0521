"""A frozen encoder says the same of the same frame, whatever happens around it."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from einops import rearrange
from torch import nn

from worldrl.checkpoint import hash_tensors
from worldrl.encoders import Encoder, load_encoder
from worldrl.errors import ConfigError, DataError, DeviceError
from worldrl.types import Features, FrozenEncoder

Frames = npt.NDArray[np.uint8]
# numbers of the second shared frame, at the patch in row 1, column 1
DINO_PATCH = [1.4424, 10.3174, -0.7408, -0.6921]
DINO_CLS = [-0.3479, 0.84, -1.2405, 0.8373]
LITE_PATCH = [6.3952, -7.1915, 5.4682, -3.5811]


@pytest.fixture(scope="module")
def twin() -> Encoder:
    return load_encoder("efficientnet_lite0", random_init=True, seed=3)


def square(features: Features) -> torch.Tensor:
    """Return the patches as a grid ``(b, rows, columns, d)``."""
    return rearrange(features.patches, "b (h w) d -> b h w d", h=features.grid[0])


@pytest.mark.weights
def test_dino_has_the_features_it_always_had(dino: Encoder, frames: Frames) -> None:
    features = dino(frames)
    assert features.grid == (8, 8)
    assert features.patches.shape == (3, 64, 384)
    assert (dino.name, dino.width, dino.patch, dino.layer) == ("dinov2_vits14", 384, 14, 9)
    torch.testing.assert_close(features.patches[1, 9, :4], torch.tensor(DINO_PATCH), atol=2e-3, rtol=0)
    torch.testing.assert_close(features.cls[1, :4], torch.tensor(DINO_CLS), atol=2e-3, rtol=0)


@pytest.mark.weights
def test_lite_has_the_features_it_always_had(lite: Encoder, frames: Frames) -> None:
    features = lite(frames)
    assert features.grid == (7, 7)
    assert (lite.name, lite.width, lite.patch, lite.layer) == ("efficientnet_lite0", 112, 16, 4)
    torch.testing.assert_close(features.patches[1, 8, :4], torch.tensor(LITE_PATCH), atol=2e-3, rtol=0)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["dino", "lite"])
def test_the_features_change_most_where_the_object_is(
    name: str, frames: Frames, request: pytest.FixtureRequest
) -> None:
    encoder: Encoder = request.getfixturevalue(name)
    grid = square(encoder(frames))
    moved = (grid[1] - grid[0]).norm(dim=-1)
    row, column = divmod(int(moved.argmax()), grid.shape[2])
    assert {row * encoder.patch // 14, column * encoder.patch // 14} <= {1, 2}
    assert not torch.allclose(grid[1], grid[2], atol=0.1)


@pytest.mark.fault(34)
@pytest.mark.weights
def test_another_layer_gives_other_features_and_another_fingerprint(dino: Encoder, frames: Frames) -> None:
    last = Encoder(dino.backbone, name="dinov2_vits14", layer=12)
    assert last.weights_hash == dino.weights_hash
    assert last.fingerprint != dino.fingerprint
    assert not torch.allclose(last(frames).patches, dino(frames).patches, atol=0.1)


@pytest.mark.weights
def test_pretrained_weights_are_not_the_random_twin_s(lite: Encoder, twin: Encoder, frames: Frames) -> None:
    assert lite.fingerprint != twin.fingerprint
    assert not torch.allclose(lite(frames).patches, twin(frames).patches, atol=0.1)


@pytest.mark.weights
def test_pretrained_weights_know_no_seed(lite: Encoder) -> None:
    assert load_encoder("efficientnet_lite0", seed=5).fingerprint == lite.fingerprint


def test_the_random_twin_follows_from_its_seed_alone(twin: Encoder, frames: Frames) -> None:
    torch.manual_seed(99)
    same, other = (load_encoder("efficientnet_lite0", random_init=True, seed=seed) for seed in (3, 4))
    assert same.fingerprint == twin.fingerprint != other.fingerprint
    assert torch.equal(same(frames).patches, twin(frames).patches)
    after = torch.rand(1)
    torch.manual_seed(99)
    assert torch.equal(after, torch.rand(1))


def test_an_encoder_satisfies_the_protocol(twin: Encoder, frames: Frames) -> None:
    encoder: FrozenEncoder = twin
    features = encoder(frames)
    assert features.cls.shape == (3, encoder.width)
    assert features.cls.dtype == features.patches.dtype == torch.float32


def test_training_it_changes_nothing(frames: Frames) -> None:
    encoder = load_encoder("efficientnet_lite0", random_init=True)
    before = encoder(frames).patches
    nn.Sequential(encoder).train()
    encoder.backbone.train()
    after = encoder(frames).patches
    assert torch.equal(after, before)
    assert not after.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert hash_tensors(encoder.backbone.state_dict()) == encoder.weights_hash


def test_a_head_can_be_trained_on_its_features(twin: Encoder, frames: Frames) -> None:
    head = nn.Linear(twin.width, 1)
    head(twin(frames).cls).sum().backward()
    assert head.weight.grad is not None


def test_a_frame_does_not_see_the_rest_of_its_batch(twin: Encoder) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (35, 16, 32, 3), dtype=np.uint8)
    together = twin(frames)
    assert together.patches.shape == (35, 2, 112)
    for i in (0, 31, 32, 34):
        torch.testing.assert_close(twin(frames[i : i + 1]).patches[0], together.patches[i], atol=1e-4, rtol=1e-4)


def test_frames_may_be_read_only_views(twin: Encoder, frames: Frames) -> None:
    view = frames[:, :, ::-1]
    view.flags.writeable = False
    torch.testing.assert_close(twin(view).patches, twin(view.copy()).patches)


def test_black_and_white_are_normalised_as_the_weights_expect(twin: Encoder) -> None:
    frames = np.stack([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)])
    pixels = twin.preprocess(frames)
    assert pixels.shape == (2, 3, 16, 16)
    assert (float(pixels[0].mean()), float(pixels[1].mean())) == (-127 / 128, 1.0)


@pytest.mark.fault(34)
def test_another_preprocessing_has_another_fingerprint(twin: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("mean", "std"):
        with monkeypatch.context() as patch:
            patch.setattr(type(twin.backbone), part, (1.0, 2.0, 3.0))
            other = load_encoder("efficientnet_lite0", random_init=True, seed=3)
        assert other.weights_hash == twin.weights_hash
        assert other.fingerprint != twin.fingerprint


@pytest.mark.fault(22)
def test_channels_keep_their_order(twin: Encoder) -> None:
    red = np.zeros((1, 16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert twin.preprocess(red)[0, :, 0, 0].tolist() == [1.0, -127 / 128, -127 / 128]


def test_a_size_that_does_not_fit_is_refused_with_one_that_does(twin: Encoder) -> None:
    with pytest.raises(DataError, match=r"multiples of 16 for efficientnet_lite0, got 100x33: .* to 96x32"):
        twin(np.zeros((1, 100, 33, 3), np.uint8))


@pytest.mark.fault(22)
@pytest.mark.parametrize("shape", [(16, 16, 3), (0, 16, 16, 3), (1, 3, 16, 16)])
def test_what_is_not_a_batch_of_frames_is_refused(twin: Encoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"frames must be \(b, h, w, 3\) with at least one frame, got"):
        twin(np.zeros(shape, np.uint8))


@pytest.mark.fault(22)
def test_frames_that_are_not_bytes_are_refused(twin: Encoder) -> None:
    with pytest.raises(TypeError, match="uint8"):
        twin(np.zeros((1, 16, 16, 3), np.float32))


@pytest.mark.parametrize("layer", [0, 6])
def test_a_layer_that_is_not_there_is_refused(layer: int) -> None:
    with pytest.raises(ConfigError, match=rf"layer must be in \[1, 5\] for efficientnet_lite0, got {layer}"):
        load_encoder("efficientnet_lite0", layer=layer, random_init=True)


@pytest.mark.fault(53)
@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_this_machine_does_not_have_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=f"device must be one of this machine, got '{device}'"):
        load_encoder("efficientnet_lite0", random_init=True, device=device)
