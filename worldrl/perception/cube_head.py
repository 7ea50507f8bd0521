"""Cuboids from what a frozen encoder says inside 2D boxes: the head of Weak Cube R-CNN, and how its input is cut."""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from worldrl.perception.cuboids import Cuboids, Views, middles, rotations_of, turned_to

NUMBERS = 13
"""What is predicted of a thing: 2 for the centre, 1 depth, 3 for the size, 6 for the rotation, 1 uncertainty."""
VIRTUAL_FOCAL = 512.0
"""Pixels of the focal length in which depth is predicted: what is seen fixes depth only up to the focal length."""
STANDING = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""The rotation that training starts from, six numbers: the third axis points up in the picture (our choice: the loss
on that axis has no gradient where it lies flat)."""
SURE, UNSURE = -3.0, 8.0
"""Between which the logarithm of the uncertainty is kept (our choice)."""


@dataclass(frozen=True)
class FoundCubes:
    """What the head finds.

    Attributes:
        cuboids: In the frame of each one's camera.
        uncertainty: ``(n,)`` the logarithm by whose negative the losses are scaled.
    """

    cuboids: Cuboids
    uncertainty: Float[Tensor, " n"]

    def scores(self) -> Float[Tensor, " n"]:
        """Return how sure each is, above 0."""
        return (-self.uncertainty).exp()


def cut_out(
    patches: Float[Tensor, "b p d"], grid: tuple[int, int], views: Views, *, cells: int
) -> Float[Tensor, "n k d"]:
    """Return features at ``cells`` x ``cells`` places of each box, row-major, between patches bilinearly.

    Args:
        patches: Of all pictures, row-major over the grid.
        grid: Rows and columns of patches.
        views: The boxes.
        cells: Places across, each in the middle of its share of the box.

    Raises:
        ValueError: If the patches are not those of the grid.
    """
    if patches.shape[1] != grid[0] * grid[1]:
        raise ValueError(f"patches must be {grid[0]}x{grid[1]}, got {patches.shape[1]}.")
    steps = (torch.arange(cells, device=patches.device) + 0.5) / cells
    height, width = views.size
    x = (views.boxes[:, 0:1] + steps * (views.boxes[:, 2:3] - views.boxes[:, 0:1])) * (2 / width) - 1
    y = (views.boxes[:, 1:2] + steps * (views.boxes[:, 3:4] - views.boxes[:, 1:2])) * (2 / height) - 1
    places = torch.stack([repeat(x, "n j -> n i j", i=cells), repeat(y, "n i -> n i j", j=cells)], dim=-1)
    maps = rearrange(patches, "b (i j) d -> b d i j", i=grid[0])
    parts = []
    for picture in sorted(set(views.pictures.tolist())):
        mine = views.pictures == picture
        rows = rearrange(places[mine], "n i j c -> 1 n (i j) c")
        found = grid_sample(maps[picture : picture + 1], rows, padding_mode="border", align_corners=False)
        parts.append((mine.nonzero()[:, 0], rearrange(found, "1 d n k -> n k d")))
    features = torch.empty(len(views), cells * cells, patches.shape[2], device=patches.device)
    for rows, found in parts:
        features[rows] = found
    return features


class CubeHead(nn.Module):
    """One cuboid for each 2D box.

    The middle of a box plus its size times an offset is where the centre is seen; depth in a virtual focal length puts
    it in space; sizes are factors of the class's; the rotation is predicted as the thing looks where it is seen and
    then turned into the camera's frame. The head sees frozen features and where the box is, never depth.

    Args:
        width: Numbers of a feature ``d``.
        cells: Places across a box.
        priors: ``(c, 3)`` mean size of each class, metres.
        depth: Metres at which things are at first, in the virtual focal length.
        reduced: Numbers that a feature is reduced to, place by place (our choice: the paper feeds all to its layers).
        hidden: Units of the two layers.
        per_class: Whether each class has predictions of its own.
        dropout: Share of the reduced features and of each layer's units that are left out in training (our choice:
            there are few thousand things to learn from).

    Source: Weak Cube R-CNN; Cube R-CNN (Brazil et al. 2023, arXiv 2207.10660), section 4.
    """

    priors: Tensor

    def __init__(
        self, *, width: int, cells: int, priors: Float[Tensor, "c 3"], depth: float, reduced: int = 48,
        hidden: int = 256, per_class: bool = True, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        if depth <= 0:
            raise ValueError(f"depth must be above 0 m, got {depth:g}.")
        super().__init__()
        self.cells, self.depth, self.classes = cells, depth, len(priors) if per_class else 1
        self.register_buffer("priors", priors.float().clone())
        self.reduce = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, reduced), nn.GELU(), nn.Dropout(dropout))
        self.body = nn.Sequential(
            nn.Linear(cells * cells * reduced + 4, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.out = nn.Linear(hidden, self.classes * NUMBERS)
        nn.init.normal_(self.out.weight, std=1e-3)
        start = torch.zeros(NUMBERS)
        start[6:12] = torch.tensor(STANDING)
        self.out.bias.data = repeat(start, "e -> (c e)", c=self.classes).clone()

    def forward(self, features: Float[Tensor, "n k d"], views: Views, labels: Int[Tensor, " n"]) -> FoundCubes:
        """Predict cuboids.

        Args:
            features: What ``cut_out`` gives.
            views: The boxes.
            labels: The class of each, which chooses its prior size and its predictions.
        """
        cells = rearrange(self.reduce(features), "n k r -> n (k r)")
        numbers = self.out(self.body(torch.cat([cells, self._geometry(views)], dim=1)))
        numbers = rearrange(numbers, "n (c e) -> n c e", c=self.classes)
        chosen = labels if self.classes > 1 else torch.zeros_like(labels)
        offset, depth, size, turn, mu = numbers[torch.arange(len(labels)), chosen].split([2, 1, 3, 6, 1], dim=1)
        sides = views.boxes[:, 2:] - views.boxes[:, :2]
        rays = views.rays(middles(views.boxes) + sides * offset)
        metres = self.depth * depth.clamp(-3, 3).exp() * rearrange(views.focal, "n -> n 1") / VIRTUAL_FOCAL
        sizes = self.priors[labels] * size.clamp(-3, 3).exp()
        cuboids = Cuboids(rays * metres, sizes, turned_to(rays) @ rotations_of(turn))
        return FoundCubes(cuboids, mu[:, 0].clamp(SURE, UNSURE))

    def _geometry(self, views: Views) -> Float[Tensor, "n 4"]:
        """Return where each box is and how large, in virtual focal lengths, about 1."""
        sides = views.boxes[:, 2:] - views.boxes[:, :2]
        where = (middles(views.boxes) - views.middle) / (VIRTUAL_FOCAL / 4)
        return torch.cat([where, (sides / (VIRTUAL_FOCAL / 8)).log()], dim=1)
