"""Measure masks against the simulator's, over whole episodes that none of the annotated frames is from."""

import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import MISSING

from worldrl.errors import ConfigError, DataError
from worldrl.recipes.config import changes
from worldrl.recipes.ledger import Ledger, over_seeds
from worldrl.recipes.options import EncoderOptions, ObjectOptions, check_observation, check_positive, option
from worldrl.recipes.parts import encoder_for, need, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.table import markdown
from worldrl.recipes.telling import bar, say

Frames = npt.NDArray[np.uint8]
Labeller = Callable[[Frames], Frames]
"""From the frames of an episode ``(t, h, w, 3)`` to their labels ``(t, h, w)``."""

NAMES = ("task", "method", "look", "encoder", "shots", "seed")
LOOKS = ("colour and features", "colour", "features")
"""What few-shot masks may look at; the last two say what of the first decides."""
OWN = {"tracks": "xfeat", "cutie": "cutie-small"}
"""Methods that look through a network of their own."""
SIDES = {"mobilesam": 512, "tracks": 768}
"""Pixels that frames are enlarged to where the options do not say."""
HEADER = (
    "task", "method", "looks at", "encoder", "mIoU over seeds", "by seed (95 % over episodes)",
    "episodes/frames of each seed", "frames/s", "frames/s, features cached", "tokens/s", "threads",
)  # fmt: skip
OBJECT_FIGURES = ("iou", "shown", "missed", "invented")


@dataclass
class Config:
    """Options of ``worldrl masks``."""

    episodes: str = option(MISSING, "folder of the data set; episodes with an annotated frame are left out")
    annotations: str = option(MISSING, "folder of annotated frames (worldrl annotate)")
    method: str = option("few_shot", "few_shot, tracks, cutie, or mobilesam, which follows objects from few_shot masks")
    encoder: EncoderOptions = field(default_factory=EncoderOptions)
    weights: str = option("", "file of the weights for cutie, the small model")
    features: str = option("", "folder of the feature cache; empty for none")
    out: str = option("runs/masks.json", "file of the figures; those in it are kept, the table is put beside it")
    held_out: int = option(20, "episodes to measure, at most")
    hints: bool = option(True, "whether mobilesam gets few_shot masks as hints in every frame, not in the first alone")
    side: int = option(0, "pixels that frames are enlarged to for mobilesam and tracks; 0 for 512 and 768")
    timed: int = option(32, "frames that the rates are timed on, at most")
    seed: int = option(0, "of the memory, and the name of the row; finished rows are not measured again")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(held_out=self.held_out, timed=self.timed)
        if self.side < 0:
            raise ConfigError(f"side must be 0 or more, got {self.side}.")
        check_observation(self.encoder, ObjectOptions(), 0, size=None)
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got '{self.method}'.")


