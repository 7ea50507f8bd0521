"""Improve a policy by PPO in imagination, without a step of MuJoCo.

What is kept on the way lies in ``OUT.training`` until the refined policy stands: the same command goes on from there.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.envs.guards import Guards
from worldrl.errors import ConfigError, NumericsError
from worldrl.facts import known, tell
from worldrl.recipes.boards import check_boards
from worldrl.recipes.options import check_keep_every, check_positive, option
from worldrl.recipes.parts import need, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.stages import FREE, kept_beside, stops_of
from worldrl.recipes.telling import Training, lessons, say


@dataclass
class TrustOptions:
    """Whether to believe imagination, and when to stop; 0 leaves a sign unread."""

    last: bool = option(False, "keep the last policy, whatever the signs: World4RL's way")
    slack: float = option(0.0, "by how much more than chance imagination may overrate the recorded policy; 1: any")
    discern: float = option(0.0, "share of replayed successes that the world must find, beyond that of failures")
    pace: float = option(0.0, "quantile of the recorded decisions to success that imagined ones must not undercut")
    agreement: float = option(0.0, "least share of imagined successes that the second classifier confirms")
    radius: float = option(0.0, "divergence from where it began, in nats, beyond which a candidate is not believed")
    enough: float = option(0.97, "imagined success at which to stop; above 1 for never")
    patience: int = option(4, "candidates in a row that are not believed, at which to stop")
    tighten: float = option(2.0, "factor of the anchor whenever a candidate is not believed; 1 for a constant anchor")


@dataclass
class Config:
    """Options of ``worldrl refine``."""

    world: str = option(MISSING, "folder of the world")
    policy: str = option(MISSING, "folder of the policy to start from")
    recorded: str = option("", "folder of the policy that was recorded, where that is another one")
    out: str = option(MISSING, "folder of the refined policy")
    goal: str = option("", "folder that worldrl goals made for this world, to give the goal as text; empty for its own")
    text: str = option("", "the goal then, a sentence such as 'close the drawer'")
    steps: int = option(320_000, "imagined steps to learn from")
    envs: int = option(128, "imagined environments side by side")
    anchor: float = option(0.02, "weight of the divergence from the policy it starts from")
    lr: float = option(1e-3, "learning rate")
    gamma: float = option(0.97, "discount")
    warm_up: int = option(2, "updates at the beginning in which only the critic learns")
    every: int = option(4, "updates between candidates")
    trials: int = option(128, "imagined episodes that each candidate is tried in")
    middle: float = option(0.5, "share of the starts that are in the middle of recorded episodes")
    sigma: float | None = option(None, "standard deviation to begin exploring with; null for the policy's own")
    sigma_cap: float | None = option(1.0, "highest standard deviation of the policy; null for none")
    guards: Guards = field(default_factory=Guards)
    trust: TrustOptions = field(default_factory=TrustOptions)
    keep_every: int = option(4, "rollouts after which an interrupted refinement is kept, to go on from; 0 for never")
    checkpoints: int = option(0, "candidates to save beside the kept one, evenly spaced over the run")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    wandb: str = option("", "project of Weights & Biases; empty for none")
    seed: int = option(0, "of everything")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(
            steps=self.steps, envs=self.envs, lr=self.lr, gamma=self.gamma, every=self.every, trials=self.trials
        )
        check_boards(self)
        if bool(self.goal) != bool(self.text.strip()):
            raise ConfigError(f"goal=FOLDER and text='...' go together, got goal='{self.goal}' and text='{self.text}'.")
        if self.sigma is not None:
            check_positive(sigma=self.sigma)
        check_positive(patience=self.trust.patience, tighten=self.trust.tighten)
        check_keep_every(self.keep_every)
        if self.trust.radius < 0:
            raise ConfigError(f"trust.radius must be 0 or more, got {self.trust.radius}.")
        if not 0 <= self.trust.pace <= 1:
            raise ConfigError(f"trust.pace must be a quantile in [0, 1], got {self.trust.pace}.")


def run(config: Config) -> Result:
    """Refine, choose a candidate by imagination alone, save it, and prove that nothing else changed."""
    with kept_beside(config.out, every=config.keep_every), lessons(config, "refine") as told:
        return _refine(config, told.training("refine"))


def _refine(config: Config, training: Training) -> Result:
    from worldrl import checkpoint
    from worldrl.agents.policy import Origin
    from worldrl.agents.stopping import choose
    from worldrl.envs.steps import real_steps
    from worldrl.recipes.text_goals import aimed
    from worldrl.world_model.world import World

    use_threads(config.threads)
    policy, origin = _policy(config, config.policy)
    world = aimed(World.from_pretrained(need(config.world, "world")), goal=config.goal, text=config.text)
    checkpoint.require_pipeline(world.model.pipeline, origin.pipeline, owner=config.policy)
    before, steps_before, trust = world.model.hash(), real_steps(), _trust(config.trust, world.wins)
    recorded = _policy(config, config.recorded)[0] if config.recorded else policy
    belief = _belief(config, world, policy, recorded)
    if config.sigma is not None:
        policy.explore(config.sigma)
    steps = config.steps if belief.holds else 0
    candidates, imagined_steps = _candidates(config, world, policy, trust, training, steps=steps)
    chosen = candidates[-1] if config.trust.last else choose(candidates, trust)
    if world.model.hash() != before or real_steps() != steps_before:
        raise NumericsError("the world model or the real environment was touched during refinement: that is a bug.")
    origin = Origin(origin.pipeline, max(origin.real_steps, world.real_steps), origin.imagined_steps + imagined_steps)
    others = {f"{config.out}-at-{one.steps}": one for one in spaced(candidates, config.checkpoints)}
    for path, one in {**others, config.out: chosen}.items():
        policy.load_state_dict(one.state)
        policy.save_pretrained(Path(path), origin=origin)
        tell(Path(path), task=world.task, imagined_success=one.trial.success, **_seen(config))
    result = {
        "imagined_success": chosen.trial.success,
        "imagined_success_before": candidates[0].trial.success,
        "imagined_steps": imagined_steps,
        "real_steps_during_refinement": real_steps() - steps_before,
        "world_model_hash_before": before,
        "world_model_hash_after": world.model.hash(),
        "kept_after_steps": chosen.steps,
        "candidates": [_told(one, trust) for one in candidates],
        "pace": trust.pace,
        "recorded_success": belief.recorded,
        "imagined_recorded_success": belief.imagined,
        "believed": belief.holds,
        "doubts": list(belief.doubts),
        "checkpoints": list(others),
    }
    checkpoint.write_json(Path(config.out) / "refinement.json", result)
    say(
        f"refined {config.out}: imagined success {candidates[0].trial.success:.2f} -> {chosen.trial.success:.2f}, "
        f"kept the candidate of step {chosen.steps}, {imagined_steps} imagined and 0 real steps"
    )
    return Result("", {"out": config.out} | result)


def _seen(config: Config) -> dict[str, Any]:
    """Return what the world knows of what it saw, for the policy's card; the policy saw nothing else to refine by."""
    return {name: value for name, value in known(config.world).items() if name in ("masks", "encoder", "episodes")}


