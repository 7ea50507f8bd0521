"""What studies of bridges into a language model share: what is read, what is to be said, and how it is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldrl.data.captions import caption_of
from worldrl.data.scenes import SceneSet
from worldrl.errors import ConfigError
from worldrl.evaluation import drawing
from worldrl.language.causal_lm import CausalLM
from worldrl.language.limber import by_columns, halved, painted
from worldrl.language.recall import chance, recall
from worldrl.language.telling import PROMPT, Told, answers, fit_bridge, spell, tell, tell_loss
from worldrl.recipes.studies.stock import ENCODERS, Figures, Need, Stock, features_of, on_scenes
from worldrl.scene import NAMES, SHAPES

LABELS, NOTHING, TOWERS = "labels", "none", "towers"
SOURCES = (*ENCODERS, TOWERS, LABELS, NOTHING)
"""What a bridge may read: an encoder's patches, towers', the true labels in their place (a ceiling), or nothing."""
LABEL_GRID = (8, 8)
PICTURED = 6
ASKED = 4
"""Questions about each test scene that are judged."""
CHUNK = 64


@dataclass(frozen=True)
class Split:
    """Scenes and what a bridge reads of them ``(n, p, d)``."""

    scenes: SceneSet
    features: Tensor


def needs_of(source: str) -> tuple[Need, ...]:
    """Return what must be made before patches of a source are read."""
    model = Need("language_model", "captions")
    if source == TOWERS:
        return (*on_scenes("train", "test"), Need("towers", "captions"), model)
    if source in ENCODERS:
        return (*features_of(source, "train", "test"), model)
    return (*on_scenes("train", "test"), model)


def patches_of(source: str, split: str, *, stock: Stock, seed: int) -> Split:
    """Return the scenes of a split and their patches, column by column, two by two in one where sides are even.

    A caption goes from left to right, and so does the language model when patches come column by column (our choice).

    Args:
        source: One of ``SOURCES``.
        split: Of the scenes.
        stock: Where they are.
        seed: Of the towers.
    """
    scenes = stock.scenes(split)
    if source == NOTHING:
        return Split(scenes, torch.zeros(len(scenes), 1, 1))
    if source == LABELS:
        return Split(scenes, by_columns(_labels(scenes), LABEL_GRID))
    if source == TOWERS:
        from worldrl.language.two_tower import TwoTower

        towers = TwoTower.from_pretrained(stock.towers("captions", seed))
        with torch.no_grad():
            parts = [towers.dense(np.array(scenes.images[i : i + CHUNK])) for i in range(0, len(scenes), CHUNK)]
        patches, grid = torch.cat([part.patches for part in parts]), parts[0].grid
    else:
        features = stock.features(source, split)
        patches, grid = features.patches, features.grid
    if grid[0] % 2 == grid[1] % 2 == 0:
        patches, grid = halved(patches, grid), (grid[0] // 2, grid[1] // 2)
    return Split(scenes, by_columns(patches, grid))


def _labels(scenes: SceneSet) -> Tensor:
    """Return the share of each cell that is of each shape and colour ``(n, 64, 16)``."""
    rows = []
    for i in range(len(scenes)):
        things = scenes.things(i)
        codes = [[0, 0], *([1 + thing.label, 1 + NAMES.index(thing.name) % len(SHAPES)] for thing in things)]
        maps = torch.from_numpy(np.array(codes)[np.asarray(scenes.instances[i])])
        rows.append(torch.cat([painted(maps[None, ..., j], LABEL_GRID, len(SHAPES)) for j in (0, 1)], dim=-1))
    return torch.cat(rows)


def captions(scenes: SceneSet, chosen: Sequence[int]) -> list[Told]:
    """Return the caption of each chosen scene: the list of its things."""
    return [Told(int(i), "", caption_of(scenes.things(int(i)))) for i in chosen]


def questions(scenes: SceneSet, chosen: Sequence[int]) -> list[Told]:
    """Return all questions about the chosen scenes with their answers."""
    return [Told(int(i), question, answer) for i in chosen for question, answer in scenes.questions(int(i))]


def mixed(told: list[Told], asked: list[Told], *, share: float) -> list[Told]:
    """Return captions as often as makes questions about a ``share`` in [0, 1) of the texts, and the questions."""
    if not share:
        return told
    return told * max(1, round(len(asked) * (1 - share) / (share * len(told)))) + asked


def check_source(source: str, *, option: str) -> None:
    """Refuse what no bridge reads.

    Raises:
        ConfigError: If it is none of ``SOURCES``.
    """
    if source not in SOURCES:
        raise ConfigError(f"{option} must be one of {', '.join(SOURCES)}, got '{source}'.")


def chosen_of(scenes: SceneSet, count: int, seed: int) -> list[int]:
    """Return which scenes are trained on: ``count`` of them, drawn by the seed."""
    return sorted(np.random.default_rng(seed).permutation(len(scenes))[:count].tolist())


def teach(
    bridge: nn.Module,
    model: CausalLM,
    train: Split,
    *,
    chosen: Sequence[int],
    share: float,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> float:
    """Train a bridge on captions and questions.

    Args:
        bridge: Changed in place.
        model: Frozen.
        train: Training scenes.
        chosen: Which of them.
        share: Of the texts that are questions, in [0, 1).
        steps: Gradient steps.
        batch: Texts a step.
        rate: Learning rate.
        seed: Of the batches.

    Returns:
        The loss at the end, nats a word.
    """
    told = mixed(captions(train.scenes, chosen), questions(train.scenes, chosen), share=share)
    return fit_bridge(bridge, model, train.features, told, steps=steps, batch_size=batch, lr=rate, seed=seed)


def judge_captions(
    bridge: Any, model: CausalLM, test: Split, *, train: Split, count: int, path: Path | None
) -> Figures:
    """Let the model tell the first test scenes, compare with what is there, and draw some.

    Args:
        bridge: Trained.
        model: Frozen.
        test: Test scenes.
        train: Training scenes, in which words are counted for a guess without a look.
        count: How many are told.
        path: Of the picture; None for none.

    Returns:
        The figures of ``recall`` and ``chance`` in ``worldrl.language.recall``, and ``caption_loss``, nats a word of
        the true captions.
    """
    count = min(count, len(test.scenes))
    things = [test.scenes.things(i) for i in range(count)]
    texts = [
        text for i in range(0, count, CHUNK) for text in tell(bridge, model, test.features[i : min(i + CHUNK, count)])
    ]
    with torch.no_grad():
        pieces, labels = spell(model, captions(test.scenes, range(count)))
        loss = tell_loss(model, bridge(test.features[:count]), pieces, labels)
    if path is not None:
        _draw(test.scenes, texts[:PICTURED], path)
    seen = [train.scenes.things(i) for i in range(len(train.scenes))]
    return {**recall(texts, things), **chance(texts, things, seen), "caption_loss": loss.item()}


def judge_answers(bridge: Any, model: CausalLM, test: Split, *, count: int, seed: int) -> Figures:
    """Ask a few questions about the first test scenes, the same whatever the bridge.

    Returns:
        Shares of right answers: ``answers`` to all questions, ``what_answers`` to those for a colour or a shape,
        ``is_answers`` to those for yes or no, and ``count_answers`` to how many things there are.
    """
    rng = np.random.default_rng(seed)
    asked = []
    for i in range(min(count, len(test.scenes))):
        of = questions(test.scenes, [i])
        asked += [of[0], *(of[int(j)] for j in 1 + rng.permutation(len(of) - 1)[: ASKED - 1])]
    said = answers(bridge, model, test.features, asked)
    kinds = {"answers": "", "what_answers": "what", "is_answers": "is", "count_answers": "how"}
    right = {
        name: [one.answer == word for one, word in zip(asked, said, strict=True) if one.prompt.startswith(begins)]
        for name, begins in kinds.items()
    }
    return {name: float(np.mean(of)) for name, of in right.items() if of}


def parameters(bridge: nn.Module) -> int:
    """Return how many numbers of a bridge are trained."""
    return sum(weight.numel() for weight in bridge.parameters() if weight.requires_grad)


def _draw(scenes: SceneSet, texts: Sequence[str], path: Path) -> None:
    from PIL import Image

    images = [np.array(scenes.images[i]) for i in range(len(texts))]
    said = [text.removeprefix(PROMPT).strip() for text in texts]
    Image.fromarray(drawing.sheet(images, columns=3, captions=said)).save(path)
