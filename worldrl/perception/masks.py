"""Masks and maps as tensors: features pooled inside masks, maps brought to another size, true masks to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from worldrl.errors import ConfigError


@dataclass(frozen=True)
class TrueMasks:
    """What is to be found in one picture.

    Attributes:
        masks: ``(n, h, w)`` float32, 0 or 1.
        classes: ``(n,)`` numbers of their classes, from 0.
    """

    masks: Float[Tensor, "n h w"]
    classes: Int[Tensor, " n"]


def to_map(patches: Float[Tensor, "b p d"], grid: tuple[int, int]) -> Float[Tensor, "b d i j"]:
    """Return patches as a map.

    Raises:
        ValueError: If they are not those of the grid.
    """
    if patches.ndim != 3 or patches.shape[1] != grid[0] * grid[1]:
        count = grid[0] * grid[1]
        raise ValueError(f"patches must be (b, {count}, d) for a grid of {grid}, got {tuple(patches.shape)}.")
    return rearrange(patches, "b (i j) d -> b d i j", i=grid[0])


def resized(maps: Float[Tensor, "b d i j"], size: tuple[int, int]) -> Float[Tensor, "b d h w"]:
    """Return maps of another size: bilinear, or the mean of what falls into a cell where they become smaller."""
    if maps.shape[-2:] == size:
        return maps
    if size[0] < maps.shape[-2]:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def pool(
    patches: Float[Tensor, "b p d"], grid: tuple[int, int], masks: Float[Tensor, "b q h w"]
) -> Float[Tensor, "b q d"]:
    """Return the mean feature inside each mask; zeros where a mask is empty.

    Args:
        patches: Row-major over the grid.
        grid: Rows and columns of patches.
        masks: In [0, 1]; a patch counts by the share of it that a mask covers.
    """
    to_map(patches[:1], grid)  # refuses another grid
    shares = rearrange(resized(masks, grid), "b q i j -> b q (i j)")
    total = reduce(shares, "b q p -> b q 1", "sum")
    return einsum(shares, patches, "b q p, b p d -> b q d") / total.clamp_min(1e-6)


def class_map(instances: npt.NDArray[np.uint8], numbers: Sequence[int], *, stride: int = 1) -> npt.NDArray[np.int64]:
    """Return the class of each pixel of a labelled scene, seen at the middle of every ``stride``-th one.

    Args:
        instances: ``(h, w)``: 0 where there is no thing, ``i + 1`` for the ``i``-th.
        numbers: The class of each thing, from 0; below 0 for one that is not to be named.
        stride: Pixels to a cell.

    Returns:
        ``(h / stride, w / stride)``: 0 where there is no thing, and one more than the class's number elsewhere.
    """
    table = np.concatenate([[0], np.asarray(numbers, np.int64) + 1])
    return np.asarray(table[instances[stride // 2 :: stride, stride // 2 :: stride]].clip(0))


def true_masks(instances: npt.NDArray[np.uint8], numbers: Sequence[int], *, stride: int = 1) -> TrueMasks:
    """Return the masks of a labelled scene's things, without those that no cell sees or that are not to be named.

    Args:
        instances: ``(h, w)``: 0 where there is no thing, ``i + 1`` for the ``i``-th.
        numbers: The class of each thing, from 0; below 0 for one that is not to be named.
        stride: Pixels to a cell.
    """
    seen = torch.from_numpy(np.ascontiguousarray(instances[stride // 2 :: stride, stride // 2 :: stride])).long()
    wanted = [i for i, number in enumerate(numbers) if number >= 0 and bool((seen == i + 1).any())]
    masks = torch.stack([seen == i + 1 for i in wanted]) if wanted else torch.zeros(0, *seen.shape)
    return TrueMasks(masks.float(), torch.tensor([numbers[i] for i in wanted], dtype=torch.long))


def numbers_of(things: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the number of each thing's class among some names; -1 for one that is not among them."""
    place: Mapping[str, int] = {name: i for i, name in enumerate(names)}
    return [place.get(thing, -1) for thing in things]


def check_count(name: str, value: int, least: int = 1) -> None:
    """Refuse a count that is too small.

    Raises:
        ConfigError: If it is below ``least``.
    """
    if value < least:
        raise ConfigError(f"{name} must be at least {least}, got {value}.")
