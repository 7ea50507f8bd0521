"""Masks by Cutie, for whoever has its package and weights: a tracker that is shown the annotated frames."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from worldrl.errors import CheckpointError, ConfigError, DataError
from worldrl.objects.annotations import Annotations

SIZES = ("small", "base")
"""The models that there are weights of."""
ENLARGED = 2.0
"""By how much frames are enlarged (OC-STORM's choice for frames of 160 by 210 pixels)."""


class CutieMasks:
    """Labels of a video, frame after frame, and what Cutie's queries say of each object.

    The annotated frames are Cutie's permanent memory. An episode begins with these alone: everything that Cutie has
    gathered since, its sensory memory included, is forgotten, so that what is said of an episode does not depend on
    the one before.

    Source: Cheng et al. 2024, Putting the object back into video object segmentation (arXiv 2310.12982); annotated
    frames as permanent memory, the rest forgotten with each episode, and the foreground queries as an object's vector
    are OC-STORM's (arXiv 2501.16443, section 3.1).

    Args:
        annotations: What is remembered for good.
        core: Cutie's ``InferenceCore``, as ``load_cutie`` makes it.
        enlarged: By how much frames are enlarged.

    Raises:
        ConfigError: If ``enlarged`` is not positive.
    """

    def __init__(self, annotations: Annotations, core: Any, *, enlarged: float = ENLARGED) -> None:
        if enlarged <= 0:
            raise ConfigError(f"enlarged must be positive, got {enlarged}.")
        self.annotations, self.core, self.enlarged = annotations, core, enlarged
        self._ids = list(range(1, len(annotations.objects) + 1))
        self._queries: Tensor | None = None
        self._shown = torch.zeros(len(self._ids), dtype=torch.bool)
        core.network.object_transformer.blocks[-1].register_forward_hook(self._listen)
        self.begin()

    @torch.inference_mode()
    def begin(self) -> None:
        """Begin an episode: forget everything but the annotated frames."""
        self.core.clear_memory()
        for frame, labels in zip(self.annotations.frames, self.annotations.labels, strict=True):
            mask = torch.from_numpy(labels.astype(np.float32))[None, None]
            large = nn.functional.interpolate(mask, size=self._size(), mode="nearest")[0, 0].long()
            self.core.step(self._image(frame), large.to(self._device), objects=self._ids, force_permanent=True)
        self._queries = None

    @torch.inference_mode()
    def follow(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the labels ``(h, w)`` of the next frame ``(h, w, 3)``.

        Raises:
            DataError: If the frame has another size than the annotated ones.
        """
        if frame.shape[:2] != self.annotations.frames.shape[1:3]:
            wanted = self.annotations.frames.shape[1:3]
            raise DataError(f"frames must have the size of the annotated ones, {wanted}, got {frame.shape[:2]}.")
        shares = self.core.step(self._image(frame))[None]
        small = nn.functional.interpolate(shares, size=frame.shape[:2], mode="bilinear", align_corners=False)[0]
        labels = self.core.output_prob_to_mask(small).cpu()
        self._shown = torch.tensor([bool((labels == label).any()) for label in self._ids])
        return np.asarray(labels.numpy().astype(np.uint8))

    def vectors(self) -> Float[Tensor, "k d"]:
        """Return what the queries of the frame that was last followed say of each object: those that look at it.

        Half of Cutie's queries look at an object and half at what surrounds it. Those of an object that is not visible
        are zero.

        Raises:
            DataError: If no frame of the episode was followed yet.
        """
        if self._queries is None:
            raise DataError("vectors are of the last frame, and none was followed yet: call follow first.")
        looking = self._queries[:, : self._queries.shape[1] // 2].float().cpu()
        return rearrange(looking, "k q d -> k (q d)") * self._shown[:, None]

    @property
    def _device(self) -> torch.device:
        weight: Tensor = next(iter(self.core.network.parameters()))
        return weight.device

    def _size(self) -> tuple[int, int]:
        height, width = (round(self.enlarged * side) for side in self.annotations.frames.shape[1:3])
        return height, width

    def _image(self, frame: npt.NDArray[np.uint8]) -> Tensor:
        pixels = rearrange(torch.from_numpy(np.array(frame)), "h w c -> 1 c h w").float() / 255
        large = nn.functional.interpolate(pixels, size=self._size(), mode="bilinear", align_corners=False)
        return large[0].to(self._device)

    def _listen(self, module: nn.Module, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Keep the queries ``(k, q, d)`` that leave the last block of the object transformer."""
        self._queries = outputs[0].detach()


def load_cutie(weights: Path, *, size: str = "small", device: str = "cpu") -> Any:
    """Load Cutie's ``InferenceCore`` with its own configuration.

    Its package asks the network for ImageNet weights of the backbone when it builds the model, before these are loaded.

    Args:
        weights: The file of its authors, e.g. ``cutie-small-mega.pth``.
        size: ``small`` or ``base``.
        device: Where to compute.

    Raises:
        ConfigError: If the package is not installed, the size is unknown, or there is no such file.
        CheckpointError: If the file holds no weights of that size.
    """
    if size not in SIZES:
        raise ConfigError(f"size must be one of {', '.join(SIZES)}, got '{size}'.")
    try:
        from cutie.inference.inference_core import InferenceCore
        from cutie.inference.utils.args_utils import get_dataset_cfg
        from cutie.model.cutie import CUTIE
    except ImportError as error:
        raise ConfigError(
            "masks by Cutie need its package: pip install git+https://github.com/hkchengrex/Cutie."
        ) from error
    if not weights.is_file():
        raise ConfigError(f"weights must be Cutie's file, got '{weights}': its releases have cutie-{size}-mega.pth.")
    import hydra

    from worldrl.torch_file import read_state

    with hydra.initialize_config_module("cutie.config", version_base="1.3"):
        config = hydra.compose("eval_config", overrides=[f"model={size}", "dataset=generic"])
    get_dataset_cfg(config)
    network = CUTIE(config).eval().requires_grad_(False)
    try:
        network.load_weights(read_state(weights))
    except Exception as error:  # a foreign file may raise anything
        raise CheckpointError(
            f"{weights} must hold the weights of Cutie's {size} model: {str(error)[:120]}."
        ) from error
    return InferenceCore(network.to(device), cfg=config)
