"""Annotate a few frames of a task: by the simulator, or by hand in any program that paints."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from omegaconf import MISSING

from worldrl.errors import ConfigError, DataError, first_line
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.parts import need
from worldrl.recipes.results import Result

COLOURS = (
    (0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180),
    (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40),
)  # fmt: skip
"""What a label is painted with, background first; colours that differ in every channel's thirds (our choice)."""
MAX_SIDE = 2048
"""Of a picture that is read, in pixels (our choice)."""
LEAST = 4
"""Pixels by which an object counts as seen."""


@dataclass
class Config:
    """Options of ``worldrl annotate``."""

    episodes: str = option(MISSING, "folder of the data set that the frames are taken from")
    out: str = option("", "folder of the annotations; must not exist")
    shots: int = option(3, "frames to annotate, of different episodes, that show every object between them")
    paint: str = option("", "folder of pictures to paint over: made where it is not there, read where it is")
    seed: int = option(0, "of the choice of frames")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(shots=self.shots)
        if not self.out and not self.paint:
            raise ConfigError("out or paint must be given: out=FOLDER annotates, paint=FOLDER makes pictures to paint.")


def run(config: Config) -> Result:
    """Choose frames; annotate them by the simulator's masks, or write pictures to paint, or read painted ones."""
    from worldrl.data.dataset import Dataset
    from worldrl.objects import Annotations

    dataset = Dataset(need(config.episodes, "data set"))
    if not config.paint:
        dataset.require("labels", by="annotate without paint=FOLDER")
    objects = tuple(dataset.manifest.objects)
    if len(objects) >= len(COLOURS):
        raise ConfigError(f"objects must be fewer than {len(COLOURS)} to be painted, got {len(objects)}.")
    if config.out and Path(config.out).exists():
        raise ConfigError(f"out must be a new folder, got '{config.out}': name another.")
    frames, labels = _choose(dataset, config.shots, seed=config.seed)
    if config.paint and not Path(config.paint).exists():
        return _to_paint(Path(config.paint), frames, objects)
    by = "simulator"
    if config.paint:
        frames, labels, by = *_painted(Path(config.paint), objects), "hand"
    if not config.out:
        raise ConfigError(f"out must be given to keep what is painted in '{config.paint}'.")
    Annotations(frames, labels, objects, dataset.manifest.env_id).save_pretrained(Path(config.out))
    text = f"annotated {config.out}: {len(frames)} frames by {by}, objects {', '.join(objects)}"
    figures = {"out": config.out, "task": dataset.manifest.env_id, "frames": len(frames), "by": by, "objects": objects}
    return Result(text, figures)


def _choose(dataset: Any, shots: int, *, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return frames of different episodes: each shows most of what those before it have not shown."""
    rng = np.random.default_rng(seed)
    frames, labels, shown = [], [], set[int]()
    for i in rng.permutation(len(dataset))[:shots]:
        episode = dataset[int(i)]
        seen = [_seen(np.asarray(one)) for one in episode.labels]
        places = rng.permutation(len(seen))
        at = int(max(places, key=lambda place: (len(seen[place] - shown), len(seen[place]))))
        shown |= seen[at]
        frames.append(np.asarray(episode.frames[at]))
        labels.append(np.asarray(episode.labels[at]))
    return np.stack(frames), np.stack(labels)


def _seen(labels: npt.NDArray[np.uint8]) -> set[int]:
    values, counts = np.unique(labels, return_counts=True)
    return {int(value) for value, count in zip(values, counts, strict=True) if value and count >= LEAST}


def _to_paint(folder: Path, frames: npt.NDArray[np.uint8], objects: tuple[str, ...]) -> Result:
    """Write each frame, a black picture to paint its masks into, and what to paint with."""
    import imageio.v3 as iio

    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        iio.imwrite(folder / f"frame-{i}.png", frame)
        iio.imwrite(folder / f"mask-{i}.png", np.zeros_like(frame))
    lines = [f"{name}: rgb{COLOURS[label]}" for label, name in enumerate(objects, start=1)]
    (folder / "colours.txt").write_text("\n".join(["background: rgb(0, 0, 0)", *lines]) + "\n")
    text = (
        f"{folder} holds {len(frames)} frames: paint mask-0.png and so on in the colours of colours.txt, without soft "
        "edges, and run this again with out=FOLDER."
    )
    return Result(text, {"paint": folder, "frames": len(frames), "objects": objects})


def _painted(folder: Path, objects: tuple[str, ...]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read frames and their painted masks.

    Raises:
        DataError: If a picture is missing or has another size, or a colour is none of those to paint with.
    """
    frames, labels = [], []
    known = np.array(COLOURS[: len(objects) + 1])
    for file in sorted(folder.glob("frame-*.png")):
        mask = folder / file.name.replace("frame", "mask")
        if not mask.exists():
            raise DataError(f"{mask} must be there: it is the mask of {file.name}.")
        frame, painted = (_picture(path) for path in (file, mask))
        if frame.shape != painted.shape:
            raise DataError(f"{mask} must have the size of its frame, {frame.shape[:2]}, got {painted.shape[:2]}.")
        away = np.abs(painted[:, :, None].astype(int) - known).sum(axis=-1)
        if away.min(axis=-1).max() > 0:
            row, column = np.unravel_index(away.min(axis=-1).argmax(), away.shape[:2])
            raise DataError(
                f"{mask} must be painted in the colours of colours.txt, got rgb{tuple(painted[row, column].tolist())} "
                f"at row {row}, column {column}: paint without soft edges."
            )
        frames.append(frame)
        labels.append(away.argmin(axis=-1).astype(np.uint8))
    if not frames:
        raise DataError(f"no frame-0.png in {folder}: it must be a folder that annotate has made.")
    return np.stack(frames), np.stack(labels)


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    """Read one picture ``(h, w, 3)``; its size is looked at before memory is taken for it.

    Raises:
        DataError: If it is damaged or too large.
    """
    from PIL import Image

    try:
        # From memory: from a file as many bytes are made room for as a damaged length asks for.
        with Image.open(io.BytesIO(path.read_bytes()), formats=("PNG",)) as picture:
            side = max(picture.size)
            pixels = np.asarray(picture.convert("RGB")) if side <= MAX_SIDE else None
    except Exception as error:  # Pillow answers a damaged picture with whatever its reader trips over
        raise DataError(f"{path} cannot be read as a picture: {first_line(error)}.") from error
    if pixels is None:
        raise DataError(f"{path} must have sides of at most {MAX_SIDE} pixels, got {side}.")
    return pixels
