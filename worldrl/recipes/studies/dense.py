"""What frozen towers say of every place of scenes, computed once for the studies that segment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldrl import checkpoint
from worldrl.recipes.studies.stock import Stock

KIND = "dense_features"
SCENES = {"train": 500, "test": 300, "shift": 100}
"""Scenes of each split at most; the seed chooses those of training."""
CHUNK = 25


@dataclass(frozen=True)
class Dense:
    """Dense features of some scenes of a split.

    Attributes:
        rows: ``(n,)`` numbers of the scenes.
        whole: ``(n, e)`` of the pictures, in the space of texts.
        patches: ``(n, p, e)`` of their places.
        stem: ``(n, p, d)`` the frozen map below.
        grid: Rows and columns of places.
    """

    rows: Tensor
    whole: Tensor
    patches: Tensor
    stem: Tensor
    grid: tuple[int, int]


def make(folder: Path, *, stock: Stock, kind: str, seed: int) -> None:
    """Compute the dense features of towers for all splits and save them as float16.

    Args:
        folder: Where they go.
        stock: Has the scenes and the towers.
        kind: Of the towers.
        seed: Of the towers, and of the choice of training scenes.
    """
    from worldrl.language.two_tower import TwoTower

    towers = TwoTower.from_pretrained(stock.towers(kind, seed))
    tensors, grid = dict[str, Tensor](), (0, 0)
    for split, most in SCENES.items():
        scenes = stock.scenes(split)
        order = np.random.default_rng(seed).permutation(len(scenes)) if split == "train" else np.arange(len(scenes))
        rows = np.sort(order[:most])
        parts: dict[str, list[Tensor]] = {"whole": [], "patches": [], "stem": []}
        for start in range(0, len(rows), CHUNK):
            cells = towers.cells(np.array(scenes.images[rows[start : start + CHUNK]]))
            seen = towers.see(cells)
            grid = seen.grid
            for name, part in (("whole", seen.whole), ("patches", seen.patches), ("stem", cells.rows)):
                parts[name].append(part.half())
        tensors |= {f"{split}.{name}": torch.cat(found) for name, found in parts.items()}
        tensors[f"{split}.rows"] = torch.from_numpy(rows)
    checkpoint.save(folder, kind=KIND, config={"grid": list(grid)}, tensors=tensors)


def read(folder: Path) -> dict[str, Dense]:
    """Return the dense features of every split, as float32.

    Raises:
        CheckpointError: If they are missing or damaged.
    """
    loaded = checkpoint.load(folder, kind=KIND)
    rows, columns = (int(side) for side in loaded.config["grid"])
    found = {}
    for split in SCENES:
        values = {name: loaded.tensors[f"{split}.{name}"] for name in ("rows", "whole", "patches", "stem")}
        floats = {name: value.float() for name, value in values.items() if name != "rows"}
        found[split] = Dense(values["rows"], grid=(rows, columns), **floats)
    return found
