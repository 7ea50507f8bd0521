"""Make random labelled scenes, export them, and show them as one picture: ``worldrl scenes make|show``."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.parts import need
from worldrl.recipes.results import Result
from worldrl.scene import BASE, NAMES, NOVEL, Scene

ACTIONS = ("make", "show")
CLASSES = {"all": NAMES, "base": BASE, "novel": NOVEL}


@dataclass
class Config:
    """Options of ``worldrl scenes``."""

    action: str = option(MISSING, f"what to do: {', '.join(ACTIONS)}")
    out: str = option("runs/scenes", "folder of the scenes; for make it must not exist")
    count: int = option(100, "scenes to make, at most 2,000 a folder")
    size: int = option(224, "height and width of a picture in pixels")
    classes: str = option("all", f"what may stand on the table: {', '.join(CLASSES)}")
    names: list[str] = field(
        default_factory=list, metadata={"help": "instead of classes, the names, such as 'red cube'; each once"}
    )
    shifted: bool = option(False, "draw the shifted domain: another light, another camera, another table")
    seed: int = option(0, "of everything")
    coco: str = option("", "also export them in the form of COCO into this new folder")
    picture: str = option("", "file of the contact sheet; empty for contact.png beside the scenes")
    shown: int = option(12, "scenes on the contact sheet")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.action not in ACTIONS:
            raise ConfigError(f"action must be one of {', '.join(ACTIONS)}, got '{self.action}'.")
        if self.classes not in CLASSES:
            raise ConfigError(f"classes must be one of {', '.join(CLASSES)}, got '{self.classes}'.")
        check_positive(count=self.count, shown=self.shown)


def run(config: Config) -> Result:
    """Make scenes if that is asked for, and show them."""
    from worldrl.data.scenes import read_scenes

    out = Path(config.out)
    if config.action == "make":
        make(
            out, count=config.count, seed=config.seed, size=config.size, shifted=config.shifted,
            names=tuple(config.names) or CLASSES[config.classes],
        )  # fmt: skip
    need(config.out, "scenes")
    scenes = read_scenes(out)
    told = f"{len(scenes)} scenes of {scenes.size}x{scenes.size} pixels in {out}"
    figures: dict[str, Any] = {"out": out, "scenes": len(scenes), "size": scenes.size}
    if config.coco:
        from worldrl.data.coco import export_coco

        figures["coco"] = export_coco(scenes, Path(config.coco))
        told += f"; as COCO in {figures['coco']}"
    picture = Path(config.picture) if config.picture else out / "contact.png"
    show(out, picture, count=config.shown)
    figures |= {"picture": picture, "shown": min(config.shown, len(scenes))}
    return Result(f"{told}; {figures['shown']} of them with their labels in {picture}", figures)


def make(
    folder: Path, *, count: int, seed: int, size: int = 224, names: tuple[str, ...] = NAMES, shifted: bool = False
) -> None:
    """Draw scenes and write them with captions and questions.

    Raises:
        ConfigError: If an option is out of range, or a name is empty, unknown or twice there.
        DataError: If the folder is there already.
    """
    from worldrl.data.scenes import LIMIT, write_scenes
    from worldrl.envs.scenes import draw_scenes

    if count > LIMIT:
        raise ConfigError(f"count must be at most {LIMIT} a folder, got {count}: make several folders.")
    if folder.exists():
        raise ConfigError(f"out must be a new folder, got '{folder}': name another.")
    drawn = draw_scenes(count, seed=seed, size=size, names=names, shifted=shifted)
    meta = {"seed": seed, "domain": "shifted" if shifted else "usual", "names": list(names), "labels": "simulator"}
    write_scenes(folder, _told(drawn, seed), meta=meta)


def _told(scenes: Iterator[Scene], seed: int) -> Iterator[Scene]:
    from worldrl.data.captions import captions_of, questions_of

    for i, scene in enumerate(scenes):
        captions = captions_of(scene.things, seed=1_000_003 * seed + i)
        yield replace(scene, captions=captions, questions=questions_of(scene.things))


def show(folder: Path, picture: Path, *, count: int) -> None:
    """Write a contact sheet: pictures with boxes, names and captions, below them masks, cubes and depth.

    Args:
        folder: Of the scenes.
        picture: The file.
        count: How many scenes, the first of the folder.
    """
    import imageio.v3 as iio
    import numpy as np

    from worldrl.data.scenes import read_scenes
    from worldrl.evaluation import drawing

    scenes = read_scenes(folder)
    images, captions = [], []
    for i in range(min(count, len(scenes))):
        scene = scenes[i]
        named = drawing.boxes(
            scene.image, np.stack([thing.box for thing in scene.things]), [thing.name for thing in scene.things]
        )
        corners = np.stack([scene.camera.project(thing.corners()) for thing in scene.things])
        cubed = drawing.cubes(drawing.masks(scene.image, scene.instances, alpha=0.4), corners)
        images += [named, cubed, drawing.heat(scene.image, -scene.depth, alpha=0.9)]
        question, answer = scene.questions[i % len(scene.questions)]
        captions += [scene.captions[0], f"{question} {answer}", "depth, near is red"]
    picture.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(picture, drawing.sheet(images, columns=6, captions=captions))
