"""What the grid is made of: tasks, methods, ablations and tiers, as plain data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

TASKS = ("coffee-pull", "soccer", "hammer", "door-lock", "lever-pull", "handle-pull")
"""The six Meta-World tasks of World4RL (arXiv 2509.19080)."""

OWN: dict[str, Any] = {"own": 0.33, "steps": 2500}
"""How ``clone`` takes the cloned policy's own recorded successes too (filtered behaviour cloning)."""
OURS: dict[str, Any] = {"lr": 3e-4, "anchor": 0.05, "trust": {"radius": 0.5, "discern": 0.2}}
"""How ``refine`` becomes ours: small steps, and no further than where the world has been seen to be right."""
PUBLISHED: dict[str, Any] = {
    "lr": 3e-4,
    "anchor": 0.0,
    "guards": {"halt": False},
    "trust": {"last": True, "tighten": 1.0},
}
"""How ``refine`` becomes the published recipe: capped deviation and nothing else, and the last policy is kept.

The learning rate is not published; it is that of ours.
"""

PUBLISHED_FIT: dict[str, Any] = {"world_model": {"action_code": "two_hot"}, "push": 0.0, "blur": 0.0}
"""How ``fit`` makes the published world model: two-hot actions, and pasts as they were recorded."""

ROUNDS: dict[str, Any] = {"rounds": 3, "budget": 50}
"""How ``evolve`` goes on from ours: refinements, and real episodes that are recorded before each but the first."""

RANKED = 40
"""Real episodes by which policies are ranked."""

METHODS: dict[int, tuple[str, ...]] = {
    1: ("bc", "filtered_bc", "world4rl", "ours"),
    2: ("td3_bc", "iql", "diffusion_policy"),
    3: ("evolved", "planning"),
}
"""Methods by the tier in which they are run."""


@dataclass(frozen=True)
class Ablation:
    """One thing changed: options of ``fit`` (which then needs a world of its own) and of ``refine``.

    ``without`` names who is left out of the data that the world learns from, ``start`` the method whose policy is
    refined.
    """

    refine: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    start: str = "filtered_bc"

    @property
    def refits(self) -> bool:
        """Return whether it needs a world of its own."""
        return bool(self.fit or self.without)


ABLATIONS: dict[str, Ablation] = {
    "none": Ablation(),
    "no_halt": Ablation(refine={"guards": {"halt": False}}),
    "penalty": Ablation(refine={"guards": {"halt": False, "penalty": 0.1}}),
    "support": Ablation(refine={"guards": {"support": True}}),
    "audit": Ablation(refine={"guards": {"audit": True}}, fit={"audit": True}),
    "no_mask": Ablation(refine={"guards": {"mask": False}}),
    "no_keyframes": Ablation(refine={"middle": 0.0}),
    "no_anchor": Ablation(refine={"anchor": 0.0, "trust": {"tighten": 1.0}}),
    "constant_anchor": Ablation(refine={"trust": {"tighten": 1.0}}),
    "keep_last": Ablation(refine={"trust": {"last": True}}),
    "no_discern": Ablation(refine={"trust": {"discern": 0.0}}),
    "no_radius": Ablation(refine={"trust": {"radius": 0.0}}),
    "pace": Ablation(refine={"trust": {"pace": 0.25}}),
    "from_bc": Ablation(start="bc"),
    "no_sigma_cap": Ablation(refine={"sigma_cap": None}),
    "transformer": Ablation(fit={"world_model": {"backbone": "transformer"}}),
    "two_hot": Ablation(fit={"world_model": {"action_code": "two_hot"}}),
    "one_hot": Ablation(fit={"world_model": {"action_code": "one_hot"}}),
    "vq": Ablation(fit={"world_model": {"action_code": "vq"}}),
    "no_push": Ablation(fit={"push": 0.0}),
    "short_push": Ablation(fit={"reach": 1}),
    "no_blur": Ablation(fit={"blur": 0.0}),
    "no_random": Ablation(without=("random",)),
    "no_policy_rollouts": Ablation(without=("policy", "drifting")),
}
"""What tier 3 changes in ``ours``, one at a time; ``none`` is the method as it is."""
ABLATED_TASKS = ("door-lock", "lever-pull")
"""The tasks of World4RL's own ablations (figure 5)."""


@dataclass(frozen=True, order=True)
class Cell:
    """One training run of one method on one task under one seed."""

    seed: int
    task: str
    method: str
    ablation: str = "none"

    @property
    def name(self) -> str:
        """Return the name of its run folder."""
        return f"{self.task}-{self.seed}-{self.method}" + ("" if self.ablation == "none" else f"-{self.ablation}")


def cells(*, tasks: Sequence[str], seeds: Sequence[int], tier: int) -> Iterator[Cell]:
    """Yield the cells of all tiers up to one, seed by seed, tier by tier."""
    for seed in seeds:
        for level in range(1, tier + 1):
            for task in tasks:
                yield from (Cell(seed, task, method) for method in METHODS[level])
                if level == 3 and task in ABLATED_TASKS:
                    yield from (Cell(seed, task, "ours", name) for name in ABLATIONS if name != "none")


def refine_options(cell: Cell) -> dict[str, Any]:
    """Return the options of ``refine`` by which a cell differs from the default."""
    if cell.method == "world4rl":
        return PUBLISHED
    change = ABLATIONS[cell.ablation].refine
    return OURS | change | {"trust": OURS["trust"] | change.get("trust", {})}


def settings_of(cell: Cell) -> dict[str, Any]:
    """Return what is chosen here for a cell's method: a cell made under other choices is another cell."""
    if cell.method == "filtered_bc":
        return OWN
    if cell.method == "evolved":
        return OURS | ROUNDS
    return refine_options(cell) if cell.method in ("world4rl", "ours") else {}


def start_of(cell: Cell) -> Cell | None:
    """Return the cell whose policy a cell refines, or None."""
    if cell.method not in ("world4rl", "ours", "evolved"):
        return None
    return Cell(cell.seed, cell.task, "bc" if cell.method == "world4rl" else ABLATIONS[cell.ablation].start)


SHARED = ("world4rl",)
"""Methods that live in the one world model of all tasks, as published; the others have one for their own task."""


def worlds_name(cell: Cell) -> str:
    """Return the folder of the worlds of a seed that a cell lives in."""
    own = "shared" if cell.method in SHARED else cell.task
    return f"worlds/{own}-{cell.ablation}" if ABLATIONS[cell.ablation].refits else f"worlds/{own}"


def judge_of(cell: Cell) -> Cell:
    """Return the cell whose world ranks a cell's policies: one world, that of ours, for all of a task and seed."""
    return Cell(cell.seed, cell.task, "ours")


def fit_options(cell: Cell) -> dict[str, Any]:
    """Return the options of ``fit`` by which the world of a cell differs from that of ours."""
    return PUBLISHED_FIT if cell.method in SHARED else ABLATIONS[cell.ablation].fit


def worlds_tasks(cell: Cell, tasks: Sequence[str]) -> list[str]:
    """Return the tasks that the world model of a cell learns."""
    return list(tasks) if cell.method in SHARED else [cell.task]
