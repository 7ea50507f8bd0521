"""One cell: a method makes a policy, and the policy is measured in MuJoCo and held against imagination."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldrl.recipes import clone, evaluate, refine
from worldrl.recipes.world4rl.grid import Cell, refine_options, world_name
from worldrl.recipes.world4rl.stages import Options, environment

CHECKPOINTS = (60, 200, 500)
"""Gradient steps of cloning after which a policy is ranked beside the finished one."""
RANKED = 40
"""Real episodes by which policies are ranked."""


def run(folder: Path, options: Options) -> Options:
    """Make the policy of a cell, measure it, and return its figures."""
    cell = Cell(options["seed"], options["task"], options["method"], options["ablation"])
    home = folder.parents[1] / f"seed-{cell.seed}"
    data, world = home / "data" / cell.task, home / world_name(cell).replace("world", "worlds", 1) / "world" / cell.task
    make: dict[str, Callable[..., Options]] = {"bc": _bc, "world4rl": _refined, "ours": _refined}
    made = make.get(cell.method, _offline)(folder, options, data, world)
    report = _measure(folder, options, data, world, [Path(made["policy"])], options["episodes"])[0]
    base = report if cell.method == "bc" else json.loads((_bc_folder(folder, cell) / "done.json").read_text())
    return {
        **{name: made.get(name) for name in ("refinement", "seconds_refining")},
        "cell": {
            "task": cell.task,
            "seed": cell.seed,
            "method": cell.method,
            "ablation": cell.ablation,
            "masks": report["masks"],
            "expert_success": json.loads((data / "done.json").read_text())["expert_success"],
            "bc_success": report["success"] if cell.method == "bc" else base["cell"]["real_success"],
            "real_success": report["success"],
            "imagined_success": report["imagined_success"],
            "episodes": report["episodes"],
            "false_success_rate": None,
            "real_steps": report["real_steps"],
            "outcomes": report["outcomes"],
            **_replayed(options, data, world, Path(made["policy"])),
        },
        "ranking": _ranking(folder, options, data, world, made),
    }


def _bc_folder(folder: Path, cell: Cell) -> Path:
    return folder.parent / Cell(cell.seed, cell.task, "bc").name


def _bc(folder: Path, options: Options, data: Path, world: Path) -> Options:
    """Take the cloned policy, and clone a few worse ones for the ranking."""
    for steps in CHECKPOINTS:
        clone.run(
            clone.Config(
                episodes=str(data / "episodes"), observation=str(data / "observation"), out=str(folder / f"at-{steps}"),
                features=str(data / "features"), steps=steps, price=options["price"], seed=options["seed"],
            )
        )  # fmt: skip
    return {"policy": str(data / "clone"), "ranked": [str(folder / f"at-{steps}") for steps in CHECKPOINTS]}


def _refined(folder: Path, options: Options, data: Path, world: Path) -> Options:
    """Refine the cloned policy in imagination."""
    from worldrl.envs.guards import Guards
    from worldrl.recipes.refine import TrustOptions

    change = dict(refine_options(Cell(options["seed"], options["task"], options["method"], options["ablation"])))
    guards, trust = Guards(**change.pop("guards", {})), TrustOptions(**change.pop("trust", {}))
    settings: dict[str, Any] = {"steps": options["imagined_steps"]} | change
    result = refine.run(
        refine.Config(
            world=str(world), policy=str(data / "clone"), out=str(folder / "policy"), guards=guards, trust=trust,
            checkpoints=3, seed=options["seed"], **settings,
        )
    )  # fmt: skip
    return {"policy": str(folder / "policy"), "ranked": result["checkpoints"], "refinement": result}


def _offline(folder: Path, options: Options, data: Path, world: Path) -> Options:
    """Learn from the recorded episodes alone."""
    from worldrl.recipes import offline

    offline.run(
        offline.Config(
            episodes=str(data / "episodes"), observation=str(data / "observation"), features=str(data / "features"),
            out=str(folder / "policy"), method=options["method"], seed=options["seed"],
        )
    )  # fmt: skip
    return {"policy": str(folder / "policy"), "ranked": []}


def _measure(
    folder: Path, options: Options, data: Path, world: Path, policies: list[Path], episodes: int
) -> list[Options]:
    """Evaluate policies in MuJoCo and in imagination; return their reports."""
    out = folder / f"evaluation-{policies[0].name}.json"
    evaluate.run(
        evaluate.Config(
            env=environment(options), policies=[str(path) for path in policies], observation=str(data / "observation"),
            features=str(data / "features"), world=str(world), out=str(out), episodes=episodes, slots=10,
            seed=options["seed"],
        )
    )  # fmt: skip
    reports: list[Options] = json.loads(out.read_text())["reports"]
    return reports


def _ranking(folder: Path, options: Options, data: Path, world: Path, made: Options) -> list[Options]:
    """Return imagined and real success of further policies of this cell, on fewer episodes."""
    paths = [Path(path) for path in made["ranked"]]
    if not paths:
        return []
    reports = _measure(folder, options, data, world, paths, min(RANKED, options["episodes"]))
    return [{"imagined": report["imagined_success"], "real": report["success"]} for report in reports]


def _replayed(options: Options, data: Path, world: Path, policy: Path) -> Options:
    """Return how many imagined successes, from every recorded start, fail when replayed in MuJoCo."""
    from worldrl.agents.imagination import imagine_run
    from worldrl.agents.policy import load_policy
    from worldrl.data.dataset import Dataset
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.evaluation.decisions import false_success
    from worldrl.evaluation.recorded import replay_of
    from worldrl.recipes.parts import make_env, pipeline_at, tokens_of
    from worldrl.world_model.world import World

    loaded, dataset = World.from_pretrained(world), Dataset(data / "episodes")
    with pipeline_at(data / "observation", data / "features") as pipeline:
        starts = replay_of(tokens_of(dataset, pipeline), history=loaded.model.history).starts
    dream = ImaginedVectorEnv(loaded.model, starts, num_envs=len(starts), horizon=loaded.horizon)
    env = environment(options)
    real = make_env(env.id, env.kwargs | {"drawing": False})
    share = false_success(real, list(dataset), imagine_run(dream, load_policy(policy)[0], seed=options["seed"]))
    real.close()
    return {"false_success_rate": share.share, "false_successes": share.count, "replays": share.trials}