def _policy(config: Config, path: str) -> tuple[Any, Any]:
    """Load a policy as it is to explore, and what it was made from."""
    from worldrl.agents.policy import GaussianPolicy, load_policy

    policy, origin = load_policy(need(path, "policy"))
    if not isinstance(policy, GaussianPolicy):
        raise ConfigError(f"policy must be a GaussianPolicy, got a {type(policy).__name__}: PPO refines no other.")
    policy.sigma_cap = config.sigma_cap
    return policy, origin


def _belief(config: Config, world: Any, policy: Any, recorded: Any) -> Any:
    """Return whether the world is believed, and say what speaks against it."""
    from worldrl.recipes.belief import Belief, believe

    if config.trust.last:
        return Belief()
    file = Path(config.world) / "fidelity.json"
    measured = file.exists() and not config.goal  # those figures are of the world's own success
    belief = believe(
        world, policy, recorded, figures=json.loads(file.read_text()) if measured else None,
        slack=config.trust.slack, discern=config.trust.discern, guards=config.guards, seed=config.seed,
    )  # fmt: skip
    for doubt in belief.doubts:
        say(f"  {doubt}: the world is not believed, and the policy is kept as it is")
    return belief


def _candidates(
    config: Config, world: Any, policy: Any, trust: Any, training: Training, *, steps: int
) -> tuple[list[Any], int]:
    """Run PPO in imagination; return the candidates and how many steps were imagined, those of trials included."""
    from worldrl.agents.refinement import refine, try_out
    from worldrl.envs.imagined import ImaginedVectorEnv

    starts, horizon = mix(world, config.middle, seed=config.seed), world.horizon
    env = ImaginedVectorEnv(world.model, starts, num_envs=config.envs, horizon=horizon, guards=config.guards)
    count, deciding = min(config.trials, world.firsts), replace(config.guards, penalty=0.0, mask=True)
    trials = ImaginedVectorEnv(world.model, world.starts, num_envs=count, horizon=horizon, guards=deciding)

    def report(steps: int, candidate: Any) -> None:
        if candidate is not None:
            trial, word = candidate.trial, "believed" if trust.holds(candidate) else "not believed"
            say(
                f"  {steps:>7} imagined steps: imagined success {trial.success:.2f} in {trial.length:.1f} decisions, "
                f"halted {trial.halted:.2f}, {candidate.divergence:.2f} nats away, {word}"
            )

    candidates = refine(
        policy,
        env,
        lambda candidate: try_out(trials, candidate, seed=config.seed),
        steps=steps,
        anchor=config.anchor,
        trust=trust,
        tighten=config.trust.tighten,
        warm_up=config.warm_up,
        every=config.every,
        seed=config.seed,
        progress=report,
        tell=training.tell,
        learning_rate=config.lr,
        gamma=config.gamma,
        stops=stops_of(config.out, "refine", config.keep_every, training),
        about=_about(config, world, policy),
    )
    tried = sum(one.trial.count * int(one.trial.lengths.max()) for one in candidates)  # before a stop too
    return candidates, env.imagined_steps + tried


