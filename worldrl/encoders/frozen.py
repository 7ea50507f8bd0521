"""A pretrained backbone, its preprocessing and its layer as one object that cannot be trained by accident."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.checkpoint import hash_tensors, load_state
from worldrl.encoders.efficientnet import EfficientNetLite0
from worldrl.encoders.foreign import FORMS, ForeignBackbone, Plan, is_foreign, load_foreign, plan_of
from worldrl.encoders.registry import WEIGHTS, describe
from worldrl.encoders.tinyvit import TinyViT
from worldrl.encoders.tokens import FewerTokens, check_tokens
from worldrl.encoders.vit import DinoV2
from worldrl.encoders.weights import converted_folder, load_weights
from worldrl.encoders.xfeat import XFeat
from worldrl.errors import ConfigError, DataError, DeviceError
from worldrl.types import Features

MICRO_BATCH = 32
Built = TypeVar("Built")
OwnBackbone = DinoV2 | EfficientNetLite0 | TinyViT | XFeat
Backbone = OwnBackbone | ForeignBackbone
BACKBONES: Mapping[str, type[OwnBackbone]] = {
    "dinov2_vits14": DinoV2,
    "efficientnet_lite0": EfficientNetLite0,
    "tinyvit": TinyViT,
    "xfeat": XFeat,
}
ENCODERS = [name for name, entry in WEIGHTS.items() if entry.architecture in BACKBONES]
"""The weights that are of an encoder; others are of a mask decoder or a metric."""


class Encoder(nn.Module):
    """Images to features: preprocessing, backbone and layer, frozen.

    It stays in evaluation mode whatever is asked of it, and no gradient passes.

    Args:
        backbone: The network; its weights are frozen in place.
        name: Its name in the registry.
        layer: The layer to read out, from one.

    Attributes:
        name: Its name in the registry.
        source: What ``load_encoder`` was told, so that it can be loaded again.
        layer: The layer that is read out.
        width: Feature width ``d``.
        patch: Pixels a patch is high and wide; frames must be a multiple of it.
        weights_hash: Hash of all weights.
        fingerprint: Hash of weights, preprocessing and layer: equal fingerprints, equal features.

    Raises:
        ConfigError: If the backbone does not have the layer.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone, *, name: str, layer: int | None = None) -> None:
        layer = _layer(backbone, name, layer)
        super().__init__()
        self.backbone = backbone
        self.name, self.layer = name, layer
        self.source: dict[str, Any] = {"name": name, "layer": layer}
        self.width, self.patch = backbone.width(layer), backbone.stride(layer)
        self.register_buffer("shift", rearrange(torch.tensor(backbone.mean), "c -> c 1 1"), persistent=False)
        self.register_buffer("scale", rearrange(1 / torch.tensor(backbone.std), "c -> c 1 1"), persistent=False)
        self.requires_grad_(False)
        self.train(False)
        self.weights_hash = hash_tensors(backbone.state_dict())
        self.fingerprint = self._fingerprint()

    @property
    def device(self) -> torch.device:
        """Where it computes, and where its features are."""
        return self.shift.device

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode, whatever the mode."""
        return super().train(False)

    def preprocess(self, frames: npt.NDArray[np.uint8]) -> Float[Tensor, "b 3 h w"]:
        """Return the normalised pixels ``(b, 3, h, w)`` of frames ``(b, h, w, 3)``, on the encoder's device."""
        pixels = rearrange(torch.from_numpy(np.array(frames, order="C")), "b h w c -> b c h w")
        return (pixels.to(self.device).float() - self.shift) * self.scale

    @torch.no_grad()
    def forward(self, frames: npt.NDArray[np.uint8]) -> Features:
        """Encode frames, 32 at a time.

        Args:
            frames: RGB ``(b, h, w, 3)`` uint8; ``h`` and ``w`` are multiples of ``patch``.

        Returns:
            ``cls`` ``(b, d)`` and ``patches`` ``(b, p, d)``, float32.

        Raises:
            TypeError: If the frames are not uint8.
            ValueError: If their shape is wrong.
        """
        self._check(frames)
        self.backbone.eval()
        parts = [
            self.backbone(self.preprocess(frames[i : i + MICRO_BATCH]), layer=self.layer)
            for i in range(0, len(frames), MICRO_BATCH)
        ]
        return Features(
            torch.cat([part.cls for part in parts]), torch.cat([part.patches for part in parts]), parts[0].grid
        )

    def _check(self, frames: npt.NDArray[np.uint8]) -> None:
        check_frames(frames)
        height, width = frames.shape[1:3]
        if height % self.patch or width % self.patch or not height or not width:
            below = [max(side // self.patch, 1) * self.patch for side in (height, width)]
            raise DataError(
                f"frames must have a height and width that are multiples of {self.patch} for {self.name}, "
                f"got {height}x{width}: render or resize them to {below[0]}x{below[1]}."
            )

    def _fingerprint(self) -> str:
        description = {
            "weights": self.weights_hash,
            "preprocessing": {"mean": self.backbone.mean, "std": self.backbone.std, "order": "rgb"},
            "layer": self.layer,
        }
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def check_frames(frames: npt.NDArray[np.uint8]) -> None:
    """Refuse what is not a batch of RGB frames.

    Raises:
        TypeError: If the frames are not uint8.
        ValueError: If their shape is not ``(b, h, w, 3)`` with at least one frame.
    """
    if frames.dtype != np.uint8:
        raise TypeError(f"frames must be uint8 in [0, 255], got {frames.dtype}.")
    if frames.ndim != 4 or frames.shape[-1] != 3 or len(frames) == 0:
        raise ValueError(f"frames must be (b, h, w, 3) with at least one frame, got {frames.shape}.")


def load_encoder(
    name: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    random_init: bool = False,
    seed: int = 0,
    weights: Path | None = None,
    allow_hub: bool = False,
    keep: int = 0,
    merge: int = 0,
) -> Encoder | FewerTokens:
    """Load a frozen encoder.

    Args:
        name: ``dinov2_vits14`` (layers are its 12 blocks, 9 by default; patches of 14 pixels),
            ``efficientnet_lite0`` (layers are its maps of stride ``2 ** layer``, 4 by default), ``mobilesam`` (layers
            are its four stages and the map that its decoder reads, which is the default; cells of 16 pixels) or
            ``xfeat`` (one layer; cells of 8 pixels). Or a network of another library, which is asked to download it
            if need be: ``timm:NAME``, ``transformers:NAME`` (a vision transformer) or ``open_clip:NAME/PRETRAINED``
            (layers are blocks or stages, the last by default).
        layer: The layer to read out, from one.
        device: Where to compute.
        random_init: Whether to leave the weights at random: the control for what pretraining brings.
        seed: What those random weights follow from; the global generator is left alone.
        weights: The original weights file or a converted folder, instead of looking for them.
        allow_hub: Whether weights may be downloaded from the Hugging Face hub when there are none here.
        keep: Patches that keep features of their own, those that stand out; the others share theirs. 0 for all.
        merge: Tokens that patches are merged into, those that are alike. 0 for no merging.

    Raises:
        ConfigError: If there is no such encoder, it does not have the layer, or ``keep`` or ``merge`` cannot be.
        CheckpointError: If its weights are missing, damaged or not the pinned ones.
        DeviceError: If this machine does not have the device.
    """
    check_encoder(name)
    check_tokens(keep, merge)
    target = on_device(device)
    if is_foreign(name) and weights is not None:
        raise ConfigError(f"weights must be None for {name}, got '{weights}': its library finds them.")
    backbone = seeded(lambda: _build(name, pretrained=not random_init), seed)
    if not random_init and not is_foreign(name):
        tensors = load_weights(name, weights=weights, allow_hub=allow_hub)
        load_state(backbone, tensors, path=weights or converted_folder(name))
    encoder = Encoder(backbone, name=name, layer=layer).to(target)
    encoder.source |= {"random_init": random_init, "seed": seed}
    return FewerTokens(encoder, keep=keep, merge=merge) if keep or merge else encoder


def patch_of(name: str, layer: int | None = None) -> int:
    """Return how many pixels a patch of an encoder is high and wide, without loading it.

    Raises:
        ConfigError: If there is no such encoder, or it does not have the layer.
    """
    check_encoder(name)
    backbone = plan_of(name) if is_foreign(name) else BACKBONES[describe(name).architecture]
    return backbone.stride(_layer(backbone, name, layer))


def check_encoder(name: str, *, option: str = "encoder", others: Sequence[str] = ()) -> None:
    """Refuse a name that is neither in the registry nor of another library.

    Args:
        name: The name.
        option: What the sentence calls it.
        others: What else would do, for the sentence.

    Raises:
        ConfigError: If there is no such encoder.
    """
    if name not in ENCODERS and not is_foreign(name):
        known = ", ".join([*others, *ENCODERS])
        raise ConfigError(f"{option} must be one of {known}, got '{name}' (or {', '.join(FORMS)}).")


def _build(name: str, *, pretrained: bool) -> Backbone:
    """Build a backbone; the weights of one of ours are not loaded yet."""
    if is_foreign(name):
        return load_foreign(name, pretrained=pretrained)
    return BACKBONES[describe(name).architecture]()


def _layer(backbone: Backbone | type[OwnBackbone] | Plan, name: str, layer: int | None) -> int:
    layer = backbone.default_layer if layer is None else layer
    if not 1 <= layer <= backbone.depth:
        raise ConfigError(f"layer must be in [1, {backbone.depth}] for {name}, got {layer}.")
    return layer


def on_device(name: str) -> torch.device:
    """Return a device that this machine has.

    Raises:
        DeviceError: If it does not have it.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device must be one of this machine, got '{name}': {str(error).splitlines()[0]}") from error
    return device


def seeded(build: Callable[[], Built], seed: int) -> Built:
    """Build something whose random numbers follow from a seed; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()
