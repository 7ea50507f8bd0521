"""Frame and proprioception in, the observation that policy and world model see out: one object for all of them.

The pipeline is fitted once on recorded frames, saved and hashed. A policy or a world model carries the hash of the
pipeline it was made for and refuses another.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import pad

from worldrl import checkpoint
from worldrl.encoders.tokenizer import NUMBERS as SEEN
from worldrl.encoders.tokenizer import FrameTokenizer
from worldrl.errors import CheckpointError, DataError
from worldrl.objects import NUMBERS, Annotations, FewShotMasks, Prototypes, describe, pool, soften
from worldrl.objects.fewshot import TENSORS as MEMORY
from worldrl.observation_fit import (
    OF_TOKENIZER,
    check_kinds,
    chosen,
    fit_pca,
    fit_prototypes,
    fit_scale,
    fit_visual,
)
from worldrl.types import Array, FrozenEncoder

PROTOTYPES = ("background", "reach", "centres", "temperature")
"""The tensors that stand in for masks where there are none."""
VERSION = 1
"""Raised whenever the same frames come out as other numbers, so that no old policy meets a new pipeline."""
CLIP = 8.0
"""Observations are cut at this many standard deviations: what was never seen must not blow a network up."""


class ObservationPipeline:
    """Turn frames into tokens ``(k, d)``: token 0 is proprioception, then come objects, then visual tokens if any.

    An object token is its geometry (10 numbers, ``worldrl.objects.NUMBERS``) and its look: patch features pooled under
    its mask and reduced by PCA. A visual token is a part of the small latent of the whole frame. Every number is
    standardised with the statistics of the frames it was fitted on.

    Make one with ``fit`` or ``from_pretrained``.

    Attributes:
        masks: ``simulator`` (privileged: ground-truth segmentation), ``few_shot`` (from a few annotated frames),
            ``none`` (prototypes of frozen patch features) or ``no_objects`` (visual tokens, if any, beside
            proprioception).
        objects: Names of the objects; ``group_i`` where there are no masks.
        labelled: Names of all objects that there are masks of, of which ``objects`` may be a part.
        encoder: The frozen encoder, or None for geometry alone.
        tokenizer: What makes and draws visual tokens, frozen; None where there are none.
        visual: Number of visual tokens, the last ones.
        space: The observation space, a float32 Box ``(k, d)`` in ``[-8, 8]``.
        hash: Identifies everything that changes what comes out.
    """

    def __init__(
        self,
        *,
        masks: str,
        objects: tuple[str, ...],
        proprio: int,
        encoder: FrozenEncoder | None,
        tensors: Mapping[str, Tensor],
        labelled: tuple[str, ...] | None = None,
    ) -> None:
        self.masks, self.objects, self.proprio, self.encoder = masks, objects, proprio, encoder
        self.labelled = labelled or objects
        self._tensors = dict(tensors)
        state = {name[len(OF_TOKENIZER) :]: value for name, value in tensors.items() if name.startswith(OF_TOKENIZER)}
        self.tokenizer = FrameTokenizer.of(state) if state else None
        self.visual = self.tokenizer.tokens if self.tokenizer else 0
        self.shape = (self._tensors["mean"].shape[0], self._tensors["mean"].shape[1])
        self.space = spaces.Box(-CLIP, CLIP, self.shape, np.float32)
        self.hash = self._hash()

    @classmethod
    def fit(
        cls,
        frames: npt.NDArray[np.uint8],
        proprio: Array,
        labels: npt.NDArray[np.uint8],
        *,
        objects: tuple[str, ...],
        masks: str,
        encoder: FrozenEncoder | None,
        components: int = 32,
        groups: int = 8,
        slots: int = 0,
        annotations: Annotations | None = None,
        names: tuple[str, ...] = (),
        visual: int = 0,
        visual_steps: int = 1500,
        seed: int = 0,
    ) -> "ObservationPipeline":
        """Fit prototypes (without masks), the tokenizer of visual tokens, PCA and standardisation.

        Args:
            frames: ``(n, h, w, 3)`` uint8.
            proprio: ``(n, q)`` float32.
            labels: ``(n, h, w)`` uint8; looked at where ``masks`` is ``simulator``.
            objects: Names of the labelled objects, in the order of the labels; annotations bring their own.
            masks: ``simulator``, ``few_shot``, ``none`` or ``no_objects``.
            encoder: Frozen encoder, or None for geometry alone.
            components: Numbers an object that say what it looks like.
            groups: Number of prototypes where there are no masks.
            slots: Object tokens at least; those beyond the objects stay zero, so that tasks with fewer objects have
                observations of the same shape as others.
            annotations: What ``few_shot`` masks are told.
            names: Which of the objects become tokens, in this order; all of them if empty. The others are background.
            visual: Visual tokens: 0 for none, else 1, 4 or 16.
            visual_steps: Gradient steps of their tokenizer.
            seed: Of prototypes, memory and tokenizer.

        Raises:
            ConfigError: If ``masks`` is unknown, ``none`` without an encoder, ``few_shot`` without annotations, or
                ``no_objects`` with what is of objects.
            DataError: If there are too few frames or they do not fit together.
        """
        check_kinds(masks, encoder, annotations, visual, slots)
        if not len(frames) == len(proprio) == len(labels) or len(frames) <= components:
            raise DataError(
                f"frames, proprio and labels must be equally many and more than {components}, "
                f"got {len(frames)}, {len(proprio)} and {len(labels)}: collect more episodes."
            )
        tensors: dict[str, Tensor] = {}
        if masks == "none" and encoder is not None:
            objects = tuple(f"group_{i}" for i in range(groups))
            tensors |= fit_prototypes(frames, encoder, groups, seed)
        if visual:
            tensors |= fit_visual(frames, visual, visual_steps, seed)
        if annotations is not None:
            objects = annotations.objects
            features = None if encoder is None else encoder(annotations.frames)
            tensors |= FewShotMasks.fit(annotations, features, seed=seed).tensors()
        labelled = () if masks == "no_objects" else objects
        objects = chosen(names, objects) if labelled else ()
        if encoder is not None:
            tensors |= {"pca_mean": torch.zeros(encoder.width), "pca": torch.eye(encoder.width)}
        width = len(NUMBERS) + (encoder.width if encoder is not None else 0)
        width = max(width, proprio.shape[1], SEEN if visual else 0)
        tokens_in_all = max(len(objects), slots) + 1 + visual
        tensors |= {"mean": torch.zeros(tokens_in_all, width), "std": torch.ones(tokens_in_all, width)}
        if not np.isfinite(proprio).all():
            raise DataError("proprio must be finite, got NaN or infinity: check the recorded episodes.")
        same: dict[str, Any] = {"masks": masks, "objects": objects, "proprio": proprio.shape[1], "encoder": encoder}
        same["labelled"] = labelled
        tokens = cls(tensors=tensors, **same)._raw(frames, proprio, labels)
        if encoder is not None:
            tensors |= fit_pca(tokens[:, 1 : tokens_in_all - visual, : len(NUMBERS) + encoder.width], components)
            tokens = cls(tensors=tensors, **same)._raw(frames, proprio, labels)
        tensors |= fit_scale(
            tokens, looks=slice(1, tokens_in_all - visual) if encoder is not None else None, visual=visual
        )
        return cls(tensors=tensors, **same)

    def __call__(
        self, frames: npt.NDArray[np.uint8], proprio: Array, labels: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.float32]:
        """Observe a batch.

        Args:
            frames: ``(b, h, w, 3)`` uint8.
            proprio: ``(b, q)`` float32.
            labels: ``(b, h, w)`` uint8; may be None where ``masks`` is not ``simulator``.

        Returns:
            ``(b, k, d)`` float32, standardised, in ``[-8, 8]``.

        Raises:
            DataError: If the proprioception has another width or is not finite, or labels are missing.
        """
        if proprio.ndim != 2 or proprio.shape[1] != self.proprio or not np.isfinite(proprio).all():
            raise DataError(
                f"proprio must be finite and (b, {self.proprio}), got {proprio.shape}: check the environment."
            )
        tokens = (self._raw(frames, proprio, labels) - self._tensors["mean"]) / self._tensors["std"]
        return np.asarray(tokens.clamp(-CLIP, CLIP).numpy())

    def unseen(self) -> npt.NDArray[np.float32]:
        """Return the tokens ``(k, d)`` of a frame that shows no object: zero, standardised."""
        nothing = -self._tensors["mean"] / self._tensors["std"]
        return np.asarray(nothing.clamp(-CLIP, CLIP).numpy())

    def places(self) -> tuple[Tensor, Tensor]:
        """Return how centroids are standardised: mean and standard deviation ``(n, 2)`` of each of ``n`` objects'."""
        objects = slice(1, self.shape[0] - self.visual)
        return self._tensors["mean"][objects, :2], self._tensors["std"][objects, :2]

    def scale(self) -> tuple[Tensor, Tensor]:
        """Return how visual tokens are standardised: mean and standard deviation ``(v, 32)``."""
        last = slice(self.shape[0] - self.visual, None)
        return self._tensors["mean"][last, :SEEN], self._tensors["std"][last, :SEEN]

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        config = {"masks": self.masks, "objects": list(self.objects), "proprio": self.proprio, "hash": self.hash}
        config["labelled"] = list(self.labelled)
        checkpoint.save(
            path,
            kind="observation",
            config=config | {"encoder": None if self.encoder is None else self.encoder.source},
            tensors=self._tensors,
        )

    @classmethod
    def from_pretrained(cls, path: Path, *, encoder: FrozenEncoder | None = None) -> "ObservationPipeline":
        """Load from a folder.

        Args:
            path: What ``save_pretrained`` wrote.
            encoder: The encoder to use instead of loading it anew, e.g. one with a cache; must be the same one.

        Raises:
            CheckpointError: If the folder is damaged or foreign, or the encoder is not the one it was fitted with.
        """
        saved = checkpoint.load(path, kind="observation")
        with checkpoint.described(path, "an observation pipeline"):
            config, spec, expected = saved.config, saved.config["encoder"], str(saved.config["hash"])
            if spec is not None and encoder is None:
                from worldrl.encoders import load_encoder

                known = {"name", "layer", "random_init", "seed", "keep", "merge"}
                encoder = load_encoder(**{key: spec[key] for key in spec.keys() & known})
            pipeline = cls(
                masks=config["masks"],
                objects=tuple(config["objects"]),
                proprio=config["proprio"],
                encoder=encoder if spec is not None else None,
                tensors=saved.tensors,
                labelled=tuple(config.get("labelled", config["objects"])),
            )
        if pipeline.hash != expected:
            raise CheckpointError(
                f"{path} was fitted as pipeline {config['hash'][:12]} but loads as {pipeline.hash[:12]}: "
                "the encoder's weights, its preprocessing or the version of worldrl differ, fit it again."
            )
        return pipeline

    def require(self, found: str, *, owner: str) -> None:
        """Refuse something that was made for another pipeline.

        Raises:
            CheckpointError: If ``found`` is not this pipeline's hash.
        """
        checkpoint.require_pipeline(self.hash, found, owner=owner)

    def _raw(self, frames: npt.NDArray[np.uint8], proprio: Array, labels: npt.NDArray[np.uint8] | None) -> Tensor:
        if self.masks == "simulator" and labels is None:
            raise DataError("labels must be given where masks is 'simulator', got None: record them with the frames.")
        chunks = range(0, len(frames), 256)
        tokens = torch.cat(
            [self._chunk(frames[i : i + 256], None if labels is None else labels[i : i + 256]) for i in chunks]
        )
        own = pad(torch.from_numpy(np.array(proprio, np.float32)), (0, tokens.shape[-1] - self.proprio))
        return torch.cat([rearrange(own, "b d -> b 1 d"), tokens], dim=1)

    @torch.no_grad()
    def _chunk(self, frames: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8] | None) -> Tensor:
        """Return the object and visual tokens of some frames ``(b, k - 1, d)``, not yet standardised."""
        nothing = torch.zeros(len(frames), 0, self.shape[1])
        parts = [nothing if self.masks == "no_objects" else self._objects(frames, labels)]
        if self.tokenizer is not None:
            parts.append(self.tokenizer(frames))
        width = max(self.proprio, *(part.shape[-1] for part in parts))
        return torch.cat([pad(part, (0, width - part.shape[-1])) for part in parts], dim=1)

    def _objects(self, frames: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8] | None) -> Tensor:
        """Return the object tokens of some frames, their geometry and their look."""
        features = None if self.encoder is None else self.encoder(np.ascontiguousarray(frames))
        if self.masks == "none" and features is not None:
            masks = Prototypes(**{name: self._tensors[name] for name in PROTOTYPES})(features)
        elif self.masks == "few_shot":
            memory = FewShotMasks(**{name: self._tensors[name] for name in MEMORY})
            masks = soften(memory(frames, features), len(self.labelled))
        else:
            masks = soften(torch.from_numpy(np.array(labels)), len(self.labelled))
        masks = masks[:, [self.labelled.index(name) for name in self.objects]]
        masks = pad(masks, (0, 0, 0, 0, 0, self.shape[0] - 1 - self.visual - masks.shape[1]))
        tokens = describe(masks)
        if features is not None:
            seen = tokens[..., NUMBERS.index("visible"), None]
            look = ((pool(features, masks) - self._tensors["pca_mean"]) @ self._tensors["pca"]) * seen
            tokens = torch.cat([tokens, look], dim=-1)
        return tokens

    def _hash(self) -> str:
        identity = {"masks": self.masks, "objects": self.objects, "proprio": self.proprio}
        identity |= {"numbers": NUMBERS, "clip": CLIP, "version": VERSION}
        if self.labelled != self.objects:
            identity["labelled"] = self.labelled
        fingerprint = None if self.encoder is None else self.encoder.fingerprint
        text = json.dumps(identity | {"encoder": fingerprint, "tensors": checkpoint.hash_tensors(self._tensors)})
        return hashlib.sha256(text.encode()).hexdigest()
