"""Captions of scenes through one linear map from an encoder's patches into a frozen language model (LiMBeR)."""

from dataclasses import dataclass
from pathlib import Path

from worldrl.encoders.frozen import seeded
from worldrl.language.bridges import SoftPrefix
from worldrl.language.causal_lm import load_language_model
from worldrl.language.limber import LinearPrefix
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies.bridging import (
    NOTHING,
    SOURCES,
    check_source,
    chosen_of,
    judge_captions,
    needs_of,
    parameters,
    patches_of,
    teach,
)  # fmt: skip
from worldrl.recipes.studies.stock import Figures, Need, Stock

BLIND = 4
"""Learned vectors of the blind control."""


@dataclass
class Options:
    """Options of an arm."""

    source: str = option("dinov2", f"whose patches are read: {', '.join(SOURCES)}")
    scenes: int = option(1200, "training scenes, drawn by the seed")
    steps: int = option(400, "gradient steps")
    batch: int = option(32, "captions a step")
    rate: float = option(5e-3, "highest learning rate")
    told: int = option(150, "test scenes that are told")

    def check(self) -> None:
        """Refuse options out of range."""
        check_source(self.source, option="source")
        check_positive(scenes=self.scenes, steps=self.steps, batch=self.batch, rate=self.rate, told=self.told)


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before."""
    return needs_of(options.source)


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Train the map on captions of base classes, and let the language model tell test scenes."""
    model = load_language_model(stock.language_model("captions", seed))
    train, test = (patches_of(options.source, split, stock=stock, seed=seed) for split in ("train", "test"))
    chosen = chosen_of(train.scenes, options.scenes, seed)
    bridge = seeded(
        lambda: (
            SoftPrefix(width=model.width, length=BLIND)
            if options.source == NOTHING
            else LinearPrefix(train.features[chosen], width=model.width)
        ),
        seed,
    )
    loss = teach(
        bridge, model, train, chosen=chosen, share=0.0, steps=options.steps, batch=options.batch, rate=options.rate,
        seed=seed,
    )  # fmt: skip
    path = folder / "picture.png" if seed == 0 else None
    found = judge_captions(bridge, model, test, train=train, count=options.told, path=path)
    return {**found, "train_loss": loss, "parameters": parameters(bridge)}
