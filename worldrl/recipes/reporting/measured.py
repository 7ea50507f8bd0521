"""What a report measures by itself: errors by horizon, judgements, and imagined successes that fail in MuJoCo."""

import base64
import io
from typing import Any

import numpy as np

from worldrl.errors import ConfigError
from worldrl.recipes.reporting.places import Places

HORIZONS = (25, 15, 10, 5, 2, 1)
"""Open-loop steps; the first that any held-out episode is long enough for."""
MOST = 32
"""Held-out episodes, at most: a report is to take no more than a minute of one core."""
WORST = 4
"""Hallucinated successes that are shown."""
TIMES = 8
"""How often each is imagined again."""


def measure(places: Places, task: str, *, seed: int) -> dict[str, Any]:
    """Measure the world of a task on episodes it has not seen.

    Args:
        places: Where it lies, its data, its pipeline, and the policies that may act in it.
        task: Name of the task among others; empty for a single one.
        seed: Of the imagination.

    Raises:
        WorldRLError: If something is missing, damaged, or made for another observation pipeline.
    """
    from worldrl.data.dataset import Dataset
    from worldrl.recipes.fidelity import judgements
    from worldrl.recipes.held_out import split_of
    from worldrl.recipes.parts import pipeline_at, tokens_of
    from worldrl.world_model.world import World

    for found, what in ((places.episodes, "episodes"), (places.observations, "observation")):
        if task not in found:
            raise ConfigError(
                f"no {what} {f'of {task} ' if task else ''}in {places.folder}: name their folder by {what}=."
            )
    world, dataset = World.from_pretrained(places.worlds[task]), Dataset(places.episodes[task])
    held = split_of(places.worlds[task], dataset)[1][:MOST]
    unseen = dataset.subset(held)
    with pipeline_at(places.observations[task], places.features(task)) as seen:
        seen.require(world.model.pipeline, owner=str(places.worlds[task]))
        tokens = tokens_of(unseen, seen)
    policy = _policy(places, world.model.pipeline)
    return {
        "episodes": len(held),
        "horizon": horizon(world.model, tokens, seed=seed),
        **judgements(world.model, tokens, seed=seed),
        "hallucinations": None
        if policy is None or "states" in dataset.manifest.lacks  # nothing can be replayed then
        else hallucinations(world, dataset, unseen, tokens, policy[1], name=policy[0], seed=seed),
    }


def horizon(model: Any, tokens: Any, *, seed: int) -> dict[str, Any] | None:
    """Return error, that of no change, and disagreement after every open-loop step; None where episodes are short."""
    import torch

    from worldrl.evaluation.fidelity import mean_squared, open_loop
    from worldrl.evaluation.recorded import segments

    cuts = ((steps, segments(tokens, history=model.history, horizon=steps)) for steps in HORIZONS)
    steps, cut = next(((steps, cut) for steps, cut in cuts if cut is not None), (0, None))
    if cut is None:
        return None
    obs, acts = cut
    last = obs[:, model.history - 1]
    found: dict[str, list[float]] = {name: [] for name in ("model", "repeat_last", "apart", "apart_most")}
    with torch.no_grad():
        dreams = open_loop(model, obs[:, : model.history], acts, torch.Generator().manual_seed(seed))
        for i, step in enumerate(dreams):
            true = obs[:, model.history + i]
            apart = step.disagreement.double()
            for name, value in (
                ("model", mean_squared(step.obs, true)),
                ("repeat_last", mean_squared(last, true)),
                ("apart", apart.mean()),
                ("apart_most", apart.quantile(0.9)),
            ):
                found[name].append(float(value))
    return {"segments": len(obs), "steps": steps, **found}


