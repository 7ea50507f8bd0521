"""What is seen, with something wrong: which objects decide is found by taking them away."""

from typing import Any

import numpy as np
import numpy.typing as npt

from worldrl.errors import ConfigError
from worldrl.types import Array

KINDS = ("nothing", "missing", "swapped", "dropped")


class DisturbedPipeline:
    """An observation pipeline of tokens whose objects are disturbed; the same disturbance in every frame.

    Args:
        pipeline: An ``ObservationPipeline``.
        kind: ``nothing``; ``missing``: an object is never seen; ``swapped``: two objects stand in each other's place;
            ``dropped``: a share of the numbers of all objects is at its mean, drawn anew for every frame.
        objects: The object that is missing, or the two that are swapped.
        share: Of the numbers that are dropped.
        seed: Of what is dropped.

    Raises:
        ConfigError: If there is no such kind or object, there are not as many as the kind needs, or ``share`` is not
            in ``[0, 1]``.
    """

    def __init__(
        self, pipeline: Any, *, kind: str, objects: tuple[str, ...] = (), share: float = 0.0, seed: int = 0
    ) -> None:
        if kind not in KINDS:
            raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got '{kind}'.")
        if unknown := [name for name in objects if name not in pipeline.objects]:
            raise ConfigError(f"objects must be among {', '.join(pipeline.objects)}, got '{unknown[0]}'.")
        needed = {"missing": 1, "swapped": 2}.get(kind, 0)
        if len(objects) != needed:
            raise ConfigError(f"'{kind}' needs {needed} objects, got {len(objects)}.")
        if not 0.0 <= share <= 1.0:
            raise ConfigError(f"share must be in [0, 1], got {share}.")
        self.pipeline, self.kind, self.share = pipeline, kind, share
        self.masks, self.objects, self.labelled = pipeline.masks, pipeline.objects, pipeline.labelled
        self.encoder, self.shape, self.hash = pipeline.encoder, pipeline.shape, pipeline.hash
        self._slots = [1 + pipeline.objects.index(name) for name in objects]
        self._rng = np.random.default_rng(seed)

    def __call__(
        self, frames: npt.NDArray[np.uint8], proprio: Array, labels: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.float32]:
        """Observe a batch as the pipeline does, then disturb it."""
        tokens: npt.NDArray[np.float32] = self.pipeline(frames, proprio, labels)
        if self.kind == "missing":
            (slot,) = self._slots
            tokens[:, slot] = self.pipeline.unseen()[slot]
        elif self.kind == "swapped":
            tokens[:, self._slots] = tokens[:, self._slots[::-1]]
        elif self.kind == "dropped":
            objects = tokens[:, 1 : 1 + len(self.objects)]
            objects[self._rng.random(objects.shape) < self.share] = 0.0
        return tokens
