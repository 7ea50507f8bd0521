"""One cell: a method makes a policy, and the policy is measured in MuJoCo and held against imagination."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worldrl.recipes import clone, evaluate, evolve, offline, plan, refine
from worldrl.recipes.options import WorldModelOptions
from worldrl.recipes.world4rl.grid import (
    OWN,
    RANKED,
    ROUNDS,
    Cell,
    judge_of,
    refine_options,
    start_of,
    worlds_name,
)
from worldrl.recipes.world4rl.stages import SLOTS, Options, cloning, environment, fitting

CHECKPOINTS = (60, 200, 500)
"""Gradient steps of cloning after which a policy is ranked beside the finished one."""
PLANNED = 20
"""Real episodes of planning, which is slow."""

UNREPLAYED: Options = {
    "false_success_rate": None, "false_successes": 0, "replays": 0, "repeatable": 0, "repeatable_false": 0,
}  # fmt: skip
"""What is told of replays where there is no policy to imagine."""


@dataclass(frozen=True)
class Place:
    """Where a cell works and finds things.

    ``data`` and ``world`` are those of its task and seed, ``judge`` is the world that ranks its policies.
    """

    cell: Cell
    folder: Path
    data: Path
    world: Path
    judge: Path
    options: Options

    @property
    def told(self) -> Options:
        """Return the options by which a recipe finds and seeds observations."""
        at = {name: str(self.data / name) for name in ("observation", "features")}
        return {**at, "seed": self.cell.seed}

    @property
    def cloning(self) -> Options:
        """Return the options of all cloning in the grid."""
        return {"episodes": str(self.data / "episodes"), **cloning(self.options), **self.told}


@dataclass(frozen=True)
class Made:
    """What a method made: a policy's folder, or none where it is no policy; others to rank beside it; what it noted.

    ``world`` is where the policy was made in, where it is another than that of its task and seed.
    """

    policy: Path | None
    ranked: Sequence[Path] = ()
    notes: Any = None
    world: Path | None = None


def run(folder: Path, options: Options) -> Options:
    """Make the policy of a cell, measure it, and return its figures."""
    cell = Cell(options["seed"], options["task"], options["method"], options["ablation"])
    home = folder.parents[1] / f"seed-{cell.seed}"
    world, judge = (home / worlds_name(one) / "world" / cell.task for one in (cell, judge_of(cell)))
    place = Place(cell, folder, home / "data" / cell.task, world, judge, options)
    made = MAKERS[cell.method](place)
    place = replace(place, world=made.world or place.world)
    if made.policy is None:
        report, replays, ranking = made.notes, UNREPLAYED, []
    else:
        report = _measure(place, [made.policy], place.world, options["episodes"])[0]
        replays = _replayed(place, made.policy)
        ranking = _ranking(place, made.policy, made.ranked, report["success"])
    return {
        "cell": _figures(place, report) | replays,
        "ranking": ranking,
        "refinement": made.notes if cell.method in ("world4rl", "ours") else None,
    }


def _figures(place: Place, report: Options) -> Options:
    """Return what is told of a cell."""
    cell, bc = place.cell, place.folder.parent / Cell(place.cell.seed, place.cell.task, "bc").name / "done.json"
    start = report["success"] if cell.method == "bc" else json.loads(bc.read_text())["cell"]["real_success"]
    return {
        "task": cell.task,
        "seed": cell.seed,
        "method": cell.method,
        "ablation": cell.ablation,
        "masks": report["masks"],
        "expert_success": json.loads((place.data / "done.json").read_text())["expert_success"],
        "bc_success": start,
        "real_success": report["success"],
        "imagined_success": report["imagined_success"],
        "episodes": report["episodes"],
        "real_steps": report["real_steps"],
        "outcomes": report["outcomes"],
    }


def _bc(place: Place) -> Made:
    """Take the cloned policy, and clone a few worse ones for the ranking."""
    ranked = [place.folder / f"at-{steps}" for steps in CHECKPOINTS]
    for steps, out in zip(CHECKPOINTS, ranked, strict=True):
        clone.run(clone.Config(out=str(out), steps=steps, **place.cloning))
    return Made(place.data / "clone", ranked)


def _filtered(place: Place) -> Made:
    """Clone the experts' and the cloned policy's own recorded successes."""
    clone.run(clone.Config(out=str(place.folder / "policy"), **OWN, **place.cloning))
    return Made(place.folder / "policy")


def _refined(place: Place) -> Made:
    """Refine a policy in imagination."""
    refined = refine.run(
        refine.Config(
            world=str(place.world), policy=str(_start(place)), recorded=str(place.data / "clone"),
            out=str(place.folder / "policy"), checkpoints=3, seed=place.cell.seed, **_refining(place),
        )
    )  # fmt: skip
    result = {name: value for name, value in refined.figures.items() if name != "out"}
    return Made(place.folder / "policy", [Path(path) for path in result["checkpoints"]], result)


def _evolved(place: Place) -> Made:
    """Go on from ours for a stated number of real episodes: record, fit again, refine again."""
    options, usual, out = place.options, evolve.Config(), place.folder / "rounds"
    evolve.run(
        evolve.Config(
            env=environment(options), episodes=str(place.data / "episodes"), out=str(out),
            policy=str(_start(place)), recorded=str(place.data / "clone"), beyond=int(options["beyond"]),
            world_model=WorldModelOptions(**options["world_model"]), fit=replace(usual.fit, **fitting(options)),
            refine=replace(usual.refine, **_refining(place)), **ROUNDS, **place.told,
        )
    )  # fmt: skip
    *before, last = (out / f"policy-{number}" for number in range(ROUNDS["rounds"]))
    return Made(last, before, world=out / f"world-{ROUNDS['rounds'] - 1}")


def _start(place: Place) -> Path:
    """Return the policy that a cell refines."""
    start = start_of(place.cell)
    if start is None or start.method == "bc":
        return place.data / "clone"
    return place.folder.parent / start.name / "policy"


def _refining(place: Place) -> Options:
    """Return how a cell refines."""
    from worldrl.envs.guards import Guards
    from worldrl.recipes.refine import TrustOptions

    change = dict(refine_options(place.cell))
    guards, trust = Guards(**change.pop("guards", {})), TrustOptions(**change.pop("trust", {}))
    return {"steps": place.options["imagined_steps"], "guards": guards, "trust": trust} | change


def _offline(place: Place) -> Made:
    """Learn from the recorded episodes alone."""
    out, episodes = place.folder / "policy", str(place.data / "episodes")
    shown = {"proprio": int(place.options["proprio"]), **place.told}
    offline.run(offline.Config(episodes=episodes, out=str(out), method=place.cell.method, **shown))
    return Made(out)


def _planned(place: Place) -> Made:
    """Plan in the world model, with the cloned policy's proposals; there is no policy to keep."""
    out = place.folder / "planning.json"
    plan.run(
        plan.Config(
            env=environment(place.options), world=str(place.world), out=str(out), policy=str(place.data / "clone"),
            episodes=min(PLANNED, place.options["episodes"]), imagined=PLANNED, **place.told,
        )
    )  # fmt: skip
    return Made(None, notes=json.loads(out.read_text())["reports"][0])