def _about(config: Config, world: Any, policy: Any) -> dict[str, Any]:
    """Return what tells a refinement from others: options that change its result, the world and the policy."""
    from worldrl import checkpoint

    options = asdict(config)
    for name in ("world", "policy", "recorded", "goal", *FREE, "checkpoints"):
        options.pop(name, None)
    return options | {"world": world.model.hash(), "policy": checkpoint.hash_tensors(policy.state_dict())}


def _told(candidate: Any, trust: Any) -> dict[str, Any]:
    """Return what is told of a candidate."""
    trial = candidate.trial
    return {
        "steps": candidate.steps,
        "success": trial.success,
        "halted": trial.halted,
        "length": trial.length if trial.success else None,
        "agreed": trial.agreed,
        "divergence": candidate.divergence,
        "believed": trust.holds(candidate),
    }


def spaced(candidates: Sequence[Any], count: int) -> list[Any]:
    """Return ``count`` candidates spread over the run, the last one among them, or all where there are fewer."""
    places = np.linspace(len(candidates) - 1, 0, count, endpoint=False).round().astype(int)
    return [candidates[i] for i in sorted(set(places.tolist()))]


def _trust(options: TrustOptions, wins: Sequence[int]) -> Any:
    """Return whom to believe, given how many decisions recorded successes took."""
    from worldrl.agents.stopping import Trust

    if options.last:
        return Trust()
    return Trust(
        pace=float(np.quantile(wins, options.pace)) if wins and options.pace else 0.0,
        agreement=options.agreement,
        radius=options.radius or float("inf"),
        enough=options.enough,
        patience=options.patience,
    )


def mix(world: Any, middle: float, *, seed: int) -> Any:
    """Return starts of which a given share lies in the middle of recorded episodes, the rest at their beginning."""
    import torch

    from worldrl.types import Starts

    firsts, others = world.firsts, len(world.starts) - world.firsts
    wanted = min(others, round(firsts * middle / max(1e-6, 1 - middle))) if middle < 1 else others
    rng = torch.Generator().manual_seed(seed)
    inside = firsts + torch.randperm(others, generator=rng)[:wanted]
    rows = inside if middle >= 1 else torch.cat([torch.arange(firsts), inside])
    return Starts(world.starts.obs[rows], world.starts.acts[rows])
