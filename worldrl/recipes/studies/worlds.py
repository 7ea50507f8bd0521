"""Small worlds of robot tasks that studies share: recorded, encoded, fitted and cloned once for each seed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldrl.errors import ConfigError
from worldrl.recipes import clone, collect, encode, fit
from worldrl.recipes.options import EncoderOptions, EnvOptions, WorldModelOptions
from worldrl.recipes.studies.stock import Stock


@dataclass(frozen=True)
class Plan:
    """What a world is made of.

    Attributes:
        env: The task that is cloned, imagined and measured.
        other: Another task in the same surroundings, whose frames are described too.
        encoder: Of its tokens; ``none`` for the geometry of masks alone.
        demonstrations: Episodes of the noisy expert: so few that cloning fails often, or refinement could show nothing.
        random: Episodes of random play.
        rollouts: Episodes of the cloned policy, for the world model to learn from.
        others: Episodes of the other task by its noisy expert, and half as many at random.
        clone_steps: Gradient steps of cloning.
        fit_steps: Those of the dynamics.
        success_steps: Those of the success classifier.
        held: Episodes of the cloned policy on the seeds of the evaluation, which nothing is fitted to.
    """

    env: str
    other: str
    encoder: str = "none"
    demonstrations: int = 4
    random: int = 30
    rollouts: int = 200
    others: int = 24
    clone_steps: int = 800
    fit_steps: int = 1500
    success_steps: int = 1500
    held: int = 100


PLANS = {
    "close_drawer": Plan("worldrl/CloseDrawer-v0", "worldrl/OpenDrawer-v0"),
    "close_drawer_dinov2": Plan("worldrl/CloseDrawer-v0", "worldrl/OpenDrawer-v0", encoder="dinov2_vits14"),
}
"""Worlds by what studies call them."""
KWARGS = {"size": 98, "max_steps": 40}
"""Arguments of their environments."""


def plan_of(what: str) -> Plan:
    """Return the plan of a world.

    Raises:
        ConfigError: If there is none of that name.
    """
    if what not in PLANS:
        raise ConfigError(f"world must be one of {', '.join(PLANS)}, got '{what}'.")
    return PLANS[what]


def task_of(what: str) -> EnvOptions:
    """Return the task of a world."""
    return EnvOptions(plan_of(what).env, dict(KWARGS))


def make(folder: Path, *, stock: Stock, what: str, seed: int) -> None:
    """Record a task, clone its expert, and fit a world model; record what it is all measured on.

    Args:
        folder: Gets ``episodes``, ``observation``, ``features``, ``clone`` and ``world`` as ``worldrl demo`` makes
            them, ``others`` (the other task), and ``held`` and ``held_others``, which nothing is fitted to.
        stock: What studies share; nothing of it is needed.
        what: Which world, a name in ``PLANS``.
        seed: Of everything.

    Raises:
        ConfigError: If there is no such world.
    """
    plan, at = plan_of(what), {name: str(folder / name) for name in ("episodes", "observation", "features", "clone")}
    env, other = task_of(what), EnvOptions(plan.other, dict(KWARGS))
    folder.mkdir(parents=True, exist_ok=True)
    _record(env, at["episodes"], seed, noisy_expert=plan.demonstrations, random=plan.random)
    _record(other, str(folder / "others"), seed, noisy_expert=plan.others, random=plan.others // 2)
    _record(other, str(folder / "held_others"), seed, skip=plan.others, noisy_expert=16, random=8)
    data: dict[str, Any] = {"observation": at["observation"], "features": at["features"], "seed": seed}
    encode.run(
        encode.Config(
            episodes=at["episodes"], out=at["observation"], features=at["features"],
            encoder=EncoderOptions(name=plan.encoder), seed=seed,
        )
    )  # fmt: skip
    clone.run(clone.Config(episodes=at["episodes"], out=at["clone"], steps=plan.clone_steps, **data))
    collect.run(collect.Config(env=env, out=at["episodes"], policy=at["clone"], episodes=plan.rollouts, **data))
    fit.run(
        fit.Config(
            episodes=at["episodes"], out=str(folder / "world"), world_model=WorldModelOptions(), decoder_steps=0,
            steps=plan.fit_steps, success_steps=plan.success_steps, **data,
        )
    )  # fmt: skip
    play(env, folder, policy=at["clone"], out=folder / "held", episodes=plan.held, seed=seed)


def play(env: EnvOptions, world: Path, *, policy: str, out: Path, episodes: int, seed: int) -> list[Any]:
    """Play the held-out episodes of an evaluation, as ``worldrl evaluate`` does, and record them.

    Args:
        env: The task.
        world: Folder that ``make`` filled.
        policy: Folder of the policy.
        out: Folder of the episodes.
        episodes: How many.
        seed: Of the run.
    """
    from worldrl.agents.policy import PolicyActor, load_policy
    from worldrl.data.dataset import DatasetWriter
    from worldrl.data.rollout import roll_out
    from worldrl.recipes.measurement import held_out

    acting, _ = load_policy(Path(policy))
    with held_out(
        env, episodes=episodes, slots=25, seed=seed, observation=str(world / "observation"),
        features=str(world / "features"),
    ) as trials:  # fmt: skip
        played = roll_out(trials.envs, PolicyActor(acting, trials.pipeline), seeds=trials.seeds, record=True)
        objects = tuple(trials.envs[0].unwrapped.objects)
    with DatasetWriter(out, env_id=env.id, env_kwargs=dict(env.kwargs), objects=objects) as writer:
        for episode in played:
            writer.add(episode)
    return played


def _record(env: EnvOptions, out: str, seed: int, *, skip: int = 0, **episodes: int) -> None:
    for who, count in episodes.items():
        collect.run(collect.Config(env=env, out=out, policy=who, episodes=count, skip=skip, seed=seed))
