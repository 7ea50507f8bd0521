"""The episodes of one task, as fitting a world needs them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldrl.recipes.fit_drawing import visual_decoder
from worldrl.recipes.held_out import split
from worldrl.recipes.parts import encoder_name, need, pipeline_at, tokens_of


@dataclass(frozen=True)
class Task:
    """One task's episodes.

    Attributes:
        name: Of the task among others; empty for a single one.
        dataset: The episodes.
        tokens: The same as they are observed.
        train: Which of them are learned from.
        held: Which are kept for calibration and figures.
        shape: Of an observation.
        pipeline: Hash of what observes.
        places: What the decoder of object tokens is told; None for frames.
        visual: Draws visual tokens as ``encode`` made it; None where there are none.
        tokenizer: Makes visual tokens; None where there are none.
        masks: Who segments.
        encoder: Name of the encoder; ``none`` where there is none.
    """

    name: str
    dataset: Any
    tokens: Any
    train: list[int]
    held: list[int]
    shape: tuple[int, ...]
    pipeline: str
    places: Any
    visual: Any
    tokenizer: Any
    masks: str
    encoder: str


def task_at(
    name: str,
    folder: Path,
    *,
    observation: str,
    features: str,
    tokens: str,
    held_out: float,
    without: Collection[str],
    seed: int,
) -> Task:
    """Observe the episodes of one task.

    Args:
        name: Of the task among others; empty for a single one.
        folder: Of its data set.
        observation: Folder of the observation pipeline, or of one a task.
        features: Folder of the feature cache, or of one a task; empty for none.
        tokens: Folder where observations are kept, or one a task; empty for memory.
        held_out: Share of the policy's episodes that are kept.
        without: Whose episodes are left out of training.
        seed: Of what paints objects over the frame.

    Raises:
        WorldRLError: If something is missing, damaged or of another pipeline.
    """
    import torch

    from worldrl.data.dataset import Dataset

    dataset = Dataset(folder)
    dataset.require("success", by="fit")
    cache = Path(features) / name if features else None
    with pipeline_at(need(str(Path(observation) / name), "observation pipeline"), cache) as pipeline:
        seen = tokens_of(dataset, pipeline, folder=Path(tokens) / name if tokens else None)
        train, held = split(seen.policies, held_out, without)
        torch.manual_seed(seed)  # what paints objects over the frame begins at random
        return Task(
            name=name,
            dataset=dataset,
            tokens=seen,
            train=train,
            held=held,
            shape=pipeline.shape,
            pipeline=pipeline.hash,
            places=pipeline.places() if len(pipeline.shape) == 2 else None,
            visual=visual_decoder(pipeline) if pipeline.visual else None,
            tokenizer=pipeline.tokenizer,
            masks=pipeline.masks,
            encoder=encoder_name(pipeline),
        )
