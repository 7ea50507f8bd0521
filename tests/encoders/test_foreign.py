"""Networks of other libraries are encoders like ours; each library is asked only when it is named."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from worldrl.encoders import Encoder, foreign, load_encoder, patch_of
from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.recipes.options import EncoderOptions, ObjectOptions, check_observation
from worldrl.types import Features

Frames = npt.NDArray[np.uint8]


class Pyramid(nn.Module):
    """A network like timm's of two stages, of strides 2 and 4; ``pretrained`` weights are ones."""

    feature_info = ({"num_chs": 5, "reduction": 2}, {"num_chs": 6, "reduction": 4})

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 5, 2, stride=2), nn.Conv2d(5, 6, 2, stride=2)])
        if pretrained:
            for parameter in self.parameters():
                nn.init.ones_(parameter)

    def forward_intermediates(
        self, x: Tensor, *, indices: list[int], intermediates_only: bool, stop_early: bool
    ) -> list[Tensor]:
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return [found[i] for i in indices]


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for timm that has one network, ``pyramid``, and counts how often weights were asked for."""
    stub: Any = ModuleType("timm")
    stub.asked, stub.mean = 0, (0.5, 0.25, 0.0)

    def create_model(name: str, *, pretrained: bool, num_classes: int, **options: Any) -> Pyramid:
        if options:
            raise TypeError("unexpected keyword argument 'dynamic_img_size'")
        if name != "pyramid":
            raise RuntimeError(f"Unknown model ({name})")
        stub.asked += pretrained
        return Pyramid(pretrained)

    settings = {"std": (1.0, 1.0, 1.0), "input_size": (3, 8, 12)}
    stub.create_model = create_model
    stub.data = SimpleNamespace(resolve_model_data_config=lambda net: settings | {"mean": stub.mean})
    monkeypatch.setitem(sys.modules, "timm", stub)
    return stub


@pytest.fixture
def frames() -> Frames:
    return np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)


def test_a_network_of_another_library_is_a_frozen_encoder(timm: ModuleType, frames: Frames) -> None:
    encoder = load_encoder("timm:pyramid")
    features = encoder(frames)
    assert (encoder.width, encoder.patch, encoder.layer, features.grid) == (6, 4, 2, (2, 3))
    assert features.patches.shape == (2, 6, 6)
    torch.testing.assert_close(features.cls, features.patches.mean(dim=1))
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert load_encoder(**encoder.source).fingerprint == encoder.fingerprint


def test_frames_are_normalised_as_its_weights_expect(timm: ModuleType, frames: Frames) -> None:
    patch = (frames[0, :2, :2] - 255 * np.array([0.5, 0.25, 0.0])) / 255
    found = load_encoder("timm:pyramid", layer=1)(frames).patches[0, 0]
    torch.testing.assert_close(found, torch.full((5,), 1 + float(patch.sum())))


def test_layers_are_chosen_and_refused_like_those_of_ours(timm: ModuleType) -> None:
    assert (patch_of("timm:pyramid"), patch_of("timm:pyramid", 1)) == (4, 2)
    assert load_encoder("timm:pyramid", layer=1).width == 5
    for ask in (patch_of, lambda name, layer: load_encoder(name, layer=layer)):
        with pytest.raises(ConfigError, match=r"layer must be in \[1, 2\] for timm:pyramid, got 3"):
            ask("timm:pyramid", 3)


def test_weights_preprocessing_and_layer_are_in_the_fingerprint(timm: Any) -> None:
    prints = {load_encoder("timm:pyramid", layer=layer).fingerprint for layer in (1, 2)}
    prints |= {load_encoder("timm:pyramid", random_init=True, seed=seed).fingerprint for seed in (0, 1, 1)}
    timm.mean = (0.5, 0.5, 0.5)
    assert len(prints | {load_encoder("timm:pyramid").fingerprint}) == 5


def test_no_weights_are_asked_for_but_those_of_an_encoder_that_is_loaded(timm: Any) -> None:
    patch_of("timm:pyramid")
    load_encoder("timm:pyramid", random_init=True)
    assert timm.asked == 0
    load_encoder("timm:pyramid")
    assert timm.asked == 1


def test_a_size_that_it_does_not_read_is_refused_and_its_own_faults_are_not_hidden(
    timm: Any, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder("timm:pyramid")

    def fail(*_: Any) -> Features:
        raise RuntimeError("sizes differ\nand more")

    encoder.backbone.read = fail
    with pytest.raises(DataError, match=r"^frames must be 8x12 for this network, got 8x8: sizes differ\.$"):
        encoder(frames[:, :, :8])
    with pytest.raises(RuntimeError, match="and more"):
        encoder(frames)
    monkeypatch.setattr(torch, "OutOfMemoryError", RuntimeError)  # a full device is no matter of size
    with pytest.raises(RuntimeError, match="and more"):
        encoder(frames[:, :, :8])


def test_options_accept_it_and_check_its_patches(timm: ModuleType) -> None:
    check_observation(EncoderOptions(name="timm:pyramid"), ObjectOptions(), 0, size=96)
    with pytest.raises(ConfigError, match=r"frames must be a multiple of 4 pixels for timm:pyramid, got 97: use 96"):
        check_observation(EncoderOptions(name="timm:pyramid"), ObjectOptions(), 0, size=97)
    with pytest.raises(ConfigError, match=r"timm must know 'cube', but says: Unknown model \(cube\)\."):
        check_observation(EncoderOptions(name="timm:cube"), ObjectOptions(), 0, size=96)


@pytest.mark.fault(60)
def test_weights_that_cannot_be_had_are_told_in_one_sentence(timm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model

    def offline(name: str, *, pretrained: bool, **options: Any) -> Pyramid:
        if pretrained:
            raise OSError("no route to host\nand more")
        return build(name, pretrained=pretrained, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match=r"^timm cannot load 'pyramid': no route to host\.$"):
        load_encoder("timm:pyramid")


@pytest.mark.parametrize("name", ["timm", "timm:", "tim:pyramid"])
def test_a_name_is_a_library_and_a_network(timm: ModuleType, name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"encoder must be one of .*, got '{name}' \(or timm:NAME, transformers:NAME"
    ):
        patch_of(name)


def test_it_takes_no_file_of_weights(timm: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"weights must be None for timm:pyramid, got 'a\.pth'"):
        load_encoder("timm:pyramid", weights=Path("a.pth"))


@pytest.mark.fault(56)
@pytest.mark.parametrize("library", ["timm", "transformers", "open_clip"])
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(foreign, "import_module", missing)
    with pytest.raises(ConfigError, match=rf'^{library}:a needs {library}: pip install "worldrl\[{library}\]"\.$'):
        load_encoder(f"{library}:a")


@pytest.mark.fault(55)
def test_a_library_that_is_broken_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(foreign, "import_module", broken)
    with pytest.raises(ConfigError, match=r"timm:a needs timm, which cannot be imported: operator .* not exist\."):
        load_encoder("timm:a")


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Any:
    """The library itself, where it is installed and works."""
    return pytest.importorskip(request.param, exc_type=Exception)


@pytest.mark.parametrize("real", ["timm"], indirect=True)
@pytest.mark.parametrize(
    ("name", "depth", "width", "patch"),
    [("vit_tiny_patch16_224", 12, 192, 16), ("resnet18", 5, 512, 32), ("vit_tiny_r_s16_p8_224", 12, 192, 32)],
)
def test_timm_gives_patches_of_any_size_of_frame(real: Any, name: str, depth: int, width: int, patch: int) -> None:
    encoder = load_encoder(f"timm:{name}", random_init=True)
    assert (encoder.layer, encoder.width, encoder.patch) == (depth, width, patch) and patch_of(f"timm:{name}") == patch
    features = encoder(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8))
    assert features.grid == (64 // patch, 96 // patch)
    assert features.cls.shape == (1, width)
    pooled = torch.allclose(features.cls, features.patches.mean(dim=1), atol=1e-5)
    assert pooled is (name == "resnet18")  # it has no CLS


@pytest.mark.parametrize("real", ["timm"], indirect=True)
def test_a_network_that_reads_one_size_refuses_others(real: Any) -> None:
    encoder = load_encoder("timm:mixer_s32_224", random_init=True)
    with pytest.raises(DataError, match=r"frames must be 224x224 for this network, got 96x96: Input height"):
        encoder(np.zeros((1, 96, 96, 3), np.uint8))


@pytest.mark.parametrize("real", ["transformers"], indirect=True)
@pytest.mark.parametrize("kind", ["Dinov2", "ViT", "CLIPVision", "SiglipVision"])
def test_transformers_gives_patches_after_each_layer(real: Any, kind: str, tmp_path: Path) -> None:
    settings = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    net = real.AutoModel.from_config(getattr(real, f"{kind}Config")(image_size=32, patch_size=8, **settings)).eval()
    net.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    encoder = load_encoder(f"transformers:{tmp_path}")
    features = encoder(frames)
    assert (encoder.width, encoder.patch, encoder.layer, features.grid) == (16, 8, 2, (4, 6))
    options = {} if kind == "Dinov2" else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        last = net(pixel_values=encoder.preprocess(frames), **options).last_hidden_state
    torch.testing.assert_close(features.patches, last[:, -24:])
    torch.testing.assert_close(features.cls, last[:, -24:].mean(dim=1) if kind == "SiglipVision" else last[:, 0])
    assert not torch.allclose(load_encoder(f"transformers:{tmp_path}", layer=1)(frames).patches, features.patches)
    twins = [load_encoder(f"transformers:{tmp_path}", random_init=True, seed=1).fingerprint for _ in range(2)]
    assert twins[0] == twins[1] != encoder.fingerprint


@pytest.mark.parametrize("real", ["transformers"], indirect=True)
def test_a_network_without_patches_is_refused(real: Any, tmp_path: Path) -> None:
    real.ResNetConfig().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="a resnet has no square patches; timm has"):
        patch_of(f"transformers:{tmp_path}")


@pytest.mark.parametrize("real", ["open_clip"], indirect=True)
def test_open_clip_gives_patches_of_its_own_size_of_frame(real: Any, tmp_path: Path) -> None:
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "worldrl-tiny.json").write_text(json.dumps(config))
    real.add_model_config(tmp_path)
    with pytest.raises(CheckpointError, match="which weights must be said, as worldrl-tiny/PRETRAINED"):
        load_encoder("open_clip:worldrl-tiny")
    encoder: Encoder = load_encoder("open_clip:worldrl-tiny", random_init=True)
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    features = encoder(frames)
    assert (encoder.width, encoder.patch, encoder.layer, features.grid) == (64, 8, 2, (4, 4))
    first = load_encoder("open_clip:worldrl-tiny", layer=1, random_init=True)(frames)
    assert not torch.allclose(first.patches, features.patches)
    with pytest.raises(DataError, match=r"frames must be 32x32 for this network, got 64x64: The size"):
        encoder(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(ConfigError, match="open_clip must know 'nonsense/tag', but says: there is no model"):
        patch_of("open_clip:nonsense/tag")
