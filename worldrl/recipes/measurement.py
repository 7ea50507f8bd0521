"""What every evaluation has in common: held-out episodes in MuJoCo, the imagined figure, and the file of reports."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldrl.recipes.options import EnvOptions
from worldrl.recipes.parts import encoder_name, make_env, make_envs, need, pipeline_at, seeds_for
from worldrl.recipes.telling import bar

IMAGINED = 128
"""Imagined episodes of the figure that stands beside the real one."""


@dataclass(frozen=True)
class HeldOut:
    """Episodes that nothing was trained on: the environments they run in, their seeds, and how they are observed."""

    task: str
    envs: list[Any]
    seeds: range
    pipeline: Any
    env: EnvOptions

    def play_on(self, cluster: Any, make_actor: Any) -> Any:
        """Run every episode on a cluster and return the outcomes.

        Args:
            cluster: Where.
            make_actor: Builds the actor on each worker.
        """
        from worldrl.data.cluster import run_episodes

        outcomes: dict[int, Any] = {}
        show = bar("evaluate")
        make = partial(_made, self.env.id, dict(self.env.kwargs), make_actor)
        for index, outcome in run_episodes(cluster, make, seeds=self.seeds, record=False):
            outcomes[index] = outcome
            show(len(outcomes), len(self.seeds))
        return [outcomes[index] for index in range(len(self.seeds))]

    def play(self, actor: Any) -> Any:
        """Run every episode and return the outcomes."""
        from worldrl.data.rollout import roll_out

        return roll_out(self.envs, actor, seeds=self.seeds, record=False, progress=bar("evaluate"))

    def report(self, outcomes: Any, *, name: str, origin: Any, imagined_success: float | None) -> Any:
        """Return the report on whoever had these outcomes.

        Args:
            outcomes: Of all the episodes, in order.
            name: Whose they are.
            origin: What they were made from.
            imagined_success: Their success in imagination; None if there is none.
        """
        from worldrl.evaluation.report import Report

        return Report.of(
            task=self.task,
            policy=name,
            masks=self.pipeline.masks,
            encoder=encoder_name(self.pipeline),
            outcomes=[outcome.success for outcome in outcomes],
            lengths=[outcome.length for outcome in outcomes],
            seeds=list(self.seeds),
            real_steps=origin.real_steps,
            imagined_steps=origin.imagined_steps,
            imagined_success=imagined_success,
        )


@contextmanager
def held_out(
    env: EnvOptions, *, episodes: int, slots: int, seed: int, observation: str, features: str
) -> Iterator[HeldOut]:
    """Prepare held-out episodes, the same for everyone who is evaluated under one seed.

    Args:
        env: The task.
        episodes: How many.
        slots: Environments stepped and encoded together; 0 for none here, where a cluster has them.
        seed: Of the run.
        observation: Folder of the observation pipeline.
        features: Folder of the feature cache; empty for none.
    """
    envs = make_envs(env, min(slots, episodes))
    with pipeline_at(need(observation, "observation pipeline"), Path(features) if features else None) as pipeline:
        yield HeldOut(env.id, envs, seeds_for("evaluation", seed, episodes), pipeline, env)


def _made(env_id: str, kwargs: dict[str, Any], make_actor: Any) -> Any:
    return make_env(env_id, kwargs), make_actor()


def imagine(world: Any, policy: Any, *, episodes: int, seed: int) -> float:
    """Return the success of a policy in imagination, from the recorded first observations; a halt is a failure."""
    from worldrl.agents.refinement import try_out
    from worldrl.envs.imagined import ImaginedVectorEnv

    env = ImaginedVectorEnv(world.model, world.starts, num_envs=min(episodes, world.firsts), horizon=world.horizon)
    return try_out(env, policy, seed=seed).success


def success_told(success: float, low: float, high: float, *, episodes: int) -> str:
    """Return a success in MuJoCo as a model card tells it; success and interval are shares."""
    return f"{100 * success:.1f} % [{round(100 * low, 1)}, {round(100 * high, 1)}] of {episodes} held-out episodes"


def save(reports: Sequence[Any], path: Path, *, seed: int) -> list[Any]:
    """Write the reports and return what each gains on the first, paired over the episodes.

    Args:
        reports: At least one.
        path: The file, JSON.
        seed: Of the intervals' bootstrap.
    """
    from worldrl import checkpoint
    from worldrl.evaluation.intervals import paired_difference

    gains = [
        paired_difference(np.array(report.outcomes), np.array(reports[0].outcomes), seed=seed) for report in reports[1:]
    ]
    result: dict[str, Any] = {
        "reports": [json.loads(report.to_json()) for report in reports],
        "gains": [{"mean": gain.mean, "low": gain.interval.low, "high": gain.interval.high} for gain in gains],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(path, result)
    return gains
