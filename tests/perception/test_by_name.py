"""A list of names finds things in frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError
from worldrl.perception.by_name import NamedMasks

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Dense:
    patches: Tensor
    grid: tuple[int, int]


class Towers:
    """Places are their own colour, and a text is the colour that it names; the table is of no colour."""

    scale = 30.0

    def dense(self, frames: np.ndarray) -> Dense:
        cells = torch.from_numpy(frames[:, 8::16, 8::16].copy()).float() / 255
        side = cells.shape[1]
        return Dense(cells.reshape(len(cells), -1, 3) + 0.02, (side, side))

    def texts(self, texts: Sequence[str], context: Tensor | None = None) -> Tensor:
        rows = [[float(colour in text.split()) for colour in COLOURS] for text in texts]
        return F.normalize(torch.tensor(rows) + 1e-3, dim=-1)


def frame() -> np.ndarray:
    image = np.full((128, 128, 3), 90, np.uint8)
    image[32:64, 32:64] = (255, 0, 0)
    image[80:112, 64:112] = (0, 0, 255)
    return image


def test_each_name_finds_the_piece_that_it_calls_and_a_stranger_finds_none() -> None:
    (found,) = NamedMasks(Towers(), ["blue thing", "red thing", "green thing"], sure=0.5)(frame()[None])
    assert found.shape == (128, 128)
    assert found[48, 48] == 2 and found[96, 88] == 1 and found[8, 8] == 0 and not (found == 3).any()


def test_what_is_rather_called_by_a_rival_is_none_of_the_names() -> None:
    (found,) = NamedMasks(Towers(), ["green thing"], rivals=["red thing", "blue thing"], sure=0.5)(frame()[None])
    assert not found.any()


def test_names_and_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="names must differ, got 'red thing' 2 times"):
        NamedMasks(Towers(), ["red thing", "red thing"])
    with pytest.raises(ConfigError, match=r"sure must be in \[0, 1\], got 2"):
        NamedMasks(Towers(), ["red thing"], sure=2)