MAKERS: dict[str, Callable[[Place], Made]] = {
    "bc": _bc,
    "filtered_bc": _filtered,
    "world4rl": _refined,
    "ours": _refined,
    "evolved": _evolved,
    "td3_bc": _offline,
    "iql": _offline,
    "diffusion_policy": _offline,
    "planning": _planned,
}
"""How each method makes its policy."""


def _measure(place: Place, policies: Sequence[Path], world: Path, episodes: int) -> list[Options]:
    """Evaluate policies in MuJoCo and in a world; return their reports."""
    out = place.folder / f"evaluation-{policies[0].name}.json"
    evaluate.run(
        evaluate.Config(
            env=environment(place.options), policies=[str(path) for path in policies], world=str(world),
            out=str(out), episodes=episodes, slots=SLOTS, **place.told,
        )
    )  # fmt: skip
    reports: list[Options] = json.loads(out.read_text())["reports"]
    return reports


def _ranking(place: Place, policy: Path, others: Sequence[Path], real: float) -> list[Options]:
    """Return imagined and real success of a cell's policy, and of others on fewer episodes, all in the judge's world.

    A method that lives in another world is told apart from the world that ranks: what one world says of its own
    policies and another of theirs is no order.
    """
    from worldrl.agents.policy import load_policy
    from worldrl.recipes.measurement import IMAGINED, imagine
    from worldrl.world_model.world import World

    judge = World.from_pretrained(place.judge)
    imagined = imagine(judge, load_policy(policy)[0], episodes=IMAGINED, seed=place.cell.seed)
    fewer = min(RANKED, place.options["episodes"])
    reports = _measure(place, others, place.judge, fewer) if others else []
    own = {"imagined": imagined, "real": real, "episodes": place.options["episodes"]}
    return [own, *({"imagined": one["imagined_success"], "real": one["success"], "episodes": fewer} for one in reports)]


def _replayed(place: Place, policy: Path) -> Options:
    """Return how many imagined successes, from every recorded start, fail when replayed in MuJoCo.

    Told of all, and of those that happen again when their actions are imagined again.
    """
    from worldrl.agents.imagination import imagine_run
    from worldrl.agents.policy import load_policy
    from worldrl.data.dataset import Dataset
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.evaluation.decisions import false_success, repeatable
    from worldrl.evaluation.recorded import replay_of
    from worldrl.recipes.parts import make_env, pipeline_at, tokens_of
    from worldrl.world_model.world import World

    world, dataset = World.from_pretrained(place.world), Dataset(place.data / "episodes")
    with pipeline_at(place.data / "observation", place.data / "features") as pipeline:
        starts = replay_of(tokens_of(dataset, pipeline), history=world.model.history).starts
    dream = ImaginedVectorEnv(world.model, starts, num_envs=len(starts), horizon=world.horizon)
    acted = imagine_run(dream, load_policy(policy)[0], seed=place.cell.seed)
    again = replace(acted, success=repeatable(world.model, starts, acted, seed=place.cell.seed))
    env = environment(place.options)
    real = make_env(env.id, env.kwargs | {"drawing": False})
    every, repeated = (false_success(real, list(dataset), run) for run in (acted, again))
    real.close()
    return {
        "false_success_rate": every.share,
        "false_successes": every.count,
        "replays": every.trials,
        "repeatable": repeated.trials,
        "repeatable_false": repeated.count,
    }
