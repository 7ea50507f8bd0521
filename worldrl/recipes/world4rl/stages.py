"""What all methods of a task and seed share: recorded episodes, the cloned policy, and the world model of a seed."""

from pathlib import Path
from typing import Any

import numpy as np

from worldrl.recipes import clone, collect, encode, fit
from worldrl.recipes.demonstrations import OWN
from worldrl.recipes.options import EncoderOptions, EnvOptions, ObjectOptions, WorldModelOptions
from worldrl.recipes.parts import make_env, seeds_for

Options = dict[str, Any]

SLOTS = 3
"""Environments stepped together: each costs more than a second to build, and masks alone are quick to encode."""


def environment(options: Options) -> EnvOptions:
    """Return the task as the grid plays it."""
    return EnvOptions(f"worldrl/MetaWorld-{options['task']}-v0", dict(options["env_kwargs"]))


def data(folder: Path, options: Options) -> Options:
    """Record experts and random play, fit the pipeline, clone, and record the cloned policy."""
    env, seed = environment(options), int(options["seed"])
    at = {name: str(folder / name) for name in ("episodes", "observation", "clone", "features")}
    beyond = int(options["beyond"])
    for who, count in (("expert", options["demonstrations"]), ("random", options["random"])):
        collect.run(collect.Config(env=env, out=at["episodes"], policy=who, episodes=count, seed=seed, beyond=beyond))
    encoder = EncoderOptions(**options["encoder"])
    objects = ObjectOptions(**options["objects"])
    encode.run(
        encode.Config(
            episodes=at["episodes"], out=at["observation"], features=at["features"], encoder=encoder, objects=objects,
            pixels=int(options["pixels"]), seed=seed,
        )
    )  # fmt: skip
    told: dict[str, Any] = {"observation": at["observation"], "features": at["features"], "seed": seed}
    clone.run(
        clone.Config(episodes=at["episodes"], out=at["clone"], steps=options["clone_steps"], **cloning(options), **told)
    )
    drifting = round(options["drifting"] * options["rollouts"])
    for drift, count in ((0.0, options["rollouts"] - drifting), (options["drift"], drifting)):
        if count:
            collect.run(
                collect.Config(
                    env=env, out=at["episodes"], policy=at["clone"], episodes=count, beyond=beyond, slots=SLOTS,
                    drift=drift, **told,
                )
            )  # fmt: skip
    return summary(folder, options)


def cloning(options: Options) -> Options:
    """Return how every policy of the grid is cloned."""
    return {name: options[name] for name in ("price", "proprio", "sigma")}


def summary(folder: Path, options: Options) -> Options:
    """Return how often expert and cloned policy succeeded, and how many real steps were recorded."""
    from worldrl.data.dataset import Dataset

    dataset = Dataset(folder / "episodes")
    wins = [bool(episode.success.any()) for episode in dataset if episode.policy in OWN]
    return {
        "expert_success": expert_success(options),
        "rollout_success": float(np.mean(wins)),
        "real_steps": dataset.num_steps,
    }


def expert_success(options: Options) -> float:
    """Return the scripted expert's success on the start states that every method is evaluated on."""
    from worldrl.agents.experts import ScriptedActor
    from worldrl.data.rollout import roll_out

    env = environment(options)
    real = make_env(env.id, env.kwargs | {"drawing": False})
    seeds = seeds_for("evaluation", int(options["seed"]), int(options["episodes"]))
    outcomes = roll_out([real], ScriptedActor(), seeds=seeds, record=False)
    real.close()
    return float(np.mean([outcome.success for outcome in outcomes]))


def fitting(options: Options) -> Options:
    """Return how the dynamics and the judges of a world are fitted, of one task or of all."""
    own = "own_" if len(options["tasks"]) == 1 else ""
    named = {"steps": f"{own}fit_steps", "batch_size": f"{own}batch_size", "price": "success_price"}
    alike = {name: options[name] for name in ("success_steps", "push", "reach", "blur")}
    return alike | {name: options[told] for name, told in named.items()}


def world(folder: Path, options: Options) -> Options:
    """Fit one network to the episodes of one task or of all; the result is a world for each task."""
    for task in options["tasks"]:
        for name in ("episodes", "observation", "features"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name / task).symlink_to(Path("../../../data") / task / name)
    change = fitting(options) | options["fit"]
    shape = options["world_model"] | change.pop("world_model", {})
    fit.run(
        fit.Config(
            episodes=str(folder / "episodes"),
            observation=str(folder / "observation"),
            features=str(folder / "features"),
            out=str(folder / "world"),
            world_model=WorldModelOptions(**shape),
            without=list(options["without"]),
            decoder_steps=0,
            seed=int(options["seed"]),
            **change,
        )
    )
    return {}
