"""Say how far a world can be trusted: its predictions, its pictures, and the decisions that are taken in it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.errors import ConfigError
from worldrl.recipes.fidelity_table import table
from worldrl.recipes.held_out import check_share, split_of
from worldrl.recipes.options import option
from worldrl.recipes.parts import make_env, need, pipeline_at, tokens_of, use_threads
from worldrl.recipes.results import Result

HORIZONS = (10, 25, 50)
"""Steps after which the open-loop error is told."""


@dataclass
class Config:
    """Options of ``worldrl fidelity``."""

    world: str = option(MISSING, "folder of the world")
    episodes: str = option(MISSING, "folder of the data set that it was fitted to")
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "file of the figures, JSON; the table is written beside it as .md")
    policies: list[str] = field(
        default_factory=list, metadata={"help": "folders of policies, whose imagined successes are replayed in MuJoCo"}
    )
    features: str = option("", "folder of the feature cache; empty for none")
    frechet: str = option("", "frozen encoder of the Frechet distances; empty for that of the observation")
    held_out: float | None = option(
        None, "share of the policy's episodes that the world has not seen; null for what was noted when it was made"
    )
    pictures: int = option(16, "held-out episodes whose pictures are compared; 0 for none")
    slack: int = option(0, "further steps in which a replayed success may come late")
    seed: int = option(0, "of the imagination")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        from worldrl.encoders import check_encoder

        check_share(self.held_out)
        if self.pictures < 0 or self.slack < 0:
            raise ConfigError(f"pictures and slack must be 0 or more, got {self.pictures} and {self.slack}.")
        if self.frechet:
            check_encoder(self.frechet, option="frechet")


def run(config: Config) -> Result:
    """Measure on held-out episodes, save the figures and return their table."""
    from worldrl import checkpoint
    from worldrl.data.dataset import Dataset
    from worldrl.world_model.world import World

    use_threads(config.threads)
    world = World.from_pretrained(at := need(config.world, "world"))
    dataset = Dataset(need(config.episodes, "data set"))
    cache = Path(config.features) if config.features else None
    held = split_of(at, dataset, config.held_out)[1]
    unseen = dataset.subset(held)
    with pipeline_at(need(config.observation, "observation pipeline"), cache) as pipeline:
        pipeline.require(world.model.pipeline, owner=config.world)
        tokens = tokens_of(unseen, pipeline)
        policies = load_policies(config.policies, pipeline)
        encoder = None if pipeline.encoder is None else dict(pipeline.encoder.source)
    figures: dict[str, Any] = {
        "task": world.task,
        "observation": list(world.model.obs_shape),
        "episodes": len(held),
        "seed": config.seed,
        **predictions(world.model, tokens, seed=config.seed),
        **judgements(world.model, tokens, seed=config.seed),
        "pictures": _pictures(config, world, unseen, tokens, {"name": config.frechet} if config.frechet else encoder),
        "policies": decisions(
            world.model,
            unseen,
            tokens,
            policies,
            env=make_env(world.task, dict(dataset.manifest.env_kwargs)),
            horizon=world.horizon,
            seed=config.seed,
            slack=config.slack,
        )
        if policies
        else [],
    }
    Path(config.out).parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(Path(config.out), figures)
    text = table(figures)
    Path(config.out).with_suffix(".md").write_text(text + "\n")
    return Result(text, {"out": config.out} | figures)


def predictions(model: Any, tokens: Any, *, seed: int) -> dict[str, Any]:
    """Return one-step skill, action sensitivity and open-loop errors; None where no episode is long enough."""
    from worldrl.data.segments import SegmentSampler
    from worldrl.evaluation.fidelity import one_step_error, rollout_error
    from worldrl.evaluation.heeding import action_sensitivity
    from worldrl.evaluation.recorded import segments

    sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=seed)
    first, errors = next(sampler.epoch(512)), []
    for horizon in HORIZONS:
        cut = segments(tokens, history=model.history, horizon=horizon)
        error = None if cut is None else rollout_error(model, *cut, horizon, seed=seed)
        errors.append(
            {
                "steps": horizon,
                "segments": 0 if cut is None else len(cut[0]),
                "model": None if error is None else float(error.model[-1]),
                "repeat_last": None if error is None else float(error.repeat_last[-1]),
            }
        )
    return {
        "one_step_skill": one_step_error(model, ((b.obs, b.acts) for b in sampler.epoch(512)), seed=seed).skill,
        "action_sensitivity": action_sensitivity(model, first.obs, first.acts, seed=seed),
        "open_loop": errors,
    }


def judgements(model: Any, tokens: Any, *, seed: int) -> dict[str, Any]:
    """Return how imagination judges recorded successes and failures; None where there are none."""
    from worldrl.evaluation.decisions import failed_replay, missed_success
    from worldrl.evaluation.recorded import replay_of

    judged: dict[str, Any] = {}
    for name, wanted, measure in (("missed_success", True, missed_success), ("failed_replay", False, failed_replay)):
        rows = [i for i, success in enumerate(tokens.success) if bool(success.any()) == wanted]
        replay = replay_of(tokens.subset(rows), history=model.history) if rows else None
        judged[name] = None if replay is None else share_as_json(measure(model, replay, seed=seed))
    return judged


def _pictures(config: Config, world: Any, episodes: Any, tokens: Any, encoder: dict[str, Any] | None) -> Any:
    """Return the figures of imagined frames, of the first one held and, with a decoder, of recorded tokens redrawn."""
    import torch

    from worldrl.encoders import load_encoder
    from worldrl.evaluation.films import compare_films
    from worldrl.evaluation.frechet import CLIP
    from worldrl.evaluation.recorded import acted_out, replay_of
    from worldrl.recipes.imagined import decode_of

    decode = decode_of(world)
    if decode is None or config.pictures == 0:
        return None
    rows = range(min(config.pictures, len(tokens)))
    some = tokens.subset(rows)
    dreams = [decode(obs) for obs in acted_out(world.model, replay_of(some, history=world.model.history))]
    size = dreams[0].shape[1]
    frames = [_shrunk(episodes[i].frames, size) for i in rows]
    real, held = [one[1:] for one in frames], [np.repeat(one[:1], len(one) - 1, axis=0) for one in frames]
    redrawn = [decode(torch.as_tensor(np.asarray(obs[1:]))) for obs in some.obs] if world.decoder else None
    loaded = None if encoder is None else load_encoder(**encoder)
    return {
        "size": int(size),
        "encoder": None if loaded is None else f"{loaded.name}{' (random weights)' if _is_random(encoder) else ''}",
        "frames": sum(map(len, real)),
        "clips": sum(len(one) // CLIP for one in real),
        "episodes_by_step": [sum(len(one) > step for one in real) for step in range(max(map(len, real)))],
        "imagined": _plain(compare_films(real, dreams, encoder=loaded)),
        "held": _plain(compare_films(real, held, encoder=loaded)),
        "redrawn": None if redrawn is None else _plain(compare_films(real, redrawn, encoder=loaded)),
    }


def decisions(
    model: Any,
    episodes: Any,
    tokens: Any,
    policies: dict[str, Any],
    *,
    env: Any,
    horizon: int,
    seed: int,
    slack: int = 0,
) -> list[Any]:
    """Let each policy act in imagination from the first observations, and replay its successes in MuJoCo.

    Args:
        model: The world model.
        episodes: Recorded episodes.
        tokens: The same as they are observed.
        policies: By what they are told as.
        env: The environment of the episodes; closed at the end.
        horizon: Decisions until an imagined episode is truncated.
        seed: Of the imagination.
        slack: Further steps in which a replayed success may come late.
    """
    from worldrl.agents.imagination import imagine_run
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.evaluation.decisions import Share, false_success, repeatable
    from worldrl.evaluation.recorded import replay_of

    starts = replay_of(tokens, history=model.history).starts
    dream = ImaginedVectorEnv(model, starts, num_envs=len(starts), horizon=horizon)
    found = []
    for path, policy in policies.items():
        acted = imagine_run(dream, policy, seed=seed)
        again = replace(acted, success=repeatable(model, starts, acted, seed=seed))
        false, still = (false_success(env, list(episodes), run, slack=slack) for run in (acted, again))
        found.append(
            {
                "policy": path,
                "imagined_success": share_as_json(Share.of(acted.success.tolist())),
                "halted": float(acted.halted.mean()),
                "false_success": share_as_json(false),
                "repeatable_false_success": share_as_json(still),
            }
        )
    env.close()
    return found


def load_policies(paths: list[str], pipeline: Any) -> dict[str, Any]:
    """Load policies by their folders, and refuse those of another pipeline."""
    return {path: _policy(path, pipeline) for path in paths}


def _policy(path: str, pipeline: Any) -> Any:
    from worldrl.agents.policy import load_policy

    policy, origin = load_policy(need(path, "policy"))
    pipeline.require(origin.pipeline, owner=path)
    return policy


def _shrunk(frames: Any, size: int) -> Any:
    from worldrl.encoders.thumbnails import shrink, to_frames

    return to_frames(shrink(np.array(frames), size))


def _is_random(source: dict[str, Any] | None) -> bool:
    return bool(source and source.get("random_init"))


def _plain(likeness: Any) -> dict[str, Any]:
    """Return the figures for JSON, which has no infinity: None stands where nothing differs."""
    listed = ((name, getattr(likeness, name)) for name in ("psnr", "ssim", "st_lpips"))
    steps = {
        name: None if values is None else [float(value) if np.isfinite(value) else None for value in values]
        for name, values in listed
    }
    return {**steps, "frechet_frames": likeness.frechet_frames, "frechet_clips": likeness.frechet_clips}


def share_as_json(share: Any) -> dict[str, Any]:
    """Return a share with its count, trials and interval as plain JSON."""
    interval = None if share.interval is None else [share.interval.low, share.interval.high]
    return {"share": share.share, "count": share.count, "trials": share.trials, "interval": interval}