def run(config: Config) -> Result:
    """Measure, write the figures to the others, and return the table of all."""
    from worldrl.data.dataset import Dataset
    from worldrl.objects import Annotations

    use_threads(config.threads)
    dataset = Dataset(need(config.episodes, "data set"))
    annotations = Annotations.from_pretrained(need(config.annotations, "annotations"))
    size = dataset.manifest.frame_shape[:2]
    annotations.require(task=dataset.manifest.env_id, size=(size[0], size[1]))
    check_observation(config.encoder, ObjectOptions(), 0, size=min(size))
    if annotations.objects != tuple(dataset.manifest.objects):
        raise DataError(f"annotations must be of {dataset.manifest.objects}, got {annotations.objects}.")
    held_out = _held_out(dataset, annotations, config.held_out)
    ledger = Ledger(Path(config.out), NAMES)
    method = config.method + ("" if config.hints or config.method != "mobilesam" else ", no hints")
    with encoder_for(config.encoder, Path(config.features) if config.features else None) as encoder:
        for look in _looks(config):
            names = {"task": annotations.task, "method": method, "look": look, "shots": len(annotations)}
            names |= {"encoder": _encoder_name(config, look), "seed": config.seed}
            if names in ledger:
                say(f"{config.out} has {', '.join(map(str, names.values()))} already")
                continue
            row = names | _measured(config, annotations, held_out, encoder, look)
            ledger.add(row, table=table)
    return Result(table(ledger.rows), {"out": config.out, "rows": ledger.rows})


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as markdown: one table of methods, one of objects, and the commands."""
    groups = over_seeds(rows, NAMES[:-1])
    lines, objects = [], []
    for (task, method, look, encoder, _), runs in groups.items():
        lines.append([task, method, look, encoder, *_line(runs)])
        for i, one in enumerate(runs[0]["objects"]):
            each = [[run["objects"][i][name] for run in runs] for name in OBJECT_FIGURES]
            objects.append([task, method, look, one["name"], *map(_told, each)])
    commands = list(dict.fromkeys(row["command"] for row in rows))
    return "\n".join([
        "Masks against the simulator's: IoU of every object in every frame that shows it, averaged over frames and "
        "objects within an episode, then over episodes that hold none of the annotated frames. Rates are of one "
        "episode, on a machine that others may have used too.", "",
        markdown(HEADER, lines), "",
        "Each object, means over seeds. `shown`: share of the frames that show it; `missed`: of those, in which "
        "nothing is taken for it; `invented`: of the others, in which something is.", "",
        markdown(("task", "method", "looks at", "object", *OBJECT_FIGURES), objects), "",
        "Made by:", "", "```", *commands, "```", "",
    ])  # fmt: skip


def _looks(config: Config) -> tuple[str, ...]:
    """Return what the masks look at: few-shot masks one after the other at all, at colour alone, at features alone."""
    if config.method in OWN:
        return ("points" if config.method == "tracks" else "video",)
    if config.method != "few_shot":
        return (LOOKS[0] if config.encoder.name != "none" else LOOKS[1],)
    return LOOKS if config.encoder.name != "none" else (LOOKS[1],)


def _encoder_name(config: Config, look: str) -> str:
    """Return what the table calls the encoder that the masks look through."""
    if look == "colour":
        return "none"
    if config.method in OWN:
        return OWN[config.method]
    return config.encoder.name + (" (random)" if config.encoder.random_init else "")


def _held_out(dataset: Any, annotations: Any, count: int) -> list[Any]:
    """Return episodes without an annotated frame.

    Raises:
        DataError: If there are none.
    """
    known = {frame.tobytes() for frame in annotations.frames}
    strange = [
        i for i, episode in enumerate(dataset)
        if known.isdisjoint(np.asarray(frame).tobytes() for frame in episode.frames)
    ]  # fmt: skip
    if not strange:
        raise DataError("every episode holds an annotated frame: collect more, or annotate frames of fewer.")
    return [dataset[i] for i in strange[:count]]


def _measured(config: Config, annotations: Any, episodes: list[Any], encoder: Any, look: str) -> dict[str, Any]:
    """Return the figures of one row."""
    import torch

    from worldrl.evaluation.masks import compare

    frames = [np.asarray(episode.frames) for episode in episodes]
    label, bare = METHODS[config.method](config, annotations, encoder, look)
    some = frames[0][: config.timed]
    rates = {"frames_per_second": _rate(bare, some)}
    show, found = bar(f"{config.method}, {look}"), []
    for i, one in enumerate(frames):
        found.append(label(one))
        show(i + 1, len(frames))
    if look in ("features", LOOKS[0]):
        rates["frames_per_second_cached"] = _rate(label, some)
    if look != "features":
        rates["tokens_per_second"] = _tokens_per_second(config, annotations, episodes[0], bare, encoder, look)
    true = [np.asarray(episode.labels) for episode in episodes]
    figures = asdict(compare(found, true, objects=annotations.objects, seed=config.seed))
    command = shlex.join(["worldrl", "masks", *changes(config)])
    return figures | rates | {"episodes": len(frames), "threads": torch.get_num_threads(), "command": command}


def _rate(label: Labeller, frames: Frames) -> float:
    began = time.perf_counter()
    label(frames)
    return len(frames) / (time.perf_counter() - began)


def _tokens_per_second(
    config: Config, annotations: Any, episode: Any, label: Labeller, encoder: Any, look: str
) -> float:
    """Return the rate at which the whole pipeline makes tokens, proprioception included, of frames it has not seen."""
    from worldrl.observation import ObservationPipeline

    frames, proprio, true = (np.asarray(part) for part in (episode.frames, episode.proprio, episode.labels))
    bare = None if encoder is None or look == "colour" else encoder.encoder
    own = config.method == "few_shot"
    fitted = ObservationPipeline.fit(
        frames, proprio, true, objects=annotations.objects, masks="few_shot" if own else "simulator",
        encoder=bare, components=min(8, len(frames) - 1), annotations=annotations if own else None, seed=config.seed,
    )  # fmt: skip
    some, began = slice(0, config.timed), time.perf_counter()
    tokens = fitted(frames[some], proprio[some], None if own else label(frames[some]))
    return float(tokens.shape[0] * tokens.shape[1] / (time.perf_counter() - began))


def _few_shot(config: Config, annotations: Any, encoder: Any, look: str) -> tuple[Labeller, Labeller]:
    """Label each frame by a memory of the annotated ones; without their colours, where only features are looked at."""
    from worldrl.objects import FewShotMasks

    blank = look == "features"
    reader = None if look == "colour" else encoder
    shown = replace(annotations, frames=np.zeros_like(annotations.frames)) if blank else annotations
    memory = FewShotMasks.fit(shown, None if reader is None else reader(annotations.frames), seed=config.seed)

    def label(frames: Frames, by: Any) -> Frames:
        features = None if by is None else by(frames)
        return memory(np.zeros_like(frames) if blank else frames, features).numpy().astype(np.uint8)

    return (lambda frames: label(frames, reader)), (lambda frames: label(frames, reader and reader.encoder))


def _mobilesam(config: Config, annotations: Any, encoder: Any, look: str) -> tuple[Labeller, Labeller]:
    """Follow each object with MobileSAM, from few-shot masks of the first frame and with those of the others."""
    from worldrl.encoders.segmenter import Segmenter
    from worldrl.objects.tracking import PromptedMasks

    masks = PromptedMasks(Segmenter(side=config.side or SIDES["mobilesam"]), objects=len(annotations.objects))

    def follow(frames: Frames, hints: Frames) -> Iterator[Frames]:
        masks.begin(hints[0])
        for frame, hint in zip(frames, hints, strict=True):
            yield masks.follow(frame, hint=hint if config.hints else None)

    def of(few: Labeller) -> Labeller:
        return lambda frames: np.stack(list(follow(frames, few(frames))))

    cached, bare = _few_shot(config, annotations, encoder, look)
    return of(cached), of(bare)


def _tracks(config: Config, annotations: Any, encoder: Any, look: str) -> tuple[Labeller, Labeller]:
    """Move the annotated masks with the points on them."""
    from worldrl.objects.tracks import PointTracks, XFeatPoints

    return _in_order(PointTracks(annotations, XFeatPoints(side=config.side or SIDES["tracks"])))


def _cutie(config: Config, annotations: Any, encoder: Any, look: str) -> tuple[Labeller, Labeller]:
    """Follow objects with Cutie, which has seen the annotated frames."""
    from worldrl.objects.cutie import CutieMasks, load_cutie

    return _in_order(CutieMasks(annotations, load_cutie(Path(config.weights))))


def _in_order(tracker: Any) -> tuple[Labeller, Labeller]:
    """Label the frames of an episode one after the other."""

    def label(frames: Frames) -> Frames:
        tracker.begin()
        return np.stack([tracker.follow(frame) for frame in frames])

    return label, label


METHODS: dict[str, Callable[[Config, Any, Any, str], tuple[Labeller, Labeller]]] = {
    "few_shot": _few_shot,
    "mobilesam": _mobilesam,
    "tracks": _tracks,
    "cutie": _cutie,
}
"""How to label: each gives two ways of it, one with features from the cache and one with an encoder that has none."""


def _line(runs: list[dict[str, Any]]) -> list[str]:
    means = [run["iou"]["mean"] for run in runs]
    each = [
        f"{run['iou']['mean']:.3f} [{run['iou']['interval']['low']:.3f}, {run['iou']['interval']['high']:.3f}]"
        for run in runs
    ]
    rates = [
        _told([run.get(name) for run in runs], digits=1)
        for name in ("frames_per_second", "frames_per_second_cached", "tokens_per_second")
    ]
    counts = ", ".join(f"{run['episodes']}/{run['frames']}" for run in runs)
    threads = ", ".join(sorted({str(run["threads"]) for run in runs}))
    return [f"{np.mean(means):.3f}", "; ".join(each), counts, *rates, threads]


def _told(values: list[float | None], digits: int = 2) -> str:
    there = [value for value in values if value is not None]
    return f"{np.mean(there):.{digits}f}" if there else "-"
