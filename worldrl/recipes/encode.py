"""Turn frames into observations: fit the pipeline, and run the frozen encoder over every frame once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.facts import tell
from worldrl.recipes.options import EncoderOptions, ObjectOptions, check_observation, check_positive, option
from worldrl.recipes.parts import encoder_for, fit_pipeline, need, pipeline_at, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.telling import bar, say


@dataclass
class Config:
    """Options of ``worldrl encode``."""

    episodes: str = option(MISSING, "folder of the data set")
    out: str = option(MISSING, "folder of the observation pipeline; one that is there is used, not fitted again")
    features: str = option("", "folder of the feature cache; empty for none")
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    objects: ObjectOptions = field(default_factory=ObjectOptions)
    pixels: int = option(0, "observe frames of this many pixels a side instead of tokens; 0 for tokens")
    frames: int = option(3000, "frames to fit the pipeline on, at most")
    seed: int = option(0, "of the choice of frames")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(frames=self.frames)
        check_observation(self.encoder, self.objects, self.pixels, size=None)


def run(config: Config) -> Result:
    """Fit the pipeline if there is none, then encode every frame into the cache."""
    from worldrl.data.dataset import Dataset

    use_threads(config.threads)
    dataset = Dataset(need(config.episodes, "data set"))
    cache = Path(config.features) if config.features else None
    if not Path(config.out).exists():
        _fit(config, dataset, cache).save_pretrained(Path(config.out))
        tell(Path(config.out), task=dataset.manifest.env_id, episodes=len(dataset))
    with pipeline_at(Path(config.out), cache) as pipeline:
        show = bar("encode")
        for i, episode in enumerate(dataset):
            pipeline(np.asarray(episode.frames), np.asarray(episode.proprio), np.asarray(episode.labels))
            show(i + 1, len(dataset))
        what = "frames" if len(pipeline.shape) == 3 else "tokens"
        say(f"observation {config.out}: {what} {pipeline.shape}, masks: {pipeline.masks}, hash {pipeline.hash[:12]}")
        figures = {"out": config.out, "shape": pipeline.shape, "masks": pipeline.masks, "hash": pipeline.hash}
        figures |= {"episodes": len(dataset), "frames": dataset.num_steps + len(dataset)}
    return Result("", figures)


def _fit(config: Config, dataset: Any, cache: Path | None) -> Any:
    """Make the pipeline that the options name: of frames, or of tokens fitted on some of the recorded frames."""
    from worldrl.frame_observation import FramePipeline

    check_observation(config.encoder, config.objects, config.pixels, size=min(dataset.manifest.frame_shape[:2]))
    if config.pixels:
        return FramePipeline(config.pixels)
    frames, proprio, labels = _sample(dataset, config.frames, config.seed)
    with encoder_for(config.encoder, cache) as encoder:
        return fit_pipeline(
            frames, proprio, labels, objects=tuple(dataset.manifest.objects), task=dataset.manifest.env_id,
            options=config.objects, encoder=encoder, seed=config.seed,
        )  # fmt: skip


def _sample(dataset, count: int, seed: int):  # type: ignore[no-untyped-def]
    """Choose frames from all over the data set, in order."""
    owners = np.repeat(np.arange(len(dataset)), np.asarray(dataset.lengths) + 1)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(owners))[:count])
    first = np.cumsum(np.asarray(dataset.lengths) + 1) - (np.asarray(dataset.lengths) + 1)
    parts = []
    for i in np.unique(owners[chosen]):
        rows, episode = chosen[owners[chosen] == i] - first[i], dataset[int(i)]
        parts.append([np.asarray(array)[rows] for array in (episode.frames, episode.proprio, episode.labels)])
    return (np.concatenate([part[j] for part in parts]) for j in range(3))
