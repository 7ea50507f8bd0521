"""Which cells the experiment on objects has: each is one run of a recipe, in words of the command line."""

from collections.abc import Iterator
from dataclasses import dataclass

INPUTS = ("both", "objects", "visual")
TOUCH = ("env=touch", "objects.names=[fingers,bead]", "offset=-1.0", "episodes=100")
BREAKOUT = ("env=minatar_breakout", "episodes=100", "agent.gamma=0.95")
ENCODERS = {
    "dinov2": ("encoder=dinov2_vits14",),
    "efficientnet": ("encoder=efficientnet_lite0",),
    "random_dinov2": ("encoder=random_dinov2",),
}
STEPS = 5000
"""Real steps of every run, those of random play included."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        study: ``touch`` and ``breakout`` are OC-STORM, ``few_shot`` is ``touch`` with masks from three annotated
            frames, ``diffusion`` is cloning and refinement in a diffusion world model on ``touch``, ``encoder`` is
            cloning from tokens whose looks are those of a frozen encoder.
        what: Inputs, or the encoder.
        seed: Of everything.
    """

    study: str
    what: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.study}-{self.what}-{self.seed}"


def cells(seeds: list[int]) -> Iterator[Cell]:
    """Yield every cell, seed by seed, those first that the headline needs."""
    for seed in seeds:
        yield from (Cell("touch", inputs, seed) for inputs in INPUTS)
    for seed in seeds:
        yield from (Cell("breakout", inputs, seed) for inputs in INPUTS)
    for seed in seeds:
        yield from (Cell("few_shot", inputs, seed) for inputs in ("objects", "both"))
        yield from (Cell("diffusion", inputs, seed) for inputs in INPUTS)
        yield from (Cell("encoder", encoder, seed) for encoder in ENCODERS)


def storm_words(cell: Cell) -> list[str]:
    """Return the options of ``worldrl train`` that a cell of OC-STORM is."""
    task = BREAKOUT if cell.study == "breakout" else TOUCH
    return [*task, f"inputs={cell.what}", f"seed={cell.seed}", f"steps={STEPS}"]
