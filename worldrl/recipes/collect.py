"""Record episodes in MuJoCo: by an expert, by a policy, or at random.

Recording adds to the data set that is there. With ``missing=true`` it records only the seeds that are not there yet: so
whoever wants a certain number of episodes, as ``worldrl demo`` does, asks again after a stop, and gets the data set
that it would have had without one.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.options import ClusterOptions, EnvOptions, check_cluster, check_env_id, check_positive, option
from worldrl.recipes.parts import (
    make_env,
    need,
    pipeline_at,
    seeds_for,
    use_threads,
)
from worldrl.recipes.results import Result
from worldrl.recipes.telling import bar, say

SCRIPTED = ("expert", "noisy_expert", "random")


@dataclass
class Config:
    """Options of ``worldrl collect``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    out: str = option(MISSING, "folder of the data set; episodes are added to one that is there")
    policy: str = option("noisy_expert", "expert, noisy_expert, random, or the folder of a policy")
    observation: str = option("", "folder of the observation pipeline, for a policy")
    features: str = option("", "folder of the feature cache, for a policy; empty for none")
    noise: float = option(0.3, "standard deviation of the noisy expert's noise")
    explore: bool = option(True, "whether a policy samples its actions rather than taking the mean")
    drift: float = option(0.0, "standard deviation of lasting noise on a policy's mean actions; 0 to sample instead")
    episodes: int = option(50, "episodes to record")
    beyond: int = option(0, "decisions to go on after the first success, where the environment has terminate=false")
    seed: int = option(0, "of the run; episode seeds follow from it and from who acts")
    skip: int = option(0, "episodes of whoever acts that were recorded before; these get the seeds after theirs")
    missing: bool = option(False, "record only those of these episodes that the data set lacks, after a stop")
    workers: int = option(1, "processes, for experts and random play")
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    slots: int = option(16, "environments stepped and encoded together, for a policy")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(episodes=self.episodes, workers=self.workers, slots=self.slots)
        if min(self.beyond, self.skip, self.drift) < 0:
            found = f"{self.beyond}, {self.skip} and {self.drift}"
            raise ConfigError(f"beyond, skip and drift must be 0 or more, got {found}.")
        check_env_id(self.env.id)
        check_cluster(self.cluster)
        if self.policy not in SCRIPTED and not self.observation:
            raise ConfigError(f"policy '{self.policy}' needs observation=FOLDER; scripted ones are {SCRIPTED}.")


def run(config: Config) -> Result:
    """Record the episodes and say how they went."""
    use_threads(config.threads)
    dataset = _scripted(config) if config.policy in SCRIPTED else _policy(config)
    who = config.policy if config.policy in SCRIPTED else _role(config)
    mine = dataset.select(policy=who)
    wins = sum(bool(episode.success.any()) for episode in mine)
    say(f"collected {config.out}: {len(mine)} {who} episodes, {wins} successful, {mine.num_steps} steps")
    figures = {"out": config.out, "policy": who, "episodes": len(mine), "successful": wins, "steps": mine.num_steps}
    return Result("", figures)


def actor_for(policy: str, noise: float) -> Any:
    """Return a scripted actor by name."""
    from worldrl.agents.experts import RandomActor, ScriptedActor

    return RandomActor() if policy == "random" else ScriptedActor(noise=noise if policy == "noisy_expert" else 0.0)


def _scripted(config: Config) -> Any:
    return _episodewise(config, partial(actor_for, config.policy, config.noise), role=config.policy)


def _episodewise(config: Config, make_actor: Any, *, role: str, slots: int = 1) -> Any:
    """Record shard after shard in each worker, here or on a cluster."""
    from worldrl.data.collection import collect

    on_cluster = bool(config.cluster.address)
    return collect(
        Path(config.out),
        partial(make_env, config.env.id, dict(config.env.kwargs)),
        make_actor,
        policy=role,
        seeds=seeds_for(role, config.seed, config.episodes, skip=config.skip),
        beyond=config.beyond,
        slots=slots,
        missing=config.missing,
        workers=config.cluster.workers if on_cluster else config.workers if config.policy in SCRIPTED else 1,
        env_id=config.env.id,
        env_kwargs=dict(config.env.kwargs),
        cluster=config.cluster.cluster(),
        progress=bar("collect"),
    )


def _role(config: Config) -> str:
    """Return the name under which a policy's episodes are recorded."""
    return "drifting" if config.drift else "policy"


def _policy(config: Config) -> Any:
    from worldrl.agents.observing import check_objects
    from worldrl.agents.policy import DriftingActor, PolicyActor, load_policy

    if config.cluster.address:
        paths = absolute(config.policy, config.observation)  # which its nodes must have too
        make_actor = partial(acting, *paths, explore=config.explore, drift=config.drift)
        return _episodewise(config, make_actor, role=_role(config))
    policy, origin = load_policy(need(config.policy, "policy"))
    cache = Path(config.features) if config.features else None
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        pipeline.require(origin.pipeline, owner=config.policy)
        actor = PolicyActor(policy, pipeline, deterministic=not config.explore)
        if config.drift:
            actor = DriftingActor(policy, pipeline, drift=config.drift)
        check_objects(pipeline, make_env(config.env.id, dict(config.env.kwargs)))  # before anything is written
        return _episodewise(config, lambda: actor, role=_role(config), slots=min(config.slots, config.episodes))


def absolute(*paths: str) -> list[str]:
    """Return paths as other processes find them, wherever they were begun."""
    return [str(Path(path).absolute()) for path in paths]


def acting(policy: str, observation: str, *, explore: bool, drift: float) -> Any:
    """Return whoever acts by a policy's folder and that of its pipeline, whose encoder remembers nothing."""
    from worldrl.agents.policy import DriftingActor, PolicyActor, load_policy

    loaded, origin = load_policy(need(policy, "policy"))
    with pipeline_at(need(observation, "observation pipeline"), None, remember=False) as pipeline:
        pipeline.require(origin.pipeline, owner=policy)
    if drift:
        return DriftingActor(loaded, pipeline, drift=drift)
    return PolicyActor(loaded, pipeline, deterministic=not explore)
