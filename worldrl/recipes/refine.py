"""Improve a policy by PPO in imagination, without a step of MuJoCo."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.errors import ConfigError, NumericsError
from worldrl.recipes.parts import check_positive, check_tensorboard, need, option, say, use_threads


@dataclass
class Config:
    """Options of ``worldrl refine``."""

    world: str = option(MISSING, "folder of the world")
    policy: str = option(MISSING, "folder of the policy to start from")
    out: str = option(MISSING, "folder of the refined policy")
    steps: int = option(320_000, "imagined steps to learn from")
    envs: int = option(128, "imagined environments side by side")
    anchor: float = option(0.02, "weight of the divergence from the policy it starts from")
    lr: float = option(1e-3, "learning rate")
    gamma: float = option(0.97, "discount")
    warm_up: int = option(2, "updates at the beginning in which only the critic learns")
    every: int = option(4, "updates between candidates")
    trials: int = option(128, "imagined episodes that each candidate is tried in")
    middle: float = option(0.5, "share of the starts that are in the middle of recorded episodes")
    halt: bool = option(True, "whether an imagined episode ends where the ensemble disagrees")
    tensorboard: str = option("", "folder for TensorBoard; empty for none")
    seed: int = option(0, "of everything")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(
            steps=self.steps, envs=self.envs, lr=self.lr, gamma=self.gamma, every=self.every, trials=self.trials
        )
        check_tensorboard(self.tensorboard)


def run(config: Config) -> dict[str, Any]:
    """Refine, choose a candidate by imagination alone, save it, and prove that nothing else changed."""
    from worldrl import checkpoint
    from worldrl.agents.policy import GaussianPolicy, Origin, load_policy
    from worldrl.agents.refinement import choose, refine, try_out
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.envs.steps import real_steps
    from worldrl.world_model.world import World

    use_threads(config.threads)
    policy, origin = load_policy(need(config.policy, "policy"))
    if not isinstance(policy, GaussianPolicy):
        raise ConfigError(f"policy must be a GaussianPolicy, got a {type(policy).__name__}: PPO refines no other.")
    world = World.from_pretrained(need(config.world, "world"))
    _same_pipeline(world.model.pipeline, origin.pipeline, config)
    before, steps_before = world.model.hash(), real_steps()
    starts = mix(world, config.middle, seed=config.seed)
    env = ImaginedVectorEnv(world.model, starts, num_envs=config.envs, horizon=world.horizon, halt=config.halt)
    trials = ImaginedVectorEnv(
        world.model, world.starts, num_envs=min(config.trials, world.firsts), horizon=world.horizon, halt=config.halt
    )

    def report(steps: int, trial: Any) -> None:
        if trial is not None:
            say(f"  {steps:>7} imagined steps: imagined success {trial.success:.2f}, halted {trial.halted:.2f}")

    candidates = refine(
        policy,
        env,
        lambda candidate: try_out(trials, candidate, seed=config.seed),
        steps=config.steps,
        anchor=config.anchor,
        warm_up=config.warm_up,
        every=config.every,
        seed=config.seed,
        progress=report,
        learning_rate=config.lr,
        gamma=config.gamma,
        tensorboard_log=config.tensorboard or None,
    )
    chosen = choose(candidates)
    if world.model.hash() != before or real_steps() != steps_before:
        raise NumericsError("the world model or the real environment was touched during refinement: that is a bug.")
    policy.load_state_dict(chosen.state)
    imagined_steps = env.imagined_steps + trials.imagined_steps
    origin = Origin(origin.pipeline, max(origin.real_steps, world.real_steps), origin.imagined_steps + imagined_steps)
    policy.save_pretrained(Path(config.out), origin=origin)
    result = {
        "imagined_success": chosen.trial.success,
        "imagined_success_before": candidates[0].trial.success,
        "imagined_steps": imagined_steps,
        "real_steps_during_refinement": real_steps() - steps_before,
        "world_model_hash_before": before,
        "world_model_hash_after": world.model.hash(),
        "kept_after_steps": chosen.steps,
        "candidates": [
            {"steps": c.steps, "success": c.trial.success, "halted": c.trial.halted, "divergence": c.divergence}
            for c in candidates
        ],
    }
    checkpoint.write_json(Path(config.out) / "refinement.json", result)
    say(
        f"refined {config.out}: imagined success {candidates[0].trial.success:.2f} -> {chosen.trial.success:.2f}, "
        f"kept the candidate of step {chosen.steps}, {result['imagined_steps']} imagined and 0 real steps"
    )
    return result


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


def _same_pipeline(world: str, policy: str, config: Config) -> None:
    from worldrl.errors import CheckpointError

    if world != policy:
        raise CheckpointError(
            f"{config.world} was made for observation pipeline {world[:12]}, {config.policy} for {policy[:12]}: "
            "fit and clone with the same pipeline."
        )
