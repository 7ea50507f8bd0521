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
LATENTS = {
    "objects": ("objects=simulator",),
    "visual": ("objects.masks=no_objects", "objects.visual=4"),
    "both": ("objects=simulator", "objects.visual=4"),
}
DIFFUSION = (
    "env=touch", "env.kwargs={size: 64, max_steps: 40}", "encoder=none", "demonstrations=22", "random=25",
    "rollouts=120", "imagined_steps=160000", "videos=0", "threads=1", "episodes=100",
)  # fmt: skip
REACH = ("env=reach", "env.kwargs={size: 112, max_steps: 40}")
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


def command_lines(cell: Cell) -> dict[str, list[str]]:
    """Return the command lines that a cell is: verbs in their order, each with its options but for the paths."""
    seed = f"seed={cell.seed}"
    if cell.study == "diffusion":
        names = [] if cell.what == "visual" else ["objects.names=[fingers,bead]"]
        return {"demo": [*DIFFUSION, *LATENTS[cell.what], *names, seed]}
    if cell.study == "encoder":
        return {
            "collect": [*REACH, "episodes=22", "policy=noisy_expert", seed],
            "encode": [*ENCODERS[cell.what], seed],
            "clone": [seed],
            "evaluate": [*REACH, "episodes=100", seed],
        }
    task = BREAKOUT if cell.study == "breakout" else TOUCH
    return {"train": [*task, f"inputs={cell.what}", seed, f"steps={STEPS}"]}