def hallucinations(
    world: Any, dataset: Any, episodes: Any, tokens: Any, policy: Any, *, name: str, seed: int
) -> dict[str, Any]:
    """Let a policy act in imagination, take the same actions in MuJoCo, and show the surest successes that fail there.

    Args:
        world: The world.
        dataset: Whose environment decides.
        episodes: Recorded episodes, from whose first states the policy begins.
        tokens: The same as they are observed.
        policy: Who acts.
        name: What it is told as.
        seed: Of the imagination.
    """
    from worldrl.agents.imagination import imagine_run
    from worldrl.data.replay import succeeds
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.evaluation.decisions import Share
    from worldrl.evaluation.recorded import replay_of
    from worldrl.recipes.fidelity import share_as_json
    from worldrl.recipes.parts import make_env

    starts = replay_of(tokens, history=world.model.history).starts
    run = imagine_run(
        ImaginedVectorEnv(world.model, starts, num_envs=len(starts), horizon=world.horizon), policy, seed=seed
    )
    env = make_env(world.task, dict(dataset.manifest.env_kwargs))
    try:
        wins = np.flatnonzero(run.success).tolist()
        failing = [i for i in wins if not succeeds(env, episodes[i], run.acts[i, : run.lengths[i]])]
        sure = sorted((again(world, starts, run, i, seed=seed) for i in failing), key=lambda one: -one["probability"])
        shown = [_shown(env, episodes[one["row"]], run, one) for one in sure[:WORST]]
    finally:
        env.close()
    false = Share.of(i in set(failing) for i in wins)
    return {
        "policy": name,
        "imagined_success": share_as_json(Share.of(run.success.tolist())),
        "false_success": share_as_json(false),
        "worst": shown,
    }


def again(world: Any, starts: Any, run: Any, row: int, *, seed: int) -> dict[str, Any]:
    """Imagine one episode ``TIMES`` times under the same actions; return how sure of success it is, and its frames.

    The probability is the highest of an episode, on average over the times; the frames are of the surest time.
    """
    import torch

    from worldrl.evaluation.fidelity import open_loop
    from worldrl.recipes.imagined import decode_of

    length, decode = int(run.lengths[row]), decode_of(world)
    past = starts.obs[row : row + 1].repeat(TIMES, *[1] * (starts.obs.ndim - 1))
    done = torch.as_tensor(run.acts[row : row + 1, :length]).repeat(TIMES, 1, 1)
    acts = torch.cat([starts.acts[row : row + 1].repeat(TIMES, 1, 1), done], dim=1)
    with torch.no_grad():
        steps = list(open_loop(world.model, past, acts, torch.Generator().manual_seed(seed)))
        sure = torch.stack([step.success for step in steps]).amax(dim=0)
        best = int(sure.argmax())
        seen = torch.stack([past[best, -1], *(step.obs[best] for step in steps)])
        frames = None if decode is None else [np.asarray(frame) for frame in decode(seen)]
    return {"row": row, "probability": float(sure.double().mean()), "steps": length, "frames": frames}


def _shown(env: Any, episode: Any, run: Any, one: dict[str, Any]) -> dict[str, Any]:
    """Return one hallucination as it is shown: a strip, imagined above real under the same actions."""
    from worldrl.recipes.record import strip

    figures = {name: one[name] for name in ("probability", "steps")} | {"seed": int(episode.seed), "picture": None}
    if one["frames"] is None:
        return figures
    env.reset(seed=episode.seed)
    real = [env.unwrapped.restore(np.array(episode.states[0]), episode.fields, episode.params)["image"]]
    for act in run.acts[one["row"], : one["steps"]]:
        obs, _, end, trunc, _ = env.step(np.array(act))
        real.append(obs["image"])
        if end or trunc:
            break
    return figures | {"picture": _png(strip(one["frames"], real, min(6, one["steps"] + 1)))}


def _png(picture: Any) -> str:
    import imageio.v3 as imageio

    file = io.BytesIO()
    imageio.imwrite(file, picture, extension=".png")
    return base64.b64encode(file.getvalue()).decode()


def _policy(places: Places, pipeline: str) -> tuple[str, Any] | None:
    """Return the policy that a run ends with, of those that see what its world sees, and its name, or None."""
    from worldrl.agents.policy import load_policy

    for name, path in reversed(places.policies.items()):
        policy, origin = load_policy(path)
        if origin.pipeline == pipeline:
            return name, policy
    return None
