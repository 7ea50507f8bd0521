"""One token of each of several encoder layers inside a frozen language model (eP-ALM), against a prefix of patches."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from worldrl.encoders.frozen import seeded
from worldrl.errors import ConfigError
from worldrl.language.bridges import SoftPrefix
from worldrl.language.causal_lm import CausalLM, load_language_model
from worldrl.language.ep_alm import InsertedTokens
from worldrl.language.limber import LinearPrefix
from worldrl.recipes.options import check_positive, option
from worldrl.recipes.studies import class_tokens
from worldrl.recipes.studies.bridging import (
    NOTHING,
    Split,
    chosen_of,
    judge_answers,
    judge_captions,
    needs_of,
    parameters,
    patches_of,
    teach,
)  # fmt: skip
from worldrl.recipes.studies.stock import Figures, Need, Stock

BRIDGES = ("inserted", "patches", "soft")
SOURCES = ("dinov2", "random_dinov2")


@dataclass
class Options:
    """Options of an arm."""

    bridge: str = option("inserted", "inserted (tokens of layers), patches (LiMBeR), soft (one learned vector: blind)")
    source: str = option("dinov2", f"frozen encoder: {', '.join(SOURCES)}")
    layers: int = option(6, "encoder layers whose tokens are inserted, the last ones")
    token: str = option("class", "what is read of a layer: class (its class token) or mean (its mean patch)")
    scenes: int = option(1200, "training scenes, drawn by the seed")
    questions: float = option(0.5, "share of the texts that are questions with their answers")
    steps: int = option(400, "gradient steps")
    batch: int = option(32, "texts a step")
    rate: float = option(5e-3, "highest learning rate")
    told: int = option(150, "test scenes that are told and asked about")

    def check(self) -> None:
        """Refuse options out of range."""
        if self.bridge not in BRIDGES:
            raise ConfigError(f"bridge must be one of {', '.join(BRIDGES)}, got '{self.bridge}'.")
        if self.source not in SOURCES:
            raise ConfigError(f"source must be one of {', '.join(SOURCES)}, got '{self.source}'.")
        if self.token not in class_tokens.TOKENS:
            raise ConfigError(f"token must be one of {', '.join(class_tokens.TOKENS)}, got '{self.token}'.")
        if not 1 <= self.layers <= len(class_tokens.LAYERS):
            raise ConfigError(f"layers must be in [1, {len(class_tokens.LAYERS)}], got {self.layers}.")
        if not 0 <= self.questions < 1:
            raise ConfigError(f"questions must be in [0, 1), got {self.questions:g}.")
        check_positive(scenes=self.scenes, steps=self.steps, batch=self.batch, rate=self.rate, told=self.told)


def needs(options: Options) -> tuple[Need, ...]:
    """Return what must be made before; tokens of layers are made by the first arm that reads them."""
    return needs_of(options.source if options.bridge == "patches" else NOTHING)


def run(options: Options, *, seed: int, stock: Stock, folder: Path) -> Figures:
    """Train a bridge on captions and questions of base classes; tell test scenes and answer questions about them."""
    model = load_language_model(stock.language_model("captions", seed))
    train, test = (_read(options, split, stock, seed) for split in ("train", "test"))
    chosen = chosen_of(train.scenes, options.scenes, seed)
    bridge = seeded(lambda: _bridge(options, model, train, chosen), seed)
    loss = teach(
        bridge, model, train, chosen=chosen, share=options.questions, steps=options.steps, batch=options.batch,
        rate=options.rate, seed=seed,
    )  # fmt: skip
    path = folder / "picture.png" if seed == 0 else None
    said = judge_captions(bridge, model, test, train=train, count=options.told, path=path)
    answered = judge_answers(bridge, model, test, count=options.told, seed=0)
    return {**said, **answered, "train_loss": loss, "parameters": parameters(bridge)}


def _read(options: Options, split: str, stock: Stock, seed: int) -> Split:
    if options.bridge != "inserted":
        return patches_of(options.source if options.bridge == "patches" else NOTHING, split, stock=stock, seed=seed)
    tokens = class_tokens.read(options.source, split, stock=stock, token=options.token)
    return Split(stock.scenes(split), tokens[:, -options.layers :])


def _bridge(options: Options, model: CausalLM, train: Split, chosen: list[int]) -> nn.Module:
    if options.bridge == "soft":
        return SoftPrefix(width=model.width, length=1)
    if options.bridge == "patches":
        return LinearPrefix(train.features[chosen], width=model.width)
    return InsertedTokens(train.features[chosen], width=model.width, depth=model.depth)
